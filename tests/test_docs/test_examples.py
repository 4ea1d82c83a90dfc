"""The examples of the pages work as they are printed."""

import re
import runpy
import shlex
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ROOT
from image_folder import write_images
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from toy import Record, distiller_config, toy_runner

from ovkd_mm.functional import softened_kl
from ovkd_mm.launch.plain_config import plain_config
from ovkd_mm.positions import trace
from ovkd_mm.report.positions import Options, show_positions

EXTEND = ROOT / 'docs' / 'extend'
PAGES = sorted(path.stem for path in EXTEND.glob('*.md'))
# What a stranger reads: no more files than these, the page included, and no more lines.
FILES, LINES = 3, 200
UNTRAINED = {'model.teacher.checkpoint': None, 'model.teacher.allow_random': True}


@pytest.fixture
def example(request, tmp_path, monkeypatch) -> str:
    """The text of a page, in a folder with the files that it prints, where a user works."""
    page = (ROOT / 'docs' / f'{request.param}.md').read_text()
    files = dict(re.findall(r'```python title="([\w.-]+)"\n(.*?)```', page, re.DOTALL))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield page
    for name in files:
        sys.modules.pop(name.removesuffix('.py'), None)


def of_page(name: str):
    return pytest.mark.parametrize('example', [name], indirect=True, ids=[name])


def detection(classes: int) -> dict:
    return demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=classes)


def build(config: Config, **options):
    """The model, as the runner builds it."""
    init_default_scope(config.default_scope)
    config.merge_from_dict(options)
    preprocessor = config.get('data_preprocessor')
    return MODELS.build(dict(config.model, **(dict(data_preprocessor=preprocessor) if preprocessor else {})))


@pytest.mark.parametrize('name', PAGES)
def test_a_stranger_opens_three_files_and_reads_two_hundred_lines(name):
    page = (EXTEND / f'{name}.md').read_text()
    (read,) = re.findall(r'^\*\*Read:\*\* (.*?)\n\n', page, re.MULTILINE | re.DOTALL)
    files = [EXTEND / f'{name}.md', *(ROOT / file for file in re.findall(r'`([\w/]+\.py)`', read))]
    assert len(files) <= FILES
    assert sum(len(file.read_text().splitlines()) for file in files) <= LINES


@of_page('extend/new-method')
def test_the_new_loss_is_the_channel_wise_distillation_of_its_paper(example):
    loss = import_module('cwd_loss').CWDLoss(loss_weight=2.0, temperature=3.0)
    student, teacher = torch.randn(2, 5, 4, 6, requires_grad=True), torch.randn(2, 5, 4, 6)
    # The divergences of all channels times T^2 / C, averaged over the batch.
    expected = 2.0 * softened_kl(student.flatten(2), teacher.flatten(2), 3.0).sum(1).mean() / 5
    torch.testing.assert_close(loss(student, teacher), expected)
    assert loss.distance(student, teacher).shape == student.shape  # so that it can be drawn
    loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match=r'CWDLoss\.temperature'):
        import_module('cwd_loss').CWDLoss(temperature=0)


@of_page('extend/new-method')
def test_the_config_of_the_new_method_builds(example):
    model = build(Config.fromfile('cwd_r50_r18_cifar10.py'), **UNTRAINED)
    assert [(type(pair.loss).__name__, pair.loss.loss_weight, pair.weight) for pair in model.pairs] == [
        ('CWDLoss', 3.0, 1.0)
    ] * 3
    assert [pair.teacher_place.channels for pair in model.pairs] == [512, 1024, 2048]


@of_page('extend/new-method')
def test_the_new_method_trains_and_is_drawn(example, tmp_path):
    model = distiller_config(method=Config.fromfile('cwd.py').method)
    lost = Record(lambda runner: runner.message_hub.get_scalar('train/loss_distill_1').current())
    draw = dict(type='ovkd_mm.FeatureVisualizationHook', interval=20)
    toy_runner(tmp_path / 'work', model=model, epochs=10, custom_hooks=[lost, draw]).train()
    assert np.isfinite(lost.seen).all() and lost.seen[-1] < lost.seen[0]
    assert len(list(tmp_path.glob('work/*/vis_data/vis_image/distill_*.png'))) == 2


