"""Train, kill, resume, test, export and use a distilled classifier of mmpretrain on one's own folder of images."""

import pickle
import re
import runpy

import pytest
import torch
from command_line import ROOT, as_options, as_students, kill_training, newest, run_tool, tool_commands
from image_folder import loader_options, small_wrn, write_images
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from student_page import use_student

CONFIGS = ROOT / 'configs' / 'cifar10'
TEACHER = CONFIGS / 'wrn28-4_cifar10-folder.py'
DISTILLED = CONFIGS / 'ofd_wrn28-4_wrn16-2_cifar10-folder.py'
PLAIN = CONFIGS / 'wrn16-2_cifar10-folder.py'
CLASSES = ('cup', 'fork', 'plate')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three classes of images, told by their brightness."""
    return write_images(tmp_path_factory.mktemp('images'), CLASSES, 8)


@pytest.fixture(scope='module')
def loaders(folder):
    return loader_options(folder, batch_size=8) | {'randomness.seed': 0}


@pytest.fixture(scope='module')
def teacher(tmp_path_factory, loaders):
    """The config and the weights that the training of a WRN10-2 leaves."""
    work_dir = tmp_path_factory.mktemp('teacher')
    small = small_wrn(classes=3) | {'model.backbone.width': 2, 'model.head.in_channels': 128}
    options = as_options(loaders | small | {'train_cfg.max_epochs': 1})
    run_tool('train', TEACHER, '--work-dir', work_dir, '--cfg-options', *options)
    return {'model.teacher.model': work_dir / TEACHER.name, 'model.teacher.checkpoint': work_dir / 'epoch_1.pth'}


@pytest.fixture(scope='module')
def run(tmp_path_factory, loaders, teacher):
    """A distillation that is killed after its second epoch, and goes on for two."""
    work_dir = tmp_path_factory.mktemp('run')
    options = {**loaders, **teacher, **as_students(small_wrn(classes=3)), 'default_hooks.logger.interval': 1}
    command = (DISTILLED, '--work-dir', work_dir, '--cfg-options', *as_options(options))
    killed = kill_training(*command, 'train_cfg.max_epochs=200', when=work_dir / 'epoch_2.pth')
    last, epoch = newest(work_dir)
    options['train_cfg.max_epochs'] = epoch + 2
    resumed = run_tool('train', *command[:4], *as_options(options), '--resume')
    return work_dir, options, killed, resumed, last


def test_it_trains_and_validates(run):
    _, _, killed, resumed, _ = run
    lines = [[line for line in log.splitlines() if 'Epoch(train)' in line] for log in (killed, resumed)]
    assert len(lines[0]) >= 2 * 3
    assert len(lines[1]) == 2 * 3
    assert all(
        re.search(rf'loss_distill_{pair}: \d+\.\d+', line) for line in [*lines[0], *lines[1]] for pair in range(3)
    )
    assert float(re.findall(r'accuracy/top1: ([\d.]+)', resumed)[-1]) > 60


def test_resume_goes_on_where_it_was_killed(run):
    work_dir, _, _, resumed, last = run
    assert f'resumed epoch: {last.stem.removeprefix("epoch_")}, ' in resumed
    assert newest(work_dir)[0].name == f'epoch_{int(last.stem.removeprefix("epoch_")) + 2}.pth'


def test_the_checkpoint_holds_the_stock_student_and_no_teacher(run):
    work_dir, *_ = run
    state = torch.load(newest(work_dir)[0], weights_only=False)['state_dict']
    init_default_scope('mmpretrain')
    config = Config.fromfile(PLAIN)
    config.merge_from_dict(small_wrn(classes=3))
    assert [key for key in state if not key.startswith('distiller.')] == list(MODELS.build(config.model).state_dict())


@pytest.fixture(scope='module')
def dump(run, folder, tmp_path_factory):
    """What the distilled student predicts in a test in the work dir, which leaves what the training wrote."""
    work_dir, *_ = run
    trained, (weights, _) = work_dir / DISTILLED.name, newest(work_dir)
    before = {file: file.read_bytes() for file in work_dir.rglob('*') if file.is_file()}
    out = tmp_path_factory.mktemp('test')
    dump, painted = out / 'dump.pkl', out / 'painted'
    said = run_tool('test', trained, weights, '--out', dump, '--show-dir', painted)
    assert 'accuracy/top1' in said and 'the 24 images have 8 file names' in said
    names = {file.name for file in (folder / 'test').rglob('*.png')}  # the hook paints images of a name into one file
    assert {file.name.removesuffix('_0.png') for file in painted.rglob('*.png')} == names
    assert {file: file.read_bytes() for file in before} == before
    tested = [Config.fromfile(file) for file in set(work_dir.glob('*.py')) - {trained}]
    assert [config.load_from for config in tested] == [str(weights)]  # the test has a record of its own
    return dump


def load(dump):
    return torch.stack([sample['pred_score'] for sample in pickle.loads(dump.read_bytes())])


def test_the_exported_student_is_the_plain_configs_and_predicts_what_the_distilled_one_does(
    run, dump, folder, tmp_path, capsys
):
    work_dir, *_ = run
    home = tmp_path / 'home'
    out = home / 'student.pth'
    printed = run_tool('export_student', work_dir / DISTILLED.name, newest(work_dir)[0], out)
    assert tool_commands(printed) == [['test', str(out.with_suffix('.py')), str(out)]]
    plain = Config.fromfile(PLAIN)
    plain.merge_from_dict(small_wrn(classes=3))
    exported = Config.fromfile(out.with_suffix('.py'))
    assert exported.model == plain.model
    # mmpretrain writes its defaults into it.
    assert exported.data_preprocessor | plain.data_preprocessor == exported.data_preprocessor

    images = [folder / 'test' / 'cup' / '0.png', folder / 'test' / 'plate' / '1.png']
    used = use_student(home, images, 'ImageClassificationInferencer', tmp_path / 'dump.pkl')
    assert load(dump).shape == (24, 3)
    assert torch.equal(load(dump), load(tmp_path / 'dump.pkl'))
    assert torch.equal(torch.tensor(used['result']['pred_scores']), load(dump)[0])
    # Before it, in the same line, stands the progress bar.
    assert capsys.readouterr().out.split()[-2].endswith(CLASSES[load(dump)[0].argmax()])


def test_the_shipped_config_with_the_trainings_options_exports_what_the_trained_one_does(run, tmp_path):
    work_dir, options, *_ = run
    weights, _ = newest(work_dir)
    export = runpy.run_path(str(ROOT / 'tools' / 'export_student.py'))['export_student']
    one = export(str(work_dir / DISTILLED.name), str(weights), str(tmp_path / 'trained.pth'))
    two = export(str(DISTILLED), str(weights), str(tmp_path / 'shipped.pth'), options)
    assert Config.fromfile(one).to_dict() == Config.fromfile(two).to_dict()
    # The shipped config has ten classes, the student three.
    with pytest.raises(ValueError, match='does not fit'):
        export(str(DISTILLED), str(weights), str(tmp_path / 'ten.pth'))
    assert not (tmp_path / 'ten.pth').exists()
