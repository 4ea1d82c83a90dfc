import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from mmpretrain.models import ClsDataPreprocessor
from torch import nn
from toy import ToyClassifier, batch, distiller_config, needs_compile, needs_float16

from ovkd_mm.distillers import Teacher
from ovkd_mm.positions import PreReLU


def teacher(model=None, **arguments):
    return Teacher(
        model or dict(type='ToyClassifier'),
        student_preprocessor=ImgDataPreprocessor(mean=(0, 0, 0), std=(1, 1, 1)),
        input_shape=(16, 16),
        **arguments,
    )


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=MODELS.build(dict(type='ToyClassifier')).state_dict()), path)
    return str(path)


def test_weights_are_loaded_and_frozen(checkpoint):
    loaded = teacher(checkpoint=checkpoint)
    for key, value in torch.load(checkpoint, weights_only=True)['state_dict'].items():
        assert torch.equal(loaded.model.state_dict()[key], value)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


class Fetching(ToyClassifier):
    """As mmpretrain's TIMMBackbone, which fetches weights while it is built."""

    def __init__(self, pretrained=False):
        super().__init__()
        if pretrained:
            raise ConnectionError('there is no network')


@pytest.mark.parametrize('random', [False, True])
def test_no_weights_are_fetched_that_a_checkpoint_replaces_or_of_a_random_teacher(checkpoint, random):
    model = dict(type=Fetching, pretrained=True)
    assert teacher(model, **(dict(allow_random=True) if random else dict(checkpoint=checkpoint))).model is not None
    assert model['pretrained']


def test_the_model_may_be_a_config_file(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / 'config.py'
    Config(dict(model=dict(type='ToyClassifier', width=4))).dump(path)
    assert teacher(str(path), checkpoint=checkpoint).model.backbone.stem.out_channels == 4
    monkeypatch.chdir(tmp_path)
    assert teacher('config.py', checkpoint=checkpoint).model.backbone.stem.out_channels == 4


def test_the_model_may_be_a_toolkits_config_by_name():
    built = teacher('mmpretrain::resnet/resnet18_8xb16_cifar10.py', allow_random=True)
    assert type(built.model).__name__ == 'ImageClassifier'
    assert built.model.data_preprocessor.mean.flatten().tolist() == pytest.approx([125.307, 122.961, 113.8575])


def test_a_checkpoint_of_a_distilled_student_can_teach(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save(state | {'distiller.pairs.0.x': torch.zeros(1)}, tmp_path / 'distilled.pth')
    teacher(checkpoint=str(tmp_path / 'distilled.pth'))


def test_a_checkpoint_that_was_saved_on_a_gpu_is_loaded_without_one(tmp_path, monkeypatch):
    state = MODELS.build(dict(type='ToyClassifier')).state_dict()
    monkeypatch.setattr(torch.serialization, 'location_tag', lambda storage: 'cuda:0')
    torch.save(state, tmp_path / 'teacher.pth')
    loaded = teacher(checkpoint=str(tmp_path / 'teacher.pth'))
    assert torch.equal(loaded.model.fc.weight, state['fc.weight'])


def test_no_checkpoint_is_an_error():
    with pytest.raises(ValueError, match=r'teacher\.checkpoint is not set.*allow_random=True'):
        teacher()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'teacher\.checkpoint.*nowhere\.pth'):
        teacher(checkpoint=str(tmp_path / 'nowhere.pth'))


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r"teacher\.model='configs/nowhere\.py' does not exist"):
        teacher('configs/nowhere.py', allow_random=True)


def test_a_corrupt_checkpoint_is_named(checkpoint):
    with open(checkpoint, 'r+b') as file:
        file.truncate(2000)
    with pytest.raises(ValueError, match=r'teacher\.pth'):
        teacher(checkpoint=checkpoint)


class Bomb:
    fired = False

    def __reduce__(self):
        return exec, ('import sys; sys.modules["ovkd_mm"].fired = True',)


@pytest.mark.parametrize('protocol', ['zip', 'pickle'])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path, protocol):
    import ovkd_mm

    path = tmp_path / 'bomb.pth'
    if protocol == 'zip':
        torch.save(dict(state_dict=Bomb()), path)
    else:
        path.write_bytes(pickle.dumps(dict(state_dict=Bomb())))
    with pytest.raises(ValueError, match=r'bomb\.pth'):
        teacher(checkpoint=str(path))
    assert not hasattr(ovkd_mm, 'fired')


