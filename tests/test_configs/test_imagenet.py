import copy
import functools
from importlib import resources
from pathlib import Path

import mmengine
import pytest
import torch
from command_line import ROOT
from image_folder import loader_options, write_images
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from readme import cfg_options, table
from torch import nn

FOLDER = ROOT / 'configs' / 'imagenet'
README = (FOLDER / 'README.md').read_text()
# The name in the README and the parameters in the authors'.
STUDENTS = {'resnet50': ('ResNet-50', 25.56e6), 'mobilenet-v1': ('MobileNetV1', 4.23e6)}
TEACHERS = {'resnet152': ('ResNet-152', 60.19e6), 'resnet50': ('ResNet-50', 25.56e6)}
DISTILLATIONS = {'ofd_r152-r50': ('resnet152', 'resnet50'), 'ofd_r50-mobilenet-v1': ('resnet50', 'mobilenet-v1')}


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(FOLDER / f'{name}_imagenet.py')


def load(name: str) -> Config:
    return copy.deepcopy(_load(name))


def build(config: Config) -> nn.Module:
    init_default_scope(config.default_scope)
    return MODELS.build(dict(config.model, data_preprocessor=config.data_preprocessor))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope='module')
def metafile():
    return {model['Name']: model for model in mmengine.load(FOLDER / 'metafile.yml')['Models']}


@pytest.mark.parametrize('name', STUDENTS)
def test_the_parameters_are_the_papers_within_one_percent(name, metafile):
    parameters = count(build(load(name)))
    title, paper = STUDENTS[name]
    assert parameters == pytest.approx(paper, rel=0.01)
    row = table(README, 'config', 'network', 'parameters')[name]
    assert row[:3] == [title, f'{parameters:,}', f'{paper / 1e6:.2f} M']
    (distilled,) = (config for config, (_, student) in DISTILLATIONS.items() if student == name)
    for config in (f'{name}_imagenet', f'{distilled}_imagenet'):
        assert metafile[config]['Metadata']['Parameters'] == parameters


def test_the_convolutions_of_mobilenet_start_as_the_authors_by_torchs_default():
    model = build(load('mobilenet-v1'))
    before = {name: weight.clone() for name, weight in model.backbone.named_parameters()}
    model.init_weights()
    assert all(torch.equal(weight, before[name]) for name, weight in model.backbone.named_parameters())


def test_mobilenet_takes_weights_from_the_command_line():
    config = load('mobilenet-v1')
    config.merge_from_dict(
        {'model.backbone.init_cfg.type': 'Pretrained', 'model.backbone.init_cfg.checkpoint': 'a.pth'}
    )
    assert build(config).backbone.init_cfg == dict(type='Pretrained', checkpoint='a.pth')


@pytest.mark.parametrize('name', DISTILLATIONS)
def test_each_distillation_builds_with_the_readmes_places_and_the_papers_weights(name):
    config = load(name)
    teacher, student = DISTILLATIONS[name]
    assert config.model.student == load(student).model
    config.merge_from_dict({'model.teacher.checkpoint': None, 'model.teacher.allow_random': True})
    distiller = build(config)
    title, paper = TEACHERS[teacher]
    parameters = count(distiller.teacher.model)
    assert parameters == pytest.approx(paper, rel=0.01)
    assert table(README, 'teacher', 'parameters')[title][:2] == [f'{parameters:,}', f'{paper / 1e6:.2f} M']
    assert table(README, 'config', 'teacher', 'student')[name][:2] == [title, STUDENTS[student][0]]
    columns = ['weight', 'ResNet-152 teacher', 'ResNet-50 teacher', 'ResNet-50 student', 'MobileNetV1 student']
    rows = table(README, 'size', *columns)
    assert list(rows) == [f'{side}x{side}' for side in (56, 28, 14, 7)]
    for pair, (size, row) in zip(distiller.pairs, rows.items(), strict=True):
        assert eval(row[0]) == pair.weight
        for place, column in (
            (pair.teacher_place, f'{title} teacher'),
            (pair.student_place, f'{STUDENTS[student][0]} student'),
        ):
            assert row[columns.index(column)] == f'`{place.name}`, {place.channels}'
            assert f'{place.size[0]}x{place.size[1]}' == size
            # The group's last ReLU, which reads what the group's last batch norm feeds.
            assert place.side == 'input'
            assert place.path.startswith(place.name)
            assert place.norm.startswith(place.name)
    assert [pair.weight for pair in distiller.pairs] == [1 / 8, 1 / 4, 1 / 2, 1]
    assert {pair.loss.loss_weight for pair in distiller.pairs} == {1e-4}


@pytest.mark.parametrize('name', DISTILLATIONS)
def test_the_teachers_weights_and_errors_are_those_that_mmpretrain_lists(name):
    teacher = load(name).model.teacher
    models = mmengine.load(resources.files('mmpretrain') / '.mim/configs/resnet/metafile.yml')['Models']
    (listed,) = (
        model for model in models if f'mmpretrain::{model["Config"]}' == teacher.model.replace('::', '::configs/')
    )
    assert listed['Weights'] == teacher.checkpoint
    title, _ = TEACHERS[DISTILLATIONS[name][0]]
    error = 100 - listed['Results'][0]['Metrics']['Top 1 Accuracy']
    assert table(README, 'teacher', 'parameters')[title][2] == f'{error:.2f}'


@pytest.mark.parametrize('name', [*STUDENTS, *DISTILLATIONS])
def test_the_schedule_is_the_authors(name, metafile):
    config = load(name)
    init_default_scope(config.default_scope)
    assert config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == 256
    assert config.train_cfg.max_epochs == metafile[f'{name}_imagenet']['Metadata']['Epochs'] == 100
    settings = dict(config.optim_wrapper.optimizer)
    settings.pop('_scope_')
    assert settings == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=settings['lr'])
    scheduler = PARAM_SCHEDULERS.build(config.param_scheduler, default_args=dict(optimizer=optimizer))
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]['lr'])
        scheduler.step()
    assert rates == pytest.approx([0.1] * 30 + [0.01] * 30 + [0.001] * 30 + [0.0001] * 10)


def test_the_readmes_options_train_and_validate_on_a_folder_of_ones_own(tmp_path):
    folder = write_images(tmp_path / 'images', ('cup', 'plate'), 2, test='val', size=256)
    options = cfg_options(README, 'metainfo.classes')
    assert len(options) == 6
    config = load('mobilenet-v1')
    config.merge_from_dict(
        {
            **loader_options(tmp_path, batch_size=4),
            **{key: str(folder) if value == 'data/mine' else value for key, value in options.items()},
            'train_cfg.max_epochs': 1,
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': tmp_path.name,
            'log_level': 'WARNING',
        }
    )
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.train_dataloader.dataset.metainfo['classes'] == ['cup', 'plate']
    assert len(runner.train_dataloader.dataset) == len(runner.val_loop.dataloader.dataset) == 4
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() in (0, 25, 50, 75, 100)
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


def test_the_metafile_lists_every_config_once_and_the_index_imports_it(metafile):
    configs = [f'configs/imagenet/{path.name}' for path in FOLDER.glob('*.py')]
    assert sorted(model['Config'] for model in metafile.values()) == sorted(configs)
    assert all(name == Path(model['Config']).stem for name, model in metafile.items())
    assert 'configs/imagenet/metafile.yml' in mmengine.load(ROOT / 'model-index.yml')['Import']
