"""Train, test and export a distilled classifier of mmpretrain on a folder of images, as a user does."""

import pickle
import re

import pytest
import torch
from command_line import ROOT, run_tool
from image_folder import loader_options, small_wrn, write_images
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

CONFIGS = ROOT / 'configs' / 'cifar10'
DISTILLED = CONFIGS / 'ofd_wrn28-4_wrn16-2_cifar10-folder.py'
PLAIN = CONFIGS / 'wrn16-2_cifar10-folder.py'


def as_arguments(options: dict) -> list[str]:
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


@pytest.fixture(scope='module')
def loaders(tmp_path_factory):
    """Options for three classes of images, told by their brightness."""
    folder = write_images(tmp_path_factory.mktemp('images'), ('cup', 'fork', 'plate'), 8)
    return loader_options(folder, batch_size=8) | {'randomness.seed': 0}


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """The config of a WRN10-2 and its weights, which are random."""
    folder = tmp_path_factory.mktemp('teacher')
    config = folder / 'wrn10-2.py'
    config.write_text(
        f"_base_ = '{CONFIGS}/wrn28-4_cifar10-folder.py'\n"
        'model = dict(backbone=dict(depth=10, width=2), head=dict(in_channels=128))'
    )
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), folder / 'wrn10-2.pth')
    return {'model.teacher.model': config, 'model.teacher.checkpoint': folder / 'wrn10-2.pth'}


@pytest.fixture(scope='module')
def run(tmp_path_factory, loaders, teacher):
    """Four epochs of distillation."""
    work_dir = tmp_path_factory.mktemp('run')
    options = {
        **loaders,
        **teacher,
        **small_wrn('model.student', classes=3),
        'train_cfg.max_epochs': 4,
        'train_cfg.val_interval': 4,
        'default_hooks.logger.interval': 1,
    }
    return work_dir, run_tool('train', DISTILLED, '--work-dir', work_dir, *as_arguments(options))


def test_it_trains_and_validates(run):
    _, log = run
    lines = [line for line in log.splitlines() if 'Epoch(train)' in line]
    assert len(lines) == 4 * 3
    assert all(re.search(rf'loss_distill_{pair}: \d+\.\d+', line) for line in lines for pair in range(3))
    assert float(re.search(r'accuracy/top1: ([\d.]+)', log)[1]) > 60


def test_the_checkpoint_holds_the_stock_student_and_no_teacher(run):
    work_dir, _ = run
    state = torch.load(work_dir / 'epoch_4.pth', weights_only=False)['state_dict']
    init_default_scope('mmpretrain')
    config = Config.fromfile(PLAIN)
    config.merge_from_dict(small_wrn(classes=3))
    assert [key for key in state if not key.startswith('distiller.')] == list(MODELS.build(config.model).state_dict())


def test_a_test_in_the_work_dir_leaves_what_the_training_wrote_and_the_students_own_options_export_it(run, tmp_path):
    work_dir, _ = run
    trained, weights = work_dir / DISTILLED.name, work_dir / 'epoch_4.pth'
    before = {file: file.read_bytes() for file in work_dir.rglob('*') if file.is_file()}
    run_tool('test', trained, weights)
    assert {file: file.read_bytes() for file in before} == before
    tested = [Config.fromfile(file) for file in set(work_dir.glob('*.py')) - {trained}]
    assert [config.load_from for config in tested] == [str(weights)]  # the test has a record of its own
    run_tool('export_student', trained, weights, tmp_path / 'by_the_record.pth')

    small = small_wrn('model.student', classes=3)
    # The shipped config has ten classes, the student three.
    assert 'does not fit' in run_tool('export_student', DISTILLED, weights, tmp_path / 'ten.pth', fails=True)
    run_tool('export_student', DISTILLED, weights, tmp_path / 'three.pth', *as_arguments(small))
    one, two = (Config.fromfile(tmp_path / name) for name in ('by_the_record.py', 'three.py'))
    assert one.model == two.model


def test_the_exported_student_is_the_plain_configs_and_predicts_what_the_distilled_one_does(run, tmp_path):
    work_dir, _ = run
    trained = work_dir / DISTILLED.name
    out = tmp_path / 'student.pth'
    run_tool('export_student', trained, work_dir / 'epoch_4.pth', out)
    plain = Config.fromfile(PLAIN)
    plain.merge_from_dict(small_wrn(classes=3))
    exported = Config.fromfile(out.with_suffix('.py'))
    assert exported.model == plain.model
    # mmpretrain writes its defaults into it.
    assert exported.data_preprocessor | plain.data_preprocessor == exported.data_preprocessor

    predictions = []
    for config, checkpoint in ((trained, work_dir / 'epoch_4.pth'), (out.with_suffix('.py'), out)):
        dump = tmp_path / f'{len(predictions)}.pkl'
        log = run_tool('test', config, checkpoint, '--work-dir', tmp_path / 'test', '--out', dump)
        assert 'accuracy/top1' in log
        predictions.append(torch.stack([sample['pred_score'] for sample in pickle.loads(dump.read_bytes())]))
    assert predictions[0].shape == (24, 3)
    assert torch.equal(*predictions)
