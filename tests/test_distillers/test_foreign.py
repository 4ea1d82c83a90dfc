import re
import sys
from unittest import mock

import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from torch import nn

from ovkd_mm.distillers import Teacher
from ovkd_mm.positions import ModuleOutput, PreReLU

IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def teacher(model, student=None, **arguments):
    return Teacher(
        model,
        student_preprocessor=student or ImgDataPreprocessor(mean=(0, 0, 0), std=(1, 1, 1), bgr_to_rgb=True),
        input_shape=(32, 32),
        norm_mode='running',
        **arguments,
    )


def test_torchvisions_model_gets_what_its_weights_were_trained_with_and_its_places_are_named_as_there(tmp_path):
    from torchvision.models import resnet18

    net = resnet18(num_classes=1000).eval()
    torch.save(net.state_dict(), tmp_path / 'weights.pth')
    found = teacher('torchvision::resnet18', checkpoint=str(tmp_path / 'weights.pth'))
    found.attach([PreReLU('layer1').resolve(found.trace)])
    pixels = torch.randint(256, (2, 3, 32, 32)).float()  # RGB, as the student's preprocessor puts them out
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    inside = net.layer1[:1](net.maxpool(net.relu(net.bn1(net.conv1((pixels - mean) / std)))))
    block = net.layer1[1]
    expected = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(inside))))) + inside
    torch.testing.assert_close(found(pixels)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['resnet18', 'vit_tiny_patch16_224'])
def test_timms_model_has_as_many_classes_as_its_own_weights(tmp_path, name):
    timm = pytest.importorskip('timm')
    tuned = timm.create_model(name, num_classes=7)
    torch.save(tuned.state_dict(), tmp_path / 'tuned.pth')
    torch.save(timm.create_model('resnet34', num_classes=7).state_dict(), tmp_path / 'other.pth')
    found = teacher(f'timm::{name}', checkpoint=str(tmp_path / 'tuned.pth'))
    assert torch.equal(found.model.get_classifier().weight, tuned.get_classifier().weight)
    with pytest.raises(ValueError, match=r'other\.pth. does not fit the model') as caught:
        teacher(f'timm::{name}', checkpoint=str(tmp_path / 'other.pth'))
    assert 'work_dirs' not in str(caught.value)


def test_a_students_bgr_is_reversed_for_a_foreign_teacher():
    found = teacher(
        'torchvision::resnet18',
        allow_random=True,
        student=ImgDataPreprocessor((1, 2, 3), (4, 5, 6)),
        student_order='bgr',
    )
    assert found.renormalize.swap


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('torchvision::resnet81', 'torchvision has no such model; nearest: resnet18'),
        ('timm::resnet18.a1_in2k', 'resnet18 of timm has no such weights; nearest: a1_in1k'),
        ('torchvision::resnet18.IMAGENET1K_V2', 'resnet18 has no such weights; nearest: IMAGENET1K_V1'),
        ('torchvision::ssd300_vgg16', 'normalizes its images internally'),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=rf"teacher.model='{re.escape(name)}'.*{message}"):
        teacher(name, allow_random=True)


def test_an_absent_package_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ValueError, match=r"teacher.model='timm::resnet18' needs timm: pip install timm"):
        teacher('timm::resnet18')


@pytest.fixture
def no_network(monkeypatch):
    def unreachable(*_, **__):
        raise OSError('no network')

    monkeypatch.setattr('torchvision.models._api.WeightsEnum.get_state_dict', unreachable)


@pytest.mark.usefixtures('no_network')
def test_without_a_network_a_file_is_asked_for():
    with pytest.raises(ValueError, match=r'its weights cannot be downloaded \(no network\); set teacher.checkpoint'):
        teacher('torchvision::resnet18')


@pytest.mark.usefixtures('no_network')
def test_a_segmentor_without_its_weights_downloads_none_for_its_backbone_either():
    found = teacher('torchvision::lraspp_mobilenet_v3_large', allow_random=True)
    assert found.model.data_preprocessor.mean.flatten().tolist() == pytest.approx(IMAGENET[0])


