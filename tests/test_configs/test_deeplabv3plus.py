import copy
import functools
from pathlib import Path

import mmengine
import numpy as np
import pytest
import readme
import torch
from deeplab_by_hand import DeepLabByHand
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'deeplabv3plus'
README = (FOLDER / 'README.md').read_text()
TEACHER = 'deeplabv3plus_r101_voc12aug-513'
STUDENTS = ('deeplabv3plus_r18_voc12aug-513', 'deeplabv3plus_mobilenet-v2_voc12aug-513')
PAPER = dict(zip((TEACHER, *STUDENTS), (59.3, 16.6, 5.8), strict=True))
DISTILLED = {student: student.replace('deeplabv3plus_', 'ofd_deeplabv3plus_r101-') for student in STUDENTS}
CITYSCAPES = 'ofd_deeplabv3plus_r101-d8-r18-d8_4xb2-80k_cityscapes-512x1024'
# A crop whose maps have whole steps of the stride, as 513 has: 25x25, 13x13 and 7x7 for 129x129, 65x65 and 33x33.
CROP = 97


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(FOLDER / f'{name}.py')


def load(name: str) -> Config:
    return copy.deepcopy(_load(name))


def distiller_of(name: str, shape: tuple[int, int]) -> nn.Module:
    init_default_scope('mmseg')
    config = load(name)
    teacher = dict(config.model.teacher, checkpoint=None, allow_random=True)
    return MODELS.build(config.model | dict(teacher=teacher, input_shape=shape))


@pytest.fixture(scope='module')
def plain():
    """The three networks."""
    init_default_scope('mmseg')
    return {name: MODELS.build(load(name).model) for name in PAPER}


@pytest.fixture(scope='module')
def distillers():
    """The distilled students."""
    return {student: distiller_of(name, (CROP, CROP)) for student, name in DISTILLED.items()}


@pytest.mark.parametrize('name', PAPER)
def test_the_parameters_are_the_papers_within_one_percent(plain, name):
    count = sum(parameter.numel() for parameter in plain[name].parameters())
    assert count == pytest.approx(PAPER[name] * 1e6, rel=0.01)
    metafile = {model['Name']: model['Metadata'] for model in mmengine.load(FOLDER / 'metafile.yml')['Models']}
    rows = readme.table(README, 'config', 'backbone', 'parameters')
    assert int(rows[name][1].replace(',', '')) == count
    assert float(rows[name][2].removesuffix(' M')) == PAPER[name]
    assert metafile[name]['Parameters'] == count
    if name in STUDENTS:
        assert metafile[DISTILLED[name]]['Parameters'] == count
        assert load(DISTILLED[name]).model.student == load(name).model