def test_a_misfitting_checkpoint_says_how_many_keys_of_how_many(checkpoint):
    # Width 5 shares the shape of no weight with width 4 but the batch counters and the head's bias.
    own = MODELS.build(dict(type='ToyClassifier', width=5)).state_dict()
    same = sum(key.endswith(('num_batches_tracked', 'fc.bias')) for key in own)
    counts = f'{same} of {len(own)}'
    with pytest.raises(
        ValueError, match=rf"(?s)^teacher\.checkpoint='{checkpoint}' .*{counts} .*: backbone\.stem\.weight"
    ):
        teacher(dict(type='ToyClassifier', width=5), checkpoint=checkpoint)


def test_a_teacher_of_other_classes_names_the_config_that_its_training_left(checkpoint, tmp_path):
    wrong = dict(type='ToyClassifier', width=5)
    anyones = (
        r'trained with: --cfg-options model\.teacher\.model=work_dirs/<name>/<name>\.py, which its training left there'
    )
    with pytest.raises(ValueError, match=anyones):
        teacher(wrong, checkpoint=checkpoint)
    own = tmp_path / 'own.py'
    Config(dict(model=dict(type='ToyClassifier'))).dump(own)
    with pytest.raises(ValueError, match=anyones):  # a folder with a config, but no training's
        teacher(wrong, checkpoint=checkpoint)
    (tmp_path / 'last_checkpoint').write_text(checkpoint)
    with pytest.raises(ValueError, match=re.escape(f'--cfg-options model.teacher.model={own}, which its training')):
        teacher(wrong, checkpoint=checkpoint)
    teacher(str(own), checkpoint=checkpoint)
    Config(dict(model=wrong)).dump(tmp_path / 'other.py')
    with pytest.raises(ValueError, match=anyones):  # two to choose from
        teacher(wrong, checkpoint=checkpoint)


def test_batch_mode_normalizes_by_the_batch_and_running_mode_does_not():
    inputs = 5 * batch()[0] + 3
    features = {}
    for mode in ('batch', 'running'):
        torch.manual_seed(0)
        one = teacher(allow_random=True, norm_mode=mode)
        one.attach([PreReLU('backbone.stem').resolve(one.trace), PreReLU('backbone.layer1.0').resolve(one.trace)])
        torch.nn.init.constant_(one.model.backbone.layer1[0].downsample[1].weight, 0)
        features[mode] = one(inputs)[1]
    mean = features['batch'].mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
    assert features['running'].mean((0, 2, 3)).abs().max() > 0.1


def test_batch_mode_leaves_the_running_statistics_alone():
    one = teacher(allow_random=True)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace)])
    before = copy.deepcopy(one.model.state_dict())
    one(batch()[0])
    assert all(torch.equal(value, before[key]) for key, value in one.model.state_dict().items())


class Pooling(ToyClassifier):
    """With a branch that a batch norm sees as one value per channel and image, as in ASPP and PSP heads."""

    def __init__(self):
        super().__init__()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.ReLU())

    def forward(self, inputs, *args, **kwargs):
        return super().forward(inputs + self.pooled(inputs), *args, **kwargs)


@pytest.mark.parametrize('mode', ['batch', 'running'])
def test_one_image_has_no_statistics_of_a_pooled_branch_but_running_ones(mode):
    one = teacher(dict(type=Pooling), allow_random=True, norm_mode=mode)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace)])
    assert len(one(torch.randn(2, 3, 16, 16))[0]) == 2
    if mode == 'running':
        assert len(one(torch.randn(1, 3, 16, 16))[0]) == 1
        return
    with pytest.raises(ValueError, match=r"teacher.*a batch of 1 .*set model\.teacher\.norm_mode='running', or,"):
        one(torch.randn(1, 3, 16, 16))


def test_norm_mode_is_checked():
    with pytest.raises(ValueError, match="'frozen'"):
        teacher(allow_random=True, norm_mode='frozen')


@pytest.mark.parametrize('keep', [True, False])
def test_the_graph_from_the_images_is_kept_on_request_alone(keep):
    one = teacher(allow_random=True)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace)], keep_graph=keep)
    assert one(batch()[0].requires_grad_())[0].requires_grad is keep


def test_what_a_teacher_with_checkpointed_blocks_keeps_of_the_graph_can_be_differentiated():
    one = Teacher(
        dict(type='mmpretrain.ResNet', depth=18, with_cp=True), ImgDataPreprocessor(), (64, 64), allow_random=True
    )
    one.attach([PreReLU('layer2').resolve(one.trace)], keep_graph=True)
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(one(images)[0].square().sum(), images)
    assert gradient.any()