@of_page('extend/new-position')
def test_the_new_position_reads_what_goes_into_each_convolution_of_an_fpn(example):
    config = Config.fromfile('fpn_retinanet_r50_r18.py')
    config.model.input_shape = (64, 64)
    model = build(config, **UNTRAINED)
    given = {}
    for level in range(3):
        model.student.neck.fpn_convs[level].register_forward_pre_hook(
            lambda module, args, level=level: given.setdefault(level, args[0])
        )
    compared = []
    for pair in model.pairs:
        assert (pair.student_place.side, pair.student_place.channels) == ('input', 256)
        pair.student_transform.register_forward_pre_hook(lambda module, args: compared.append(args[0]))
    batch = model.data_preprocessor(detection(80), True)
    losses = model(**batch, mode='loss')
    assert all(torch.equal(given[level], feature) for level, feature in enumerate(compared))
    assert all(torch.isfinite(losses[f'loss_distill_{level}']) for level in range(3))


@of_page('extend/new-position')
def test_one_place_of_a_pair_takes_the_new_position_as_the_page_writes_it(example):
    (pair,) = re.findall(r'`(dict\(student=dict\(.*?\))`', example, re.DOTALL)
    config = Config.fromfile('fpn_retinanet_r50_r18.py')
    config.model.input_shape = (64, 64)
    config.model.method.position.type = 'ovkd_mm.ModuleOutput'
    config.model.pairs = [eval(pair)]
    (built,) = build(config, **UNTRAINED).pairs
    assert (built.student_place.side, built.teacher_place.side) == ('input', 'output')


@of_page('extend/new-position')
def test_the_new_position_refuses_a_module_that_takes_no_tensor(example):
    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = torch.nn.Conv2d(3, 4, 1), Last()

        def forward(self, x):
            return self.head([self.stem(x)])

    class Last(torch.nn.Module):
        def forward(self, features):
            return features[-1]

    with pytest.raises(ValueError, match="place 'head' does not take a tensor first"):
        import_module('module_input').ModuleInput('head').resolve(trace(Heads(), (8, 8)))


@of_page('extend/new-hook')
def test_with_the_new_hook_the_teacher_runs_in_every_nth_iteration_and_weighs_n(example, tmp_path):
    (line,) = re.findall(r'custom_hooks = .*', example)
    hooks = eval(line.partition(' = ')[2])
    assert hooks[0]['interval'] == 4
    teacher_ran = []
    weights = Record(lambda runner: runner.model.distill_weight)
    runner = toy_runner(tmp_path / 'work', iters=8, custom_hooks=[*hooks, weights])
    runner.model.teacher.model.register_forward_pre_hook(lambda *_: teacher_ran.append(runner.iter + 1))
    runner.train()
    assert teacher_ran == [4, 8]
    assert weights.seen == [0, 0, 0, 4] * 2
    assert runner.model.distill_weight == 1
    with pytest.raises(ValueError, match=r'DistillEveryHook\.interval'):
        import_module('distill_every_hook').DistillEveryHook(0)


@of_page('extend/new-hook')
def test_the_plain_config_of_a_student_leaves_the_new_hook_out(example):
    ema = dict(type='EMAHook')
    hooks = [dict(type='distill_every_hook.DistillEveryHook', interval=4), ema]
    assert plain_config(Config(dict(model=distiller_config(), custom_hooks=hooks))).custom_hooks == [ema]


