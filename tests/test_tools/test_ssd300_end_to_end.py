"""Train, kill, resume, test, export and use a distilled SSD300 with classes of one's own, as the READMEs say.

The real configs at a few iterations.
"""

import pickle
import re
import runpy

import pytest
import readme
import torch
from command_line import ROOT, as_options, as_students, kill_training, newest, run_tool, tool_commands, voc_options
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from student_page import use_student
from voc_folder import write_voc

CONFIGS = ROOT / 'configs' / 'ssd300'
TEACHER = CONFIGS / 'ssd300_vgg16_voc0712.py'
DISTILLED = CONFIGS / 'ofd_ssd300_vgg16-mobilenet-v1_voc0712.py'
PLAIN = CONFIGS / 'ssdlite300_mobilenet-v1_voc0712.py'
OWN = readme.cfg_options((CONFIGS / 'README.md').read_text(), 'metainfo.classes')
OWN['test_dataloader.dataset.metainfo.classes'] = OWN['val_dataloader.dataset.metainfo.classes']
OWN['model.backbone.init_cfg'] = None  # no download


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    images = {f'{i:06d}': [('cup', 5, 5, 60, 50), ('plate', 30 + i, 20, 78, 58)] for i in range(6)}
    return write_voc(tmp_path_factory.mktemp('voc'), images)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory, folder):
    """The weights of a VGG16-SSD after one iteration; its config is beside them."""
    work_dir = tmp_path_factory.mktemp('teacher')
    options = [*voc_options(folder), *as_options(OWN), 'train_cfg.max_iters=1']
    run_tool('train', TEACHER, '--work-dir', work_dir, '--cfg-options', *options)
    return work_dir / 'iter_1.pth'


@pytest.fixture(scope='module')
def run(tmp_path_factory, folder, teacher):
    """A distillation that is killed after its second checkpoint, and goes on for one iteration."""
    work_dir = tmp_path_factory.mktemp('run')
    options = [
        *voc_options(folder),
        *as_options(as_students(OWN)),
        f'model.teacher.model={teacher.parent / TEACHER.name}',
        f'model.teacher.checkpoint={teacher}',
        'default_hooks.checkpoint.interval=1',
    ]
    command = (DISTILLED, '--work-dir', work_dir, '--cfg-options', *options)
    killed = kill_training(*command, 'train_cfg.max_iters=100', when=work_dir / 'iter_2.pth')
    last, number = newest(work_dir)
    resumed = run_tool('train', *command, f'train_cfg.max_iters={number + 1}', '--resume')
    return work_dir, options, killed, resumed, last


def test_the_log_shows_the_task_losses_and_one_distillation_loss_a_pair(run):
    _, _, killed, resumed, _ = run
    for log in (killed, resumed):
        lines = [line for line in log.splitlines() if 'Iter(train)' in line]
        assert len(lines) >= (2 if log is killed else 1)
        assert all(re.search(rf'loss_distill_{pair}: \d+\.\d+', line) for line in lines for pair in range(4))
        assert all('loss_cls' in line for line in lines)


def test_the_checkpoint_holds_the_stock_student_and_no_teacher(run):
    work_dir, *_ = run
    checkpoint = torch.load(newest(work_dir)[0], weights_only=False)
    state = checkpoint['state_dict']
    init_default_scope('mmdet')
    config = Config.fromfile(PLAIN)
    config.merge_from_dict(OWN)
    plain = MODELS.build(config.model)
    stock = {key: value for key, value in state.items() if not key.startswith('distiller.')}
    assert list(stock) == list(plain.state_dict())
    plain.load_state_dict(stock)
    own = {key.split('.', 3)[3] for key in state.keys() - stock.keys()}
    assert {name.partition('.')[0] for name in own} == {'student_transform', 'teacher_transform'}
    held = sum(len(group['params']) for group in checkpoint['optimizer']['param_groups'])
    assert held == len(list(plain.parameters())) + 4 * 3


def test_resume_goes_on_where_it_was_killed(run):
    work_dir, _, _, resumed, last = run
    path, number = newest(work_dir)
    assert last.name in resumed
    assert path.name != last.name
    assert [line for line in resumed.splitlines() if f'Iter(train) [{number}/{number}]' in line]


def test_resume_from_another_models_checkpoint_is_an_error(run, teacher, tmp_path):
    work_dir, options, *_ = run
    weights, _ = newest(work_dir)
    before = weights.read_bytes()
    log = run_tool(
        'train', DISTILLED, '--work-dir', tmp_path, '--resume', teacher, '--cfg-options', *options, fails=True
    )
    assert re.search(r'error: the checkpoint does not fit the model FeatureDistiller: \d+ of \d+', log)
    assert weights.read_bytes() == before