def test_the_forward_stops_after_the_last_tap():
    one = teacher(allow_random=True)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace)])
    one.model.backbone.layer2 = nn.Identity()
    one.model.backbone.dropout.register_forward_pre_hook(lambda *_: pytest.fail('ran on'))
    assert one(batch()[0])[0].shape == (4, 4, 8, 8)
    assert one.trace is None  # with the tensors of its forward


def attached(**arguments):
    torch.manual_seed(0)
    one = teacher(allow_random=True, **arguments)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace), PreReLU('backbone.layer2').resolve(one.trace)])
    return one


@pytest.mark.parametrize('dtype', ['bfloat16', pytest.param('float16', marks=needs_float16)])
@pytest.mark.parametrize('norm_mode', ['batch', 'running'])
def test_a_teacher_computes_in_the_dtype_that_is_asked_for(norm_mode, dtype):
    lower, images = attached(norm_mode=norm_mode, dtype=dtype), batch()[0]
    convolutions = [module for module in lower.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in lower.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {module.weight.dtype for module in convolutions} == {getattr(torch, dtype)}
    assert {module.weight.dtype for module in norms} == {torch.float32}
    with torch.autocast('cpu', torch.bfloat16):  # which would have a say otherwise
        found = lower(images)
    for feature, exact in zip(found, attached(norm_mode=norm_mode)(images), strict=True):
        assert feature.dtype == getattr(torch, dtype)
        torch.testing.assert_close(feature.float(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())


def test_images_of_another_dtype_are_read_as_the_teachers():
    """FSDP with mixed precision lowers those of the student."""
    one, images = attached(), batch()[0].bfloat16()
    for feature, exact in zip(one(images), one(images.float()), strict=True):
        assert torch.equal(feature, exact)


def test_another_dtype_is_an_error():
    with pytest.raises(ValueError, match=r"teacher.dtype must be 'bfloat16' or 'float16', got 'bf16'"):
        teacher(allow_random=True, dtype='bf16')


@needs_compile
@pytest.mark.parametrize('norm_mode', ['batch', 'running'])
def test_a_compiled_teacher_reads_the_same_in_one_graph(monkeypatch, norm_mode):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile_with = torch.compile
    monkeypatch.setattr(torch, 'compile', lambda function: compile_with(function, backend=backend))
    compiled, eager = attached(norm_mode=norm_mode, compile=True), attached(norm_mode=norm_mode)
    for seed in range(3):
        images = batch(seed=seed)[0]
        for feature, expected in zip(compiled(images), eager(images), strict=True):
            assert torch.equal(feature, expected)
    assert len(graphs) == 1
    # It ends where it is read last.
    assert not any(node.target is torch.nn.functional.linear or 'fc' in node.name for node in graphs[0].graph.nodes)


def test_sync_bn_becomes_bn():
    @MODELS.register_module(force=True)
    class Synced(MODELS.get('ToyClassifier')):
        def __init__(self):
            super().__init__()
            self.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(self.backbone)

    norms = [m for m in teacher(dict(type='Synced'), allow_random=True).modules() if 'Norm' in type(m).__name__]
    assert norms
    assert not any(isinstance(norm, nn.SyncBatchNorm) for norm in norms)


def test_nothing_puts_the_teacher_into_training():
    one = teacher(dict(type='ToyClassifier', dropout=0.5), allow_random=True).train()
    assert not one.model.backbone.dropout.training


CIFAR = Path(__file__).resolve().parents[2] / 'configs' / 'cifar10'
FOLDER = Config.fromfile(CIFAR / 'wrn16-2_cifar10-folder.py').data_preprocessor.to_dict()


def seen_by(teacher, inputs):
    """What comes to the first layer of a teacher that is given ``inputs``."""
    seen = []
    first = next(module for module in teacher.model.modules() if isinstance(module, nn.Conv2d))
    handle = first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    teacher(inputs)
    handle.remove()
    return seen[0]


def test_a_teacher_sees_its_own_normalization_of_the_students_inputs():
    images = [torch.randint(256, (3, 16, 16), dtype=torch.uint8) for _ in range(2)]
    student = ImgDataPreprocessor(mean=(10, 20, 30), std=(2, 3, 4))
    inputs = student(dict(inputs=images))['inputs']
    model = dict(type='ToyClassifier', mean=(1, 2, 3), std=(5, 6, 7), bgr_to_rgb=True)
    built = Teacher(model, student_preprocessor=student, input_shape=(16, 16), allow_random=True)
    built.attach([PreReLU('backbone.layer1').resolve(built.trace)])
    expected = built.model.data_preprocessor(dict(inputs=images))['inputs']
    torch.testing.assert_close(seen_by(built, inputs), expected)


@pytest.mark.parametrize('config', ['wrn16-2_cifar10.py', 'wrn16-2_cifar10-folder.py'])
def test_teachers_of_cifars_archive_and_of_its_folders_see_a_students_images_of_either_alike(config):
    folder = ClsDataPreprocessor(**FOLDER)
    archive = ClsDataPreprocessor(**FOLDER | dict(to_rgb=False))
    rgb = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    for student, images, said in ((folder, rgb.flip(1), None), (archive, rgb, 'rgb')):
        built = Teacher(
            str(CIFAR / config),
            student_preprocessor=student,
            student_order=said,
            input_shape=(32, 32),
            allow_random=True,
        )
        built.attach([PreReLU('backbone.layer1').resolve(built.trace)])
        inputs = student(dict(inputs=images))['inputs']
        assert seen_by(built, inputs) is inputs


def test_the_order_that_is_said_counts_more_than_that_of_the_config():
    student = ClsDataPreprocessor(**FOLDER)
    built = Teacher(
        str(CIFAR / 'wrn16-2_cifar10.py'),
        student_preprocessor=student,
        input_shape=(32, 32),
        allow_random=True,
        channel_order='bgr',
    )
    assert built.renormalize.swap


def test_a_dict_of_a_model_that_would_get_raw_pixels_is_refused():
    model = Config.fromfile(CIFAR / 'wrn16-2_cifar10-folder.py').model.to_dict() | dict(_scope_='mmpretrain')
    student = ClsDataPreprocessor(**FOLDER)
    arguments = dict(student_preprocessor=student, input_shape=(32, 32), allow_random=True)
    with pytest.raises(
        ValueError, match=r'teacher\.model.*no data_preprocessor.*raw pixels.*_base_\.data_preprocessor'
    ):
        Teacher(model, **arguments)
    built = Teacher(model | dict(data_preprocessor=FOLDER), **arguments)
    assert built.renormalize.identity


def test_a_dict_that_says_that_its_model_takes_raw_pixels_is_believed():
    model = dict(type='ImageClassifier', _scope_='mmpretrain', backbone=dict(type='ResNet_CIFAR', depth=18))
    built = teacher(model | dict(data_preprocessor=dict(to_rgb=True)), allow_random=True, student_order='rgb')
    assert built.renormalize.identity


def test_a_teacher_whose_forward_asks_for_data_samples_extracts_features(checkpoint, monkeypatch):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise TypeError('no data samples')

    def features(images):
        found = teacher(checkpoint=checkpoint)
        found.attach([PreReLU('backbone.layer1').resolve(found.trace)])
        return found(images)

    images = torch.randn(2, 3, 16, 16)
    expected = features(images)
    monkeypatch.setattr(ToyClassifier, 'extract_feat', ToyClassifier.forward, raising=False)
    monkeypatch.setattr(ToyClassifier, 'forward', forward)
    torch.testing.assert_close(features(images), expected)


def test_what_counts_stays_whole_in_half_precision():
    class Indexed(ToyClassifier):
        def __init__(self):
            super().__init__()
            self.register_buffer('index', torch.arange(300))

    lower = attached(model=dict(type=Indexed), dtype='bfloat16')
    assert lower.model.index.tolist() == list(range(300))


def test_the_config_of_a_distillation_stands_for_its_student(tmp_path):
    distiller = MODELS.build(distiller_config())
    torch.save(dict(state_dict=distiller.state_dict()), tmp_path / 'epoch_1.pth')
    Config(dict(model=distiller_config())).dump(tmp_path / 'ofd.py')
    one = teacher(str(tmp_path / 'ofd.py'), checkpoint=str(tmp_path / 'epoch_1.pth'))
    assert type(one.model) is type(distiller.student)
    weights = distiller.student.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in one.model.state_dict().items())


def test_a_teacher_in_half_precision_stays_so_where_the_model_is_given_another():
    one = attached(dtype='bfloat16').float()
    assert {module.weight.dtype for module in one.modules() if isinstance(module, nn.Conv2d)} == {torch.bfloat16}
    one(batch()[0])
