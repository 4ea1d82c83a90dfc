"""The demo: a teacher, a student alone, and the same student distilled from that teacher."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Column, Table

from ..report.history import Run, read_history
from ..report.page import Gallery, write_report
from .pictures import MIN_SCORE, draw_detections, load_detector
from .shrink import Plan, shrink
from .synthetic_voc import make_synthetic_voc
from .train import METRIC, train
from .voc_folder import VOCFolder, read_voc_folder

__all__ = ['run_demo']

TEACHER, STUDENT = 'ssd300_r18_voc0712', 'ssdlite300_mobilenet-v1_voc0712'
DISTILLATION = 'ofd_ssd300_r50-mobilenet-v1_voc0712'  # its places are ResNet's, so they are ResNet-18's too
PICTURES = 6  # in the report


def run_demo(
    configs: str | Path,
    work_dir: str | Path,
    data: str | Path | None = None,
    seed: int = 0,
    plan: Plan | None = None,
) -> Path:
    """Train teacher, student and distilled student, and write the report.

    What a former call with the same arguments finished is kept, what it began is resumed.

    Args:
        configs: The folder of configs that holds ``ssd300``.
        work_dir: Where everything goes.
        data: A VOC-format folder; None generates one in the work dir.
        seed: Seed of the generated data, of the weights and of the order of the images.
        plan: Sizes and schedules.

    Returns:
        Path of the report.

    Raises:
        ValueError: If the work dir holds something else, or the data are not fit.
        FileNotFoundError: If data are missing.
    """
    plan = plan or Plan()
    configs, work_dir = Path(configs), Path(work_dir)
    console = Console()
    folder = read_voc_folder(data) if data else None
    _claim(work_dir, dict(data=str(folder.root.resolve()) if folder else None, seed=seed, plan=asdict(plan)))
    if folder is None:
        folder = read_voc_folder(
            make_synthetic_voc(work_dir / 'data' / 'VOCshapes', plan.train_images, plan.val_images, seed)
        )
    explanation = _explain(folder, plan, seed, generated=data is None)
    console.print(*explanation, sep='\n', highlight=False, markup=False)
    init_default_scope('mmdet')
    register_all_modules(init_default_scope=False)

    def config_of(name: str, iters: int, lr: float) -> Config:
        config = shrink(Config.fromfile(configs / 'ssd300' / f'{name}.py'), folder, plan, iters, lr)
        config.randomness = dict(seed=seed)
        return config

    teacher = config_of(TEACHER, plan.teacher_iters, plan.teacher_lr)
    alone = config_of(STUDENT, plan.student_iters, plan.student_lr)
    distilled = config_of(DISTILLATION, plan.student_iters, plan.student_lr)
    teacher_checkpoint = train(teacher, work_dir / 'teacher', console)
    distilled.model.teacher = dict(model=teacher.model.to_dict(), checkpoint=str(teacher_checkpoint))
    checkpoints = dict(
        teacher=teacher_checkpoint,
        alone=train(alone, work_dir / 'alone', console),
        distilled=train(distilled, work_dir / 'distilled', console),
    )
    # A distilled student's checkpoint is a student's checkpoint: the student's own config loads it.
    models = {name: load_detector(teacher if name == 'teacher' else alone, path) for name, path in checkpoints.items()}
    descriptions = dict(
        teacher=f'SSD with ResNet-18, {plan.teacher_iters} iterations',
        alone=f'SSDLite with MobileNetV1, {plan.student_iters} iterations',
        distilled="the same student and schedule; it learns the teacher's features, too",
    )
    runs = [
        Run(name, read_history(work_dir / name), descriptions[name], sum(p.numel() for p in model.parameters()))
        for name, model in models.items()
    ]
    report = work_dir / 'report.html'
    write_report(
        report,
        'A student alone and the same student distilled',
        explanation,
        runs,
        METRIC,
        Gallery(
            f'The first images of {folder.val}.txt and all boxes that score at least {MIN_SCORE}.',
            ('ground truth', *models),
            draw_detections(models.values(), alone.val_dataloader.dataset, PICTURES),
        ),
    )
    console.print(_table(runs))
    console.print(
        f'One seed: {seed}. Another one moves these figures; the results of the paper rest on far longer training.'
    )
    console.print(f'report: {report}', markup=False)
    return report


def _claim(work_dir: Path, recipe: dict) -> None:
    """Make the work dir ours, or find it ours.

    Raises:
        ValueError: If it holds anything but a demo of this very recipe.
    """
    note, draft = work_dir / 'demo.json', work_dir / 'demo.tmp'
    if note.is_file():
        try:
            found = json.loads(note.read_text())
        except ValueError as error:
            raise ValueError(f'{note} cannot be read ({error}); name another folder with --work-dir') from error
        if found != recipe:
            raise ValueError(f'{work_dir} holds a demo of {found}, not of {recipe}; name another with --work-dir')
        return
    if work_dir.is_dir() and any(file != draft for file in work_dir.iterdir()):
        raise ValueError(f'{work_dir} holds something else; name another with --work-dir')
    work_dir.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps(recipe))
    os.replace(draft, note)


def _explain(folder: VOCFolder, plan: Plan, seed: int, generated: bool) -> list[str]:
    return [
        f'SSD detectors at {plan.size}x{plan.size} pixels, trained from scratch on '
        + ('generated images' if generated else f'{folder.train}.txt of {folder.root}')
        + f' and evaluated on the first {plan.val_images} of {folder.val}.txt.',
        'Both students start from the same weights and see the same images in the same order with the same schedule; '
        'only the distilled one also learns the pre-activation features of the teacher (OFD).',
        f'All figures come from one seed ({seed}) and minutes of training. They show that the pieces work together; '
        'they neither confirm nor refute the results of the paper.',
    ]


def _table(runs: list[Run]) -> Table:
    table = Table('run', *(Column(name, justify='right') for name in ('mAP', 'parameters', 'training')))
    for run in runs:
        table.add_row(
            run.name, f'{run.curve(METRIC)[1][-1]:.3f}', f'{run.parameters / 1e6:.1f} M', f'{run.seconds:.0f} s'
        )
    return table