def test_a_plain_module_learns_of_its_preprocessor_from_the_dict():
    preprocessor = dict(type='mmengine.ImgDataPreprocessor', mean=IMAGENET[0], std=IMAGENET[1], bgr_to_rgb=True)
    backbone = dict(type='mmdet.ResNet', depth=18)
    found = teacher(dict(backbone, data_preprocessor=preprocessor), allow_random=True)
    assert isinstance(
        found.model, nn.Module
    ) and found.model.data_preprocessor.mean.flatten().tolist() == pytest.approx(IMAGENET[0])
    assert not found.renormalize.identity
    dotted = teacher(dict(type='torchvision.models.resnet18', data_preprocessor=preprocessor), allow_random=True)
    assert type(dotted.model).__module__ == 'torchvision.models.resnet'
    with pytest.raises(ValueError, match='has no data_preprocessor, so that the teacher would get raw pixels'):
        teacher(backbone, allow_random=True)


def test_timms_model_has_its_own_mean_and_the_norm_around_its_activation_gives_the_margin():
    pytest.importorskip('timm', reason='timm is not installed')
    found = teacher('timm::tf_efficientnet_lite0', allow_random=True)
    assert found.model.data_preprocessor.mean.flatten().tolist() == pytest.approx([127.5] * 3)
    assert PreReLU('blocks.0').resolve(found.trace).norm
    with pytest.raises(ValueError, match=r'timm has no such model; nearest: tf_efficientnet_lite0'):
        teacher('timm::tf_efficientnet_light0', allow_random=True)


@pytest.fixture
def timm():
    return pytest.importorskip('timm', reason='timm is not installed')


def random_teacher(name, input_shape=(32, 32)):
    torch.manual_seed(0)
    student = ImgDataPreprocessor(mean=(0, 0, 0), std=(1, 1, 1), bgr_to_rgb=True)
    return Teacher(
        f'timm::{name}', student_preprocessor=student, input_shape=input_shape, norm_mode='running', allow_random=True
    )