@of_page('extend/new-task')
def test_the_new_task_is_trained_distilled_and_exported_by_the_pages_commands(example, tmp_path, monkeypatch):
    (commands,) = re.findall(r'```bash\n(.*?)```', example, re.DOTALL)
    ran = [shlex.split(line)[1:] for line in commands.splitlines() if line.startswith('python ')]
    assert [tool for tool, *_ in ran] == ['tools/train.py', 'tools/train.py', 'tools/export_student.py']
    for tool, *flags in ran:
        monkeypatch.setattr(sys, 'argv', [tool, *flags])
        runpy.run_path(str(ROOT / tool), run_name='__main__')
        MMLogger._instance_dict.clear()
    student = Config.fromfile('student.py')
    assert (student.model.type, student.model.width) == ('brightness.BrightnessNet', 8)
    model = MODELS.build(student.model)
    model.load_state_dict(torch.load('student.pth', weights_only=True)['state_dict'])
    log = next(tmp_path.glob('work_dirs/brightness_distilled/*/vis_data/scalars.json')).read_text()
    assert 'loss_distill_0' in log


@of_page('distil-your-own')
def test_a_model_of_ones_own_is_distilled_on_data_of_ones_own(example):
    config = Config.fromfile('shelf_distilled.py')
    config.model.input_shape = (64, 64)
    model = build(config, **UNTRAINED)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert loader.dataset.metainfo.classes == ('cup', 'plate')
        assert loader.dataset.data_root == 'data/shelf/'
    assert model.student.bbox_head.num_classes == model.teacher.model.bbox_head.num_classes == 2
    assert (model.teacher.model.backbone.stem[0].out_channels, model.student.backbone.stem[0].out_channels) == (16, 12)
    losses = model(**model.data_preprocessor(detection(2), True), mode='loss')
    assert all(torch.isfinite(losses[f'loss_distill_{index}']) for index in range(3))


@of_page('distil-your-own')
def test_a_classifier_learns_from_folders_of_images(example, tmp_path):
    write_images(tmp_path / 'data' / 'pets', ('cat', 'dog'), count=2, test='val')
    config = Config.fromfile('pets_student.py')
    init_default_scope(config.default_scope)
    for loader, split in ((config.train_dataloader, 'train'), (config.val_dataloader, 'val')):
        dataset = DATASETS.build(loader.dataset)
        assert dataset.metainfo['classes'] == ('cat', 'dog')
        assert [dataset.get_data_info(index)['gt_label'] for index in range(len(dataset))] == [0, 0, 1, 1]
        assert f'/{split}/' in dataset.get_data_info(0)['img_path']
    assert config.test_dataloader == config.val_dataloader
    model = build(config)
    assert model.head.num_classes == model.data_preprocessor.num_classes == 2
    assert METRICS.build(config.val_evaluator).topk == METRICS.build(config.test_evaluator).topk == (1,)


@of_page('distil-your-own')
def test_the_tool_shows_the_pairs_as_the_page_does(example, capsys):
    show_positions(Options('shelf_student.py', 'shelf_teacher.py', write=Path('shelf_suggested.py'), svg=Path()))
    said = '\n'.join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    page = (ROOT / 'docs' / 'distil-your-own.md').read_text()
    assert re.search(r'```text\n(.*?)\n```', page, re.DOTALL)[1] == said
    assert Path('shelf_suggested.svg').read_text() == (ROOT / 'docs' / 'shelf_suggested.svg').read_text()
    suggested, written = (Config.fromfile(name).model for name in ('shelf_suggested.py', 'shelf_distilled.py'))
    assert (suggested.pairs, suggested.input_shape) == (written.pairs, written.input_shape)


@of_page('from-mmrazor')
def test_the_config_that_stands_beside_mmrazors_teaches_the_levels_of_the_neck(example):
    config = Config.fromfile('pkd_retinanet_r50-r18.py')
    config.model.input_shape = (128, 128)
    model = build(config, **UNTRAINED)
    losses = model(**model.data_preprocessor(detection(80), True), mode='loss')
    assert all(losses[f'loss_distill_{index}'] > 0 for index in range(4))
    # PKD's own: six times half the mean square, which is one less the correlation.
    assert all(losses[f'loss_distill_{index}'] < 2 * 6 for index in range(4))