@pytest.fixture(scope='module')
def predictions(run, tmp_path_factory):
    """What the distilled student predicts in its test, and the pictures that this paints."""
    work_dir, options, *_ = run
    test = tmp_path_factory.mktemp('test')
    # It needs no teacher: the checkpoint that the config names does not exist.
    data = [option for option in options if 'teacher' not in option]
    flags = ('--work-dir', test, '--out', test / 'dump.pkl', '--show-dir', 'painted', '--cfg-options', *data)
    assert 'pascal_voc/mAP' in run_tool('test', DISTILLED, newest(work_dir)[0], *flags)
    return load(test / 'dump.pkl'), list(test.rglob('painted/*.jpg'))


def load(dump):
    return [sample['pred_instances'] for sample in pickle.loads(dump.read_bytes())]


def assert_same(predictions, others):
    for one, two in zip(predictions, others, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in ('bboxes', 'scores', 'labels'))


def test_pictures_are_painted_on_request(predictions):
    assert len(predictions[1]) == 6


def test_the_student_that_the_trained_config_exports_predicts_what_the_distilled_one_does(
    run, predictions, folder, tmp_path, capsys
):
    work_dir, *_ = run
    home = tmp_path / 'home of the student'
    printed = run_tool('export_student', work_dir / DISTILLED.name, newest(work_dir)[0], home / 'student.pth')
    assert tool_commands(printed) == [['test', str(home / 'student.py'), str(home / 'student.pth')]]
    images = sorted((folder / 'JPEGImages').iterdir())[:2]
    used = use_student(home, images, 'DetInferencer', tmp_path / 'dump.pkl')
    assert all(len(sample['scores']) for sample in predictions[0])
    assert_same(predictions[0], load(tmp_path / 'dump.pkl'))

    for key, values in predictions[0][0].items():
        assert torch.equal(torch.tensor(used['boxes'][key]), values)
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(('cup ', 'plate '))]
    assert names == [('cup', 'plate')[label] for label in predictions[0][0]['labels']]


def test_the_student_that_the_shipped_config_exports_predicts_what_the_distilled_one_does(run, predictions, tmp_path):
    work_dir, options, *_ = run
    weights, _ = newest(work_dir)
    data = [option for option in options if 'teacher' not in option]
    out = tmp_path / 'exported' / 'student.pth'
    printed = run_tool('export_student', DISTILLED, weights, out, '--cfg-options', *data)
    (command,) = tool_commands(printed)
    plain = ['test', PLAIN, out, '--cfg-options', *(option.replace('model.student.', 'model.') for option in data)]
    for number, (tool, *args) in enumerate((command, plain)):
        dump = tmp_path / f'{number}.pkl'
        log = run_tool(tool, *args[:2], '--work-dir', tmp_path / 'test', '--out', dump, *args[2:])
        assert 'pascal_voc/mAP' in log
        assert 'do not match exactly' not in log
        assert_same(predictions[0], load(dump))

    export = runpy.run_path(str(ROOT / 'tools' / 'export_student.py'))['export_student']
    with pytest.raises(ValueError, match=re.escape(f'{out} exists and is not overwritten')):
        export(str(DISTILLED), str(weights), str(out))
    with pytest.raises(ValueError, match='SingleStageDetector'):
        export(str(PLAIN), str(weights), str(tmp_path / 'other.pth'))
    assert not (tmp_path / 'other.pth').exists()


def test_with_all_weights_zero_four_iterations_train_the_plain_student_bit_for_bit(folder, tmp_path):
    options = [*voc_options(folder), 'train_cfg.max_iters=4', 'default_hooks.checkpoint.interval=4']
    zero = [f'model.pairs.{pair}.weight=0' for pair in range(4)]
    run_tool('train', PLAIN, '--work-dir', tmp_path / 'plain', '--cfg-options', *options, *as_options(OWN))
    teacher = ['model.teacher.checkpoint=None', 'model.teacher.allow_random=True']
    distilled = CONFIGS / 'ofd_ssd300_r50-mobilenet-v1_voc0712.py'  # its teacher takes a quarter of VGG16's time
    options += [*as_options(as_students(OWN)), *zero, *teacher]
    run_tool('train', distilled, '--work-dir', tmp_path / 'distilled', '--cfg-options', *options)
    plain, distilled = (
        torch.load(tmp_path / name / 'iter_4.pth', weights_only=False)['state_dict'] for name in ('plain', 'distilled')
    )
    assert all(torch.equal(value, distilled[key]) for key, value in plain.items())