@pytest.mark.parametrize(
    ('name', 'place', 'layout', 'channels', 'stride'),
    [
        ('vit_tiny_patch16_224', 'norm', '1 + 6x8 tokens', 192, 16),
        ('deit_tiny_distilled_patch16_224', 'norm', '2 + 6x8 tokens', 192, 16),
        ('vit_small_patch16_dinov3', 'norm', '5 + 6x8 tokens', 384, 16),
        ('swin_tiny_patch4_window7_224', 'layers.1', 'NHWC', 192, 8),
        ('swinv2_cr_tiny_224', 'stages.1', 'NCHW', 192, 8),
    ],
)
def test_timms_transformers_take_images_of_other_sizes_than_their_weights(timm, name, place, layout, channels, stride):
    found = random_teacher(name, (96, 128))
    resolved = ModuleOutput(place).resolve(found.trace)
    assert found.trace.error is None
    assert str(resolved.layout) == layout and resolved.shape == (channels, 96 // stride, 128 // stride)
    found.attach([resolved])
    assert found(torch.randint(256, (2, 3, 96, 128)).float())[0].shape == (2, channels, 96 // stride, 128 // stride)


@pytest.mark.parametrize(
    'name', ['resnet10t', 'vit_tiny_patch16_224', 'eva02_tiny_patch14_224', 'swin_tiny_patch4_window7_224']
)
def test_at_the_size_of_its_weights_timms_model_is_the_plain_one_bit_for_bit(timm, name):
    found = random_teacher(name, (224, 224)).model
    torch.manual_seed(0)
    plain = timm.create_model(name, pretrained=False).eval()
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(found.forward_features(pixels), plain.forward_features(pixels))
    # The preprocessor's mean and deviation are in no state_dict.
    assert list(found.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize('known', ['dynamic_img_size', 'strict_img_size', None])
def test_of_the_options_for_other_sizes_a_timm_model_gets_the_first_that_it_takes(timm, monkeypatch, known):
    built, create = [], timm.create_model

    def build(name, pretrained, **options):
        if set(options) - {known}:
            raise TypeError('unexpected keyword argument')
        built.append(options)
        return create(name, pretrained)

    monkeypatch.setattr(timm, 'create_model', build)
    random_teacher('resnet10t')
    values = dict(dynamic_img_size=True, strict_img_size=False)
    assert built == [{known: values[known]} if known else {}]


def test_what_else_fails_in_building_a_timm_model_is_told(timm, monkeypatch):
    monkeypatch.setattr(timm, 'create_model', mock.Mock(side_effect=TypeError('of its own')))
    with pytest.raises(TypeError, match='of its own'):
        random_teacher('resnet10t')


@pytest.fixture
def transformers():
    return pytest.importorskip('transformers', reason='transformers is not installed')


@pytest.fixture
def vit(transformers, tmp_path):
    """A folder with a small DINOv2."""
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    return tmp_path


def test_a_transformer_of_a_local_folder_gets_its_weights_mean_and_deviation(transformers, vit):
    net = transformers.AutoModel.from_pretrained(vit).eval()
    found = teacher(f'transformers::{vit}')
    found.attach([ModuleOutput('layernorm').resolve(found.trace)])
    pixels = torch.randint(256, (2, 3, 32, 32)).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)))
    with torch.no_grad():
        tokens = net((pixels / 255 - mean) / std).last_hidden_state
    # The first is the class token.
    torch.testing.assert_close(found(pixels)[0], tokens[:, 1:].transpose(1, 2).reshape(2, 16, 4, 4))


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('ViTImageProcessor', dict(do_normalize=False)),
        ('ViTImageProcessor', dict(rescale_factor=1 / 127.5)),
        ('EfficientNetImageProcessor', dict(image_std=[0.478, 0.473, 0.474], include_top=True)),
    ],
)
def test_an_image_processor_is_followed_in_all_that_it_does_to_the_values(transformers, vit, kind, settings):
    processor = getattr(transformers, kind)(do_resize=False, do_center_crop=False, **settings)
    processor.save_pretrained(vit)
    image = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    inputs = teacher(f'transformers::{vit}').model.data_preprocessor(dict(inputs=[image.flip(0)]))['inputs']
    expected = processor(images=image, return_tensors='pt')['pixel_values']
    torch.testing.assert_close(inputs, expected, rtol=1e-4, atol=1e-5)


def test_without_weights_it_is_random_and_downloads_none(transformers, vit):
    (vit / 'model.safetensors').unlink()
    assert teacher(f'transformers::{vit}', allow_random=True).model.config.hidden_size == 16
    with pytest.raises(ValueError, match=rf"'transformers::{vit}': its weights cannot be .*teacher.checkpoint"):
        teacher(f'transformers::{vit}')


@pytest.mark.parametrize('file', ['config.json', 'preprocessor_config.json'])
def test_a_folder_without_a_file_names_it(vit, file):
    (vit / file).unlink()
    with pytest.raises(ValueError, match=rf"the folder '{vit}' has no {file}; name one that"):
        teacher(f'transformers::{vit}', allow_random=True)


def test_a_folder_that_is_not_there_is_named(transformers, tmp_path):
    with pytest.raises(ValueError, match=rf"the folder '{tmp_path}/none' does not exist"):
        teacher(f'transformers::{tmp_path}/none')


@pytest.mark.parametrize('kind', ['MobileViTImageProcessor', 'Qwen2VLImageProcessor'])
def test_a_processor_that_puts_out_other_than_rgb_images_is_refused(transformers, vit, kind):
    getattr(transformers, kind)().save_pretrained(vit)
    with pytest.raises(ValueError, match=f'its image processor, {kind}, .* not RGB images'):
        teacher(f'transformers::{vit}')


def test_a_model_of_texts_is_refused(transformers, vit):
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.save_pretrained(vit)
    with pytest.raises(ValueError, match="is not an image model: its first argument is 'input_ids'"):
        teacher(f'transformers::{vit}', allow_random=True)


def test_a_folder_may_be_named_from_the_users_home(vit, monkeypatch):
    monkeypatch.setenv('HOME', str(vit.parent))
    assert teacher(f'transformers::~/{vit.name}').model.config.hidden_size == 16
