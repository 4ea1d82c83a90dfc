"""Every method on the shipped pairs, by another ``_base_`` line."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader

from ovkd_mm.config_files import read_config_file
from ovkd_mm.hooks import ParaphraserHook

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
METHODS = sorted(path.stem for path in (CONFIGS / '_base_' / 'methods').glob('*.py'))
OTHERS = [name for name in METHODS if not name.startswith('ofd')]
LOGITS = [
    name
    for name in OTHERS
    if Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{name}.py').method.position.type == 'ovkd_mm.Logits'
]
DISTILLATIONS = sorted(CONFIGS.glob('*/ofd_*.py'))
CIFAR = CONFIGS / 'cifar100' / 'ofd_wrn28-4_wrn16-2_cifar100.py'
SSD = CONFIGS / 'ssd300' / 'ofd_ssd300_r50-r18_voc0712.py'
DEEPLAB = CONFIGS / 'deeplabv3plus' / 'ofd_deeplabv3plus_r101-r18_voc12aug-513.py'


def with_method(path: Path, method: str) -> Config:
    """The config at ``path`` with another method in its ``_base_`` line and nothing else changed."""
    text = path.read_text()
    text, count = re.subn(r"'../_base_/methods/ofd\w*.py'", f"'../_base_/methods/{method}.py'", text)
    assert count == 1
    # A text has no folder that its paths could start from.
    text = text.replace('{{ fileDirname }}', str(path.parent))
    text = text.replace("'../", f"'{path.parent.parent}/").replace("'./", f"'{path.parent}/")
    return Config.fromstring(text, '.py')


def build(config: Config, **teacher) -> nn.Module:
    init_default_scope(config.default_scope)
    config.model.teacher.update(checkpoint=None, allow_random=True, **teacher)
    torch.manual_seed(0)
    return MODELS.build(config.model).train()


def classification(count: int = 4) -> list[dict]:
    """Images of 32x32 with a label each."""
    return [
        dict(inputs=torch.randint(256, (3, 32, 32), dtype=torch.uint8), data_samples=DataSample().set_gt_label(index))
        for index in range(count)
    ]


def detection(count: int = 2) -> list[dict]:
    """Images of 300x300 with two objects each."""
    items = []
    for index in range(count):
        boxes = torch.tensor([[20.0, 30, 150, 200], [100, 100, 280, 260]]) + index
        sample = DetDataSample(metainfo=dict(img_shape=(300, 300), ori_shape=(300, 300), scale_factor=(1, 1)))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([3, 7]))
        items.append(dict(inputs=torch.randint(256, (3, 300, 300), dtype=torch.uint8), data_samples=sample))
    return items


def segmentation(count: int = 2) -> list[dict]:
    """Images of 97x97 with a mask each."""
    items = []
    for _ in range(count):
        sample = SegDataSample(metainfo=dict(img_shape=(97, 97), ori_shape=(97, 97)))
        sample.gt_sem_seg = PixelData(data=torch.randint(21, (1, 97, 97)))
        items.append(dict(inputs=torch.randint(256, (3, 97, 97), dtype=torch.uint8), data_samples=sample))
    return items


def collate(items: list[dict]) -> dict:
    return {key: [item[key] for item in items] for key in items[0]}


def assert_learns(model: nn.Module, items: list[dict], config: Config, count: int) -> None:
    """One forward and backward pass in which ``count`` pairs teach student and connectors."""
    for hook in config.model.method.get('hooks', []):
        if hook.type == 'ovkd_mm.ParaphraserHook':
            loader = DataLoader(items, batch_size=len(items), collate_fn=collate)
            ParaphraserHook(iters=1).before_train(
                SimpleNamespace(model=model, train_dataloader=loader, seed=0, hooks=[], iter=0)
            )
    losses = model(**model.data_preprocessor(collate(items), training=True), mode='loss')
    distillation = [losses[f'loss_distill_{index}'] for index in range(count)]
    assert f'loss_distill_{count}' not in losses
    assert all(torch.isfinite(loss) and loss > 0 for loss in distillation)
    sum(distillation).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)
    assert gradients['student.backbone.conv1.weight'].any()  # the first layer of all three
    connectors = {name for name in gradients if name.startswith('pairs.') and name.endswith('weight')}
    assert all(gradients[name].any() for name in connectors)
    assert all(weight.grad is None for weight in model.teacher.parameters())


@pytest.mark.parametrize('method', [name for name in OTHERS if name != 'cwd_logits'])
def test_each_method_teaches_a_classifier_by_one_other_base_line(method):
    config = with_method(CIFAR, method)
    model = build(config, model=str(CIFAR.parent / 'wrn16-4_cifar100.py'))
    assert_learns(model, classification(), config, count=1 if method in LOGITS else 3)


def test_scores_of_whole_images_have_no_positions_to_compare():
    config = with_method(CIFAR, 'cwd_logits')
    model = build(config, model=str(CIFAR.parent / 'wrn16-4_cifar100.py'))
    with pytest.raises(ValueError, match=r"\(4, 100\) has no positions: .*'_base_/methods/dist.py'"):
        assert_learns(model, classification(), config, count=1)


def test_of_a_detectors_scores_the_maps_teach_that_have_several_positions():
    config = with_method(SSD, 'cwd_logits')
    config.model.student.backbone.init_cfg = None
    model = build(config, model=str(CONFIGS / 'ssd300' / 'ssd300_r18_voc0712.py'))
    losses = model(**model.data_preprocessor(collate(detection()), training=True), mode='loss')
    assert [losses[f'loss_distill_{index}'].item() > 0 for index in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize('method', [name for name in OTHERS if name not in ('dkd', 'cwd_logits')])
def test_each_method_teaches_a_detector_by_one_other_base_line(method):
    config = with_method(SSD, method)
    config.model.student.backbone.init_cfg = None
    model = build(config, model=str(CONFIGS / 'ssd300' / 'ssd300_r18_voc0712.py'))  # the small student as its teacher
    assert_learns(model, detection(), config, count=6 if method in LOGITS else 4)


def test_anchors_have_no_true_class_for_a_method_that_takes_them():
    config = with_method(SSD, 'dkd')
    config.model.student.backbone.init_cfg = None
    model = build(config, model=str(CONFIGS / 'ssd300' / 'ssd300_r18_voc0712.py'))
    with pytest.raises(ValueError, match=r"a detector, whose anchors are not assigned yet.*'_base_/methods/kd.py'"):
        assert_learns(model, detection(), config, count=6)


@pytest.mark.parametrize('method', OTHERS)
def test_each_method_teaches_a_segmentor_by_one_other_base_line(method):
    config = with_method(DEEPLAB, method)
    config.model.student.backbone.init_cfg = None
    config.model.student.data_preprocessor.size = config.model.input_shape = (97, 97)
    model = build(config, model=str(CONFIGS / 'deeplabv3plus' / 'deeplabv3plus_r18_voc12aug-513.py'))
    assert_learns(model, segmentation(), config, count=1 if method in LOGITS else 6)


def test_a_pixel_that_the_students_head_ignores_has_no_true_class_for_dkd_either():
    config = with_method(DEEPLAB, 'dkd')
    config.model.student.backbone.init_cfg = None
    config.model.student.data_preprocessor.size = config.model.input_shape = (97, 97)
    config.model.student.decode_head.ignore_index = 7
    teacher = str(CONFIGS / 'deeplabv3plus' / 'deeplabv3plus_r18_voc12aug-513.py')
    assert [pair.loss.ignore_index for pair in build(config, model=teacher).pairs] == [7]
    config.model.method.loss.ignore_index = 8
    assert [pair.loss.ignore_index for pair in build(config, model=teacher).pairs] == [8]


@pytest.mark.parametrize('method', ['cwd', 'ickd', 'mgd', 'ofd', 'pkd'])
def test_the_levels_of_a_neck_are_taught_without_a_connector_where_channels_are_equal(method):
    config = Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{method}.py')
    student = read_config_file('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 'retinanet')
    student.model.backbone.init_cfg = None
    config.default_scope = 'mmdet'
    levels = [dict(student=f'neck.fpn_convs.{level}', teacher=f'neck.fpn_convs.{level}') for level in range(3)]
    config.model = dict(
        type='ovkd_mm.FeatureDistiller',
        student=student.model,
        teacher=dict(model='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', allow_random=True),
        method=config.method,
        pairs=levels,
        input_shape=(320, 320),
    )
    torch.manual_seed(0)
    init_default_scope('mmdet')
    model = MODELS.build(config.model).train()
    assert [
        (place.path, place.channels) for pair in model.pairs for place in (pair.student_place, pair.teacher_place)
    ] == [(f'neck.fpn_convs.{level}', 256) for level in range(3) for _ in range(2)]
    losses = model(**model.data_preprocessor(collate(detection()), training=True), mode='loss')
    distillation = [losses[f'loss_distill_{index}'] for index in range(3)]
    sum(distillation).backward()
    assert all(torch.isfinite(loss) and loss > 0 for loss in distillation)
    assert all(weight.grad.any() for weight in model.student.neck.fpn_convs[0].parameters())


@pytest.mark.parametrize('method', ['fitnets', 'fsp', 'kd'])
def test_a_vgg_teacher_and_a_mobilenet_student_have_the_places_of_methods_with_other_positions(method):
    model = build(with_method(CONFIGS / 'ssd300' / 'ofd_ssd300_vgg16-mobilenet-v1_voc0712.py', method))
    found = [(pair.student_place, pair.teacher_place) for pair in model.pairs]
    if method == 'kd':
        assert all(student == teacher for student, teacher in found)
        assert [teacher.shape for _, teacher in found] == [
            (anchors * 21, size, size) for anchors, size in zip((4, 6, 6, 6, 4, 4), (38, 19, 10, 5, 3, 1), strict=True)
        ]
        assert sum(pair.weight for pair in model.pairs) == pytest.approx(1)
    elif method == 'fitnets':
        # conv3_2, conv4_2, conv5_3 (of conv5_1 to fc7) and conv8_2 with their ReLUs; of two separable layers the first
        paths = [
            'backbone.features.13',
            'backbone.features.20',
            'backbone.features.29',
            'neck.extra_layers.0.1.activate',
        ]
        assert [teacher.path for _, teacher in found] == paths
        assert [student.path for student, _ in found] == [
            f'backbone.layer{n}' for n in ('2.0.5', '3.0.5', '4.2.5', '5.0.5')
        ]
    else:
        assert [teacher.channels for _, teacher in found] == [(128, 256), (256, 512), (512, 1024), (256, 512)]
        assert [student.channels for student, _ in found] == [(64, 128), (128, 256), (256, 512), (512, 1024)]


@pytest.mark.parametrize('path', DISTILLATIONS, ids=lambda path: path.stem)
def test_another_base_line_brings_another_method_and_its_hooks_and_keeps_the_others(path):
    before = Config.fromfile(path)
    for method in ('at', 'ft', 'ab'):
        config = with_method(path, method)
        chosen = Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{method}.py')
        assert config.model.method == chosen.method
        assert len(config.model.method.get('hooks', [])) == (method != 'at')
        assert config.get('custom_hooks') == before.get('custom_hooks')
        assert {key for key in config.model if config.model[key] != before.model[key]} <= {'method'}


def test_weights_of_methods_other_than_ofd_and_mgd_belong_to_no_input_size():
    """Each loss is a mean, or compares unit vectors: nothing is summed over a map."""
    for method in OTHERS:
        if method == 'mgd':
            continue
        loss = Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{method}.py').method.loss
        assert loss.type != 'ovkd_mm.PartialL2Loss'
        assert loss.get('reduction', 'mean') == 'mean' or method in ('jacobian', 'ickd')


def authors_factor(method: str, index: int, pair: nn.Module) -> tuple[Callable, torch.Tensor, torch.Tensor]:
    """What the published code adds to the loss for one group, in plain torch, and tensors to try it on.

    OFD: clovaai/overhaul-distillation; AB: bhheo/AB_distillation, times the 3 of its CIFAR script;
    AT: szagoruyko/attention-transfer with beta 1e3; FT: Jangho-Kim/Factor-Transfer-pytorch with beta 500; FitNets, FSP:
    HobbitLong/RepDistiller with beta 100 and 50.
    """
    count, (channels, *size) = 4, pair.teacher_place.last.shape if method == 'fsp' else pair.teacher_place.shape
    student, teacher = torch.randn(2, count, channels, *size, dtype=torch.float64).unbind()
    halving = 2.0 ** (index - 2)
    if method == 'ofd_cifar':

        def loss(s, t):
            return 1e-3 * halving * ((s - t) ** 2 * ((s > t) | (t > 0))).sum() / count

    elif method == 'ab':
        teacher = (teacher > 0).double()

        def loss(s, t):
            wrong = (s + 1) ** 2 * ((s > -1) & (t <= 0)) + (s - 1) ** 2 * ((s <= 1) & (t > 0))
            return wrong.sum() / count * halving / 1000 * 3

    elif method == 'at':
        student, teacher = (pair.teacher_transform(x) for x in (student, teacher))

        def loss(s, t):
            return 1000 * (s.flatten(1) - t.flatten(1)).pow(2).mean()

    elif method == 'ft':

        def loss(s, t):
            return 500 * (nn.functional.normalize(s.flatten(1)) - nn.functional.normalize(t.flatten(1))).abs().mean()

    else:
        beta = dict(fitnets=100, fsp=50)[method]

        def loss(s, t):
            return beta * (s - t).pow(2).mean()

    return loss, student, teacher


@pytest.mark.parametrize('method', ['ofd_cifar', 'ab', 'at', 'fitnets', 'fsp', 'ft'])
def test_a_pair_weighs_what_the_published_code_weighs_it_on_the_wrn28_4(method):
    model = build(with_method(CIFAR, method))
    for index, pair in enumerate(model.pairs):
        loss, student, teacher = authors_factor(method, index, pair)
        torch.testing.assert_close(pair.weight * pair.loss(student, teacher), loss(student, teacher))


@pytest.mark.parametrize('path', DISTILLATIONS, ids=lambda path: path.stem)
def test_halving_comes_with_ofd_and_not_with_the_pairs(path):
    config = Config.fromfile(path)
    assert config.model.method.weight == 'halved'
    assert not any('weight' in pair for pair in config.model.pairs)


@pytest.mark.parametrize('method', OTHERS)
def test_pairs_of_other_methods_weigh_the_same(method):
    assert Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{method}.py').method.weight == 1


@pytest.mark.parametrize('method', OTHERS)
def test_ofd_alone_asks_for_a_teacher_that_normalizes_by_the_batch(method):
    assert 'norm_mode' not in Config.fromfile(CONFIGS / '_base_' / 'methods' / f'{method}.py').method
    assert Config.fromfile(CONFIGS / '_base_' / 'methods' / 'ofd.py').method.norm_mode == 'batch'
