"""The demo: a teacher, a student alone, and the same student distilled from that teacher."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console

from ..checkpoints.atomic_save import write_whole
from ..compare.claim import claimed
from ..compare.configs import seeded
from ..compare.run import rows_of, teachers_row, train_all, trainings_of
from ..compare.study import NONE, TEACHER, read_study
from ..compare.table import write_tables
from ..compare.training import Training
from ..config_files import CONFIGS
from ..launch.plain_config import plain_config
from ..report.page import Gallery
from ..report.say import say
from .pictures import MIN_SCORE, draw_detections, load_detector
from .shrink import Plan, shrink
from .synthetic_voc import make_synthetic_voc
from .voc_folder import VOCFolder, read_voc_folder

__all__ = ['run_demo']

TEACHER_CONFIG = 'ssd300_r18_voc0712'
DISTILLATION = 'ofd_ssd300_r50-mobilenet-v1_voc0712'  # its places are ResNet's, so they are ResNet-18's too
BASE = 'ofd_ssd_r18-mobilenet-v1.py'  # what it is called once that teacher is in it
STUDY = dict(config=BASE, methods=dict(alone=dict(method=NONE), distilled={}))
PICTURES = 6  # in the report


def run_demo(
    work_dir: str | Path,
    data: str | Path | None = None,
    seed: int = 0,
    plan: Plan | None = None,
) -> Path:
    """Train a teacher, compare a student alone and distilled from it, and add pictures to the comparison's report.

    What a former call with the same arguments finished is kept, what it began is resumed. The study and its configs
    are files in the work dir, which ``tools/compare.py`` and ``tools/train.py`` take.

    Args:
        work_dir: Where everything goes.
        data: A VOC-format folder; None generates one in the work dir.
        seed: Seed of the generated data, of the weights and of the order of the images.
        plan: Sizes and schedules.

    Returns:
        Path of the report.

    Raises:
        ValueError: If the work dir holds something else, the data are not fit, or a training fails.
        FileNotFoundError: If data are missing.
    """
    plan = plan or Plan()
    work_dir, console = Path(work_dir), Console(highlight=False)
    base, study_file = work_dir / BASE, work_dir / 'demo.yml'
    folder = read_voc_folder(data) if data else None
    recipe = dict(data=str(folder.root.resolve()) if folder else None, seed=seed, plan=asdict(plan))
    with claimed(work_dir, recipe) as lock:
        if folder is None:
            folder = read_voc_folder(
                make_synthetic_voc(work_dir / 'data' / 'VOCshapes', plan.train_images, plan.val_images, seed)
            )
        explanation = _explain(folder, plan, seed, generated=data is None)
        console.print(*explanation, sep='\n', markup=False)

        def small(name: str, iters: int, lr: float) -> Config:
            return shrink(Config.fromfile(CONFIGS / 'ssd300' / f'{name}.py'), folder, plan, iters, lr)

        config = small(TEACHER_CONFIG, plan.teacher_iters, plan.teacher_lr)
        teacher = Training(TEACHER, seed, seeded(config, seed), work_dir / TEACHER / f'seed{seed}')
        train_all([teacher], None, lock, console)
        teacher.check_finished()

        if not study_file.exists():
            config = small(DISTILLATION, plan.student_iters, plan.student_lr)
            config.model.teacher = dict(model=str(teacher.file.resolve()), checkpoint=teacher.checkpoint)
            write_whole(base, config.pretty_text)
            write_whole(study_file, yaml.safe_dump(STUDY | dict(seeds=[seed]), sort_keys=False))
        study = read_study(study_file)
        students = trainings_of(study, work_dir)
        train_all(students, None, lock, console)
        for student in students:
            student.check_finished()

        rows = [teachers_row(teacher, None), *rows_of(study, students)]
        gallery = _draw([teacher, *students])
        say(console, write_tables(work_dir, study, rows, explanation, gallery))
    report = work_dir / 'report.html'
    more = f'python tools/compare.py {study_file} --work-dir ... --seeds 1 2 3'
    say(console, f'report: {report}\nmore seeds: {more}')
    return report


def _draw(trainings: Sequence[Training]) -> Gallery:
    """What the trained detectors find in the first images of the validation."""
    init_default_scope('mmdet')
    register_all_modules(init_default_scope=False)
    # A distilled student's checkpoint is a student's checkpoint: the student's own config loads it.
    configs = [plain_config(one.config) for one in trainings]
    checkpoints = [one.folder / f'iter_{one.config.train_cfg.max_iters}.pth' for one in trainings]
    models = map(load_detector, configs, checkpoints)
    return Gallery(
        f'The first images of the validation and all boxes that score at least {MIN_SCORE}.',
        ('ground truth', *(one.label for one in trainings)),
        draw_detections(models, configs[0].val_dataloader.dataset, PICTURES),
    )


def _explain(folder: VOCFolder, plan: Plan, seed: int, generated: bool) -> list[str]:
    return [
        f'SSD detectors at {plan.size}x{plan.size} pixels, trained from scratch on '
        + ('generated images' if generated else f'{folder.train}.txt of {folder.root}')
        + f' and evaluated on the first {plan.val_images} of {folder.val}.txt. The teacher is SSD with ResNet-18, '
        f'{plan.teacher_iters} iterations, the student SSDLite with MobileNetV1, {plan.student_iters} iterations.',
        'Both students start from the same weights and see the same images in the same order with the same schedule; '
        'only the distilled one also learns the pre-activation features of the teacher (OFD).',
        f'All figures come from one seed ({seed}) and minutes of training. They show that the pieces work together; '
        'they neither confirm nor refute the results of the paper.',
    ]
