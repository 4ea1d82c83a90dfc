"""Train, resume, test and export a distilled SSD300 with the real configs at a few iterations."""

import pickle
import re

import pytest
import torch
from command_line import ROOT, run_tool, voc_options
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from voc_folder import write_voc

CONFIGS = ROOT / 'configs' / 'ssd300'
DISTILLED = CONFIGS / 'ofd_ssd300_vgg16-mobilenet-v1_voc0712.py'
PLAIN = CONFIGS / 'ssdlite300_mobilenet-v1_voc0712.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    images = {f'{i:06d}': [('cat', 5, 5, 60, 50), ('dog', 30 + i, 20, 78, 58)] for i in range(6)}
    return write_voc(tmp_path_factory.mktemp('voc'), images)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """The weights of an untrained VGG16-SSD, as a file."""
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    config = Config.fromfile(CONFIGS / 'ssd300_vgg16_voc0712.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), path)
    return path


@pytest.fixture(scope='module')
def run(tmp_path_factory, folder, teacher):
    """Two iterations of distillation, a checkpoint after each."""
    work_dir = tmp_path_factory.mktemp('run')
    options = [*voc_options(folder), f'model.teacher.checkpoint={teacher}', 'default_hooks.checkpoint.interval=1']
    log = run_tool('train', DISTILLED, '--work-dir', work_dir, '--cfg-options', *options, 'train_cfg.max_iters=2')
    return work_dir, options, log


def test_the_log_shows_the_task_losses_and_one_distillation_loss_a_pair(run):
    _, _, log = run
    lines = [line for line in log.splitlines() if 'Iter(train)' in line]
    assert len(lines) == 2
    assert all(re.search(rf'loss_distill_{pair}: \d+\.\d+', line) for line in lines for pair in range(4))
    assert all('loss_cls' in line for line in lines)


def test_the_checkpoint_holds_the_stock_student_and_no_teacher(run):
    work_dir, _, _ = run
    checkpoint = torch.load(work_dir / 'iter_2.pth', weights_only=False)
    state = checkpoint['state_dict']
    init_default_scope('mmdet')
    plain = MODELS.build(Config.fromfile(PLAIN).model)
    stock = {key: value for key, value in state.items() if not key.startswith('distiller.')}
    assert list(stock) == list(plain.state_dict())
    plain.load_state_dict(stock)
    own = {key.split('.', 3)[3] for key in state.keys() - stock.keys()}
    assert {name.partition('.')[0] for name in own} == {'student_transform', 'teacher_transform'}
    held = sum(len(group['params']) for group in checkpoint['optimizer']['param_groups'])
    assert held == len(list(plain.parameters())) + 4 * 3


def test_resume_goes_on_where_it_stopped(run):
    work_dir, options, _ = run
    log = run_tool(
        'train', DISTILLED, '--work-dir', work_dir, '--resume', '--cfg-options', *options, 'train_cfg.max_iters=3'
    )
    assert 'iter_2.pth' in log
    assert [line for line in log.splitlines() if 'Iter(train) [3/3]' in line]
    assert (work_dir / 'iter_3.pth').exists()


def test_resume_from_another_models_checkpoint_is_an_error(run, teacher, tmp_path):
    work_dir, options, _ = run
    before = (work_dir / 'iter_2.pth').read_bytes()
    log = run_tool(
        'train', DISTILLED, '--work-dir', tmp_path, '--resume', teacher, '--cfg-options', *options, fails=True
    )
    assert re.search(r'error: the checkpoint does not fit the model FeatureDistiller: \d+ of \d+', log)
    assert (work_dir / 'iter_2.pth').read_bytes() == before


def test_the_exported_student_predicts_under_the_plain_config_what_the_distilled_one_does(run, tmp_path):
    work_dir, options, _ = run
    data = [option for option in options if 'teacher' not in option]
    out = tmp_path / 'exported' / 'student.pth'
    run_tool('export_student', DISTILLED, work_dir / 'iter_2.pth', out)
    dumps = []
    # The first needs no teacher: the checkpoint that the config names does not exist.
    for config, checkpoint in ((DISTILLED, work_dir / 'iter_2.pth'), (out.with_suffix('.py'), out), (PLAIN, out)):
        dump = tmp_path / f'{len(dumps)}.pkl'
        work = tmp_path / 'test'
        log = run_tool('test', config, checkpoint, '--work-dir', work, '--out', dump, '--cfg-options', *data)
        assert 'pascal_voc/mAP' in log
        assert 'do not match exactly' not in log
        dumps.append([sample['pred_instances'] for sample in pickle.loads(dump.read_bytes())])
    assert all(len(sample['scores']) for sample in dumps[0])
    for other in dumps[1:]:
        for one, two in zip(dumps[0], other, strict=True):
            assert all(torch.equal(one[key], two[key]) for key in ('bboxes', 'scores', 'labels'))

    log = run_tool('export_student', DISTILLED, work_dir / 'iter_2.pth', out, fails=True)
    assert f'{out} exists and is not overwritten' in log
    log = run_tool('export_student', PLAIN, work_dir / 'iter_2.pth', tmp_path / 'other.pth', fails=True)
    assert 'SingleStageDetector' in log
    assert not (tmp_path / 'other.pth').exists()


def test_pictures_are_painted_on_request(run, tmp_path):
    work_dir, options, _ = run
    data = [option for option in options if 'teacher' not in option]
    run_tool(
        'test',
        DISTILLED,
        work_dir / 'iter_2.pth',
        '--work-dir',
        tmp_path,
        '--show-dir',
        'painted',
        '--cfg-options',
        *data,
    )
    assert len(list(tmp_path.rglob('painted/*.jpg'))) == 6


def test_with_all_weights_zero_twenty_iterations_train_the_plain_student_bit_for_bit(folder, tmp_path):
    options = [*voc_options(folder), 'train_cfg.max_iters=20', 'default_hooks.checkpoint.interval=20']
    zero = [f'model.pairs.{pair}.weight=0' for pair in range(4)]
    run_tool('train', PLAIN, '--work-dir', tmp_path / 'plain', '--cfg-options', *options)
    teacher = ['model.teacher.checkpoint=None', 'model.teacher.allow_random=True']
    distilled = CONFIGS / 'ofd_ssd300_r50-mobilenet-v1_voc0712.py'  # its teacher takes a quarter of VGG16's time
    run_tool('train', distilled, '--work-dir', tmp_path / 'distilled', '--cfg-options', *options, *zero, *teacher)
    plain, distilled = (
        torch.load(tmp_path / name / 'iter_20.pth', weights_only=False)['state_dict'] for name in ('plain', 'distilled')
    )
    assert all(torch.equal(value, distilled[key]) for key, value in plain.items())
