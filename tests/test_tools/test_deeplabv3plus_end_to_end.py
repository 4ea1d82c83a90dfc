"""Train, kill, resume, test, export and use a distilled DeepLabV3+ with classes of one's own, as the READMEs say.

The small student learns from one of its kind, since a ResNet-101 takes long to build.
"""

import pickle
import re
import runpy

import numpy as np
import pytest
import readme
import torch
from command_line import ROOT, as_options, as_students, kill_training, newest, run_tool, tool_commands
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from student_page import use_student
from voc_folder import write_voc_masks

CONFIGS = ROOT / 'configs' / 'deeplabv3plus'
README = (CONFIGS / 'README.md').read_text()
PLAIN = CONFIGS / 'deeplabv3plus_r18_voc12aug-513.py'
DISTILLED = CONFIGS / 'ofd_deeplabv3plus_r101-r18_voc12aug-513.py'
CLASSES = ('background', 'cat', 'dog')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of noise with a class in each third."""
    root, thirds = tmp_path_factory.mktemp('masks'), np.repeat(np.arange(3, dtype=np.uint8), 20)
    for split, names in (('train', 'abcd'), ('val', 'ef')):
        write_voc_masks(root, {name: np.tile(thirds[:, None], (1, 80)) for name in names}, split)
    return root


@pytest.fixture(scope='module')
def data(folder):
    """The README's options for a folder, classes and a crop of one's own, in a short run in the main process."""
    own = {
        **readme.cfg_options(README, 'train_dataloader.dataset.data_root', {'data/mine': str(folder)}),
        **readme.cfg_options(README, 'metainfo.classes'),
        **readme.cfg_options(README, 'crop_size', {'1284': '260', '321': '65'}),
        'model.backbone.init_cfg': None,
        'train_dataloader.batch_size': 2,
        'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1,
    }
    own |= {key.replace('val_', 'test_'): value for key, value in own.items() if key.startswith('val_dataloader')}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        own |= {f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
    return own


@pytest.fixture(scope='module')
def run(tmp_path_factory, data):
    """A distillation that is killed after its first epoch, and goes on for one."""
    teacher, work_dir = tmp_path_factory.mktemp('teacher'), tmp_path_factory.mktemp('run')
    run_tool('train', PLAIN, '--work-dir', teacher, '--cfg-options', *as_options(data))
    options = as_students(data) | {
        'model.input_shape': '(65,65)',
        'model.teacher.model': teacher / PLAIN.name,
        'model.teacher.checkpoint': teacher / 'epoch_1.pth',
        'train_cfg.max_epochs': 50,
    }
    command = (DISTILLED, '--work-dir', work_dir, '--cfg-options')
    killed = kill_training(*command, *as_options(options), when=work_dir / 'epoch_1.pth')
    last, epoch = newest(work_dir)
    options['train_cfg.max_epochs'] = epoch + 1
    resumed = run_tool('train', *command, *as_options(options), '--resume')
    return work_dir, options, killed, resumed, last


def test_the_log_shows_the_task_loss_and_one_distillation_loss_a_pair(run):
    _, _, killed, resumed, _ = run
    for log in (killed, resumed):
        lines = [line for line in log.splitlines() if 'Epoch(train)' in line]
        assert len(lines) >= 2
        assert all(re.search(rf'loss_distill_{pair}: \d+\.\d+', line) for line in lines for pair in range(6))
        assert all('decode.loss_ce' in line for line in lines)


def test_resume_goes_on_where_it_was_killed(run):
    work_dir, _, _, resumed, last = run
    assert f'resumed epoch: {last.stem.removeprefix("epoch_")}, ' in resumed
    assert newest(work_dir)[0].name == f'epoch_{int(last.stem.removeprefix("epoch_")) + 1}.pth'


def test_the_checkpoint_holds_the_stock_student_and_no_teacher(run):
    work_dir, *_ = run
    state = torch.load(newest(work_dir)[0], weights_only=False)['state_dict']
    init_default_scope('mmseg')
    config = Config.fromfile(PLAIN)
    config.merge_from_dict({'model.decode_head.num_classes': 3, 'model.backbone.init_cfg': None})
    assert [key for key in state if not key.startswith('distiller.')] == list(MODELS.build(config.model).state_dict())


def load(dump):
    return [sample['pred_sem_seg']['data'][0] for sample in pickle.loads(dump.read_bytes())]


def test_the_exported_student_predicts_what_the_distilled_one_does(run, folder, tmp_path, capsys):
    work_dir, options, *_ = run
    trained, (weights, _) = work_dir / DISTILLED.name, newest(work_dir)
    home = tmp_path / 'home'
    flags = ('--work-dir', tmp_path / 'test', '--out', tmp_path / 'distilled.pkl', '--show-dir', tmp_path / 'painted')
    log = run_tool('test', trained, weights, *flags)
    assert 'mIoU' in log
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 2
    printed = run_tool('export_student', trained, weights, home / 'student.pth')
    assert tool_commands(printed) == [['test', str(home / 'student.py'), str(home / 'student.pth')]]
    images = [folder / 'JPEGImages' / f'{name}.jpg' for name in 'ef']
    used = use_student(home, images, 'MMSegInferencer', tmp_path / 'exported.pkl')

    masks = load(tmp_path / 'distilled.pkl')
    assert len(masks) == 2
    assert all(map(torch.equal, masks, load(tmp_path / 'exported.pkl')))
    assert np.array_equal(used['mask'], masks[0])
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(CLASSES)]
    assert named == [CLASSES[label] for label in masks[0].unique()]

    export = runpy.run_path(str(ROOT / 'tools' / 'export_student.py'))['export_student']
    shipped = readme.parsed(as_options(options))
    out = export(str(DISTILLED), str(weights), str(tmp_path / 'shipped.pth'), shipped)
    assert Config.fromfile(out).to_dict() == Config.fromfile(home / 'student.py').to_dict()