@pytest.mark.parametrize(
    ('name', 'dilations'),
    [
        # The multi-grid (1, 2, 4) times the rate of the stage, 2.
        (TEACHER, {'backbone.layer4.0.conv2': 2, 'backbone.layer4.1.conv2': 4, 'backbone.layer4.2.conv2': 8}),
        (STUDENTS[0], {'backbone.layer4.0.conv1': 2, 'backbone.layer4.1.conv1': 2}),
        (STUDENTS[1], {'backbone.layer7.0.conv.1.conv': 2}),
    ],
)
def test_the_last_stage_is_dilated_instead_of_strided(plain, name, dilations):
    convs = {path: module for path, module in plain[name].named_modules() if isinstance(module, nn.Conv2d)}
    backbone = {path: conv for path, conv in convs.items() if path.startswith('backbone.')}
    assert {path: conv.dilation[0] for path, conv in backbone.items() if conv.dilation != (1, 1)} == dilations
    assert all(conv.padding[0] == conv.dilation[0] * (conv.kernel_size[0] // 2) for conv in convs.values())
    with torch.no_grad():
        low_level, deep = plain[name].eval().backbone(torch.randn(1, 3, CROP, CROP))
    assert (low_level.shape[2:], deep.shape[2:]) == ((25, 25), (7, 7))


@pytest.mark.parametrize('name', PAPER)
def test_batch_norms_train(plain, name):
    norms = [module for module in plain[name].train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.training and norm.weight.requires_grad for norm in norms)


def scramble(model: nn.Module) -> None:
    """Give each batch norm a scale and a shift of its own, so that none could be left out unnoticed."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)


@pytest.fixture(scope='module')
def teacher_and_inputs(distillers):
    """One scrambled teacher for both students, an image batch and what the hand-written teacher says to it."""
    teacher = distillers[STUDENTS[0]].teacher.double()
    scramble(teacher.model)
    inputs = torch.randn(2, 3, CROP, CROP, dtype=torch.float64)
    by_hand = DeepLabByHand(teacher.model.state_dict())
    with torch.no_grad():
        by_hand.head(*by_hand.resnet(inputs, 101))
    return teacher, inputs, by_hand.features


@pytest.mark.parametrize('student', STUDENTS)
def test_the_places_are_those_of_a_forward_written_by_hand(distillers, teacher_and_inputs, student):
    teacher, inputs, teacher_features = teacher_and_inputs
    distiller = distillers[student].double().train()
    distiller.teacher.model.load_state_dict(teacher.model.state_dict())
    scramble(distiller.student)
    for module in distiller.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    taken = []
    hooks = [pair.register_forward_pre_hook(lambda _, features: taken.append(features)) for pair in distiller.pairs]
    mask = torch.randint(21, (1, CROP, CROP))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=mask), metainfo=dict(img_shape=(CROP, CROP))) for _ in range(2)]
    with torch.no_grad():
        losses = distiller(inputs, samples, mode='loss')
        by_hand = DeepLabByHand(distiller.student.state_dict())
        backbone = by_hand.mobilenet_v2 if 'mobilenet' in student else functools.partial(by_hand.resnet, depth=18)
        logits = by_hand.head(*backbone(inputs))
    for hook in hooks:
        hook.remove()
    for (of_student, of_teacher, *_), own, taught in zip(taken, by_hand.features, teacher_features, strict=True):
        torch.testing.assert_close(of_student, own, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(of_teacher, taught, rtol=1e-6, atol=1e-6)
    logits = nn.functional.interpolate(logits, (CROP, CROP), mode='bilinear', align_corners=True)
    expected = nn.functional.cross_entropy(logits, torch.cat([mask, mask]))
    torch.testing.assert_close(losses['decode.loss_ce'], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('student', STUDENTS)
def test_pairs_join_the_sizes_and_channels_that_the_readme_says(distillers, student):
    columns = ['size', 'weight', 'ResNet-101 teacher', 'ResNet-18 student', 'MobileNetV2 student']
    column = columns.index('MobileNetV2 student' if 'mobilenet' in student else 'ResNet-18 student')
    config = load(DISTILLED[student])
    weights = [1 / 8, 1 / 4, 1 / 2, 1, 1, 1 / 16]
    assert [pair.weight for pair in distillers[student].pairs] == weights
    assert config.model.method.loss.loss_weight == 1e-5
    assert list(config.model.input_shape) == [513, 513]
    for row, weight, pair in zip(readme.rows(README, *columns), weights, distillers[student].pairs, strict=True):
        numerator, _, denominator = row[1].partition('/')
        assert int(numerator) / int(denominator or 1) == weight
        size = int(row[0].split('x')[0])
        for cell, place in ((row[2], pair.teacher_place), (row[column], pair.student_place)):
            assert cell.split('`')[1] == place.name
            assert int(cell.split()[-1]) == place.channels
            assert {(edge - 1) * 512 / (CROP - 1) + 1 for edge in place.size} == {size}


@pytest.mark.parametrize('student', STUDENTS)
def test_an_ignored_pixel_weighs_nothing_in_the_mean(plain, student):
    head = plain[student].decode_head
    logits, labels = torch.randn(1, 21, 8, 8), torch.randint(21, (1, 8, 8))
    labels[:, 2:] = 255
    expected = nn.functional.cross_entropy(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(head.loss_decode(logits, labels, ignore_index=head.ignore_index), expected)


@pytest.mark.parametrize('student', STUDENTS)
def test_head_and_connectors_learn_ten_times_as_fast(distillers, plain, student):
    for model, name in ((plain[student], student), (distillers[student], DISTILLED[student])):
        optimizer = build_optim_wrapper(model, load(name).optim_wrapper).optimizer
        settings = {key: optimizer.defaults[key] for key in ('momentum', 'weight_decay', 'nesterov')}
        assert settings == dict(momentum=0.9, weight_decay=5e-4, nesterov=True)
        parts = {
            id(weight): part
            for part in ('backbone', 'decode_head', 'pairs')
            for path, weight in model.named_parameters()
            if part in path.split('.')
        }
        rates = {
            (parts[id(weight)], round(group['lr'], 6)) for group in optimizer.param_groups for weight in group['params']
        }
        connectors = {('pairs', 0.07)} if model is distillers[student] else set()
        assert rates == {('backbone', 0.007), ('decode_head', 0.07)} | connectors


@pytest.mark.parametrize('epochs', [50, 3])
def test_the_rate_falls_with_every_iteration_to_nothing_at_the_end(epochs):
    config = load(TEACHER)
    assert config.train_cfg.max_epochs == 50
    assert config.train_dataloader.batch_size == 12
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.007)
    # As the runner does: the end is that of the training.
    given = dict(optimizer=optimizer, epoch_length=100)
    (scheduler,) = (
        PARAM_SCHEDULERS.build({'end': epochs, **cfg}, default_args=given) for cfg in config.param_scheduler
    )
    iterations = epochs * 100
    for iteration in range(iterations):
        expected = 0.007 * (1 - iteration / iterations) ** 0.9
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, abs=0.007 * 2 / iterations**0.9)
        scheduler.step()


@pytest.mark.parametrize('student', STUDENTS)
def test_only_the_connectors_learn_in_the_first_epoch(student):
    assert load(DISTILLED[student]).custom_hooks == [dict(type='ovkd_mm.ConnectorWarmupHook', epochs=1)]
    assert 'custom_hooks' not in load(student)


@pytest.mark.parametrize('name', [*PAPER, *DISTILLED.values()])
def test_our_parts_need_no_import_and_a_save_that_is_cut_short_leaves_another(name):
    config = load(name)
    assert 'custom_imports' not in config
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.save_best) == (1, 'mIoU')
    assert checkpoint.max_keep_ckpts > 1


@pytest.mark.parametrize('name', DISTILLED.values())
def test_the_teachers_config_is_found_from_anywhere_and_after_a_dump(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(name)
    config.dump(tmp_path / 'dumped.py')
    for again in (config, Config.fromfile(tmp_path / 'dumped.py')):
        teacher = again.model.teacher
        assert Config.fromfile(teacher.model).model == load(TEACHER).model
        assert teacher.checkpoint == f'work_dirs/{TEACHER}/epoch_50.pth'


def test_mmsegs_own_pair_takes_a_short_config_and_both_models_as_they_are():
    assert len((FOLDER / f'{CITYSCAPES}.py').read_text().splitlines()) <= 15
    config = load(CITYSCAPES)
    base = 'mmseg::deeplabv3plus/deeplabv3plus_{}-d8_4xb2-80k_cityscapes-512x1024.py'
    student = Config.fromstring(f'_base_ = {base.format("r18")!r}', '.py')
    assert config.model.teacher.model == base.format('r101')
    assert config.model.student == student.model
    changed = {key for key in config if config[key] != student.get(key)}
    assert changed == {'model', 'method', 'distiller', 'places', 'head_pairs'}
    distiller = distiller_of(CITYSCAPES, (64, 128))
    channels = [(pair.student_place.channels, pair.teacher_place.channels) for pair in distiller.pairs]
    assert channels == [(64, 256), (128, 512), (256, 1024), (512, 2048), (128, 512), (128, 512)]
    assert all(pair.teacher_place.norm and pair.teacher_place.side == 'input' for pair in distiller.pairs)


def test_the_metafile_lists_every_config_once():
    models = mmengine.load(FOLDER / 'metafile.yml')['Models']
    configs = [f'configs/deeplabv3plus/{path.name}' for path in FOLDER.glob('*.py')]
    assert sorted(model['Config'] for model in models) == sorted(configs)
    assert all(model['Name'] == Path(model['Config']).stem for model in models)
    index = mmengine.load(FOLDER.parents[1] / 'model-index.yml')
    assert 'configs/deeplabv3plus/metafile.yml' in index['Import']


@pytest.fixture
def folder(tmp_path):
    """A folder of one's own in VOC's layout: two wide images to train on, one to validate, of three classes."""
    for name in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (tmp_path / name).mkdir(parents=True)
    for split, images in (('train', 'ab'), ('val', 'c')):
        (tmp_path / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(images))
        for image in images:
            Image.fromarray(np.random.randint(256, size=(40, 90, 3), dtype=np.uint8)).save(
                tmp_path / f'JPEGImages/{image}.jpg'
            )
            Image.fromarray(np.random.randint(3, size=(40, 90), dtype=np.uint8)).save(
                tmp_path / f'SegmentationClass/{image}.png'
            )
    return tmp_path


@pytest.fixture
def options(folder):
    """The README's options for a folder, classes and a crop of one's own, the crop 65."""
    return {
        **readme.cfg_options(README, 'train_dataloader.dataset.data_root', {'data/mine': str(folder)}),
        **readme.cfg_options(README, 'metainfo.classes'),
        **readme.cfg_options(README, 'crop_size', {'1284': '260', '321': '65'}),
    }


def test_the_readmes_options_crop_to_what_they_say_and_void_what_is_padded(options):
    init_default_scope('mmseg')
    config = load(DISTILLED[STUDENTS[1]])
    options['model.student.data_preprocessor.size'] = options.pop('model.data_preprocessor.size')
    config.merge_from_dict(options)
    config.train_dataloader.dataset.pipeline[2].ratio_range = (0.5, 0.5)  # short sides of 33
    dataset = DATASETS.build(config.train_dataloader.dataset)
    items = [dataset[index] for index in range(len(dataset))]
    batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}
    batch = MODELS.build(config.model.student.data_preprocessor)(batch, training=True)
    assert batch['inputs'].shape == (2, 3, 65, 65)
    for sample in batch['data_samples']:
        mask = sample.gt_sem_seg.data[0]
        assert mask.shape == (65, 65)
        assert (mask[:32] < 3).all()
        assert (mask[33:] == 255).all()


def test_the_readmes_options_train_and_validate_on_a_folder_and_classes_of_ones_own(options, tmp_path):
    config = load(STUDENTS[1])
    config.merge_from_dict(options)
    loader = dict(num_workers=0, persistent_workers=False)
    config.merge_from_dict(
        {
            **{f'{name}_dataloader.{key}': value for name in ('train', 'val') for key, value in loader.items()},
            'train_dataloader.batch_size': 2,
            'train_cfg.max_epochs': 1,
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': tmp_path.name,
            'test_dataloader': None,
            'test_cfg': None,
            'test_evaluator': None,
            'model.backbone.init_cfg': None,
            'log_level': 'WARNING',
        }
    )
    runner = Runner.from_cfg(config)
    runner.train()
    assert {path.name for path in (tmp_path / 'work').glob('*.pth')} == {'epoch_1.pth', 'best_mIoU_epoch_1.pth'}
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100
    assert runner.model.decode_head.conv_seg.out_channels == 3
