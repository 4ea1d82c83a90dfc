import pytest
import torch
import toy
from command_line import ROOT
from mmengine.config import Config

from ovkd_mm.launch.positions import join, read_networks, suggest_pairs
from ovkd_mm.method_files import read_method

CIFAR = ROOT / 'configs' / 'cifar10'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Config(dict(model=dict(type='ToyClassifier'))).dump('student.py')
    Config(dict(model=dict(type='ToyClassifier', width=6))).dump('teacher.py')
    return tmp_path


def test_pairs_are_suggested_from_two_configs(home):
    expected = [dict(student=f'backbone.layer{i}', teacher=f'backbone.layer{i}') for i in (1, 2)]
    assert suggest_pairs('student.py', 'teacher.py', (16, 16)) == expected


def test_a_config_alone_is_one_network_with_its_weights(home):
    (bare,) = read_networks('student.py', input_shape=(16, 24)).networks
    assert bare.trace.images.shape == (1, 3, 16, 24)
    assert (bare.name, bare.loaded) == ('student.py', False)
    assert bare.parameters == sum(value.numel() for value in bare.model.parameters())
    weights = {key: value + 1 for key, value in bare.model.state_dict().items()}
    torch.save(dict(state_dict=weights), 'student.pth')
    (trained,) = read_networks('student.py', input_shape=(16, 24), checkpoint='student.pth').networks
    assert trained.loaded
    assert all(torch.equal(value, weights[key]) for key, value in trained.model.state_dict().items())


def test_beside_a_teacher_the_weights_are_its_own(home):
    weights = read_networks('teacher.py', input_shape=(16, 16)).networks[0].model.state_dict()
    torch.save(dict(state_dict=weights), 'teacher.pth')
    student, teacher = read_networks('student.py', 'teacher.py', (16, 16), 'teacher.pth').networks
    assert (student.loaded, teacher.loaded) == (False, True)


def test_a_distillation_config_brings_student_teacher_and_size():
    asked = read_networks(CIFAR / 'ofd_wrn28-4_wrn16-2_cifar10.py')
    assert asked.input_shape == ((32, 32), 'model.input_shape')
    depths = [len(network.model.backbone.layer1) for network in asked.networks]
    assert depths == [2, 4]
    assert asked.networks[1].name.endswith('wrn28-4_cifar10.py')


def test_a_teacher_may_be_a_dict(home):
    model = toy.distiller_config()
    Config(dict(model=model)).dump('distilled.py')
    _, teacher = read_networks('distilled.py').networks
    assert teacher.name == 'ToyClassifier'


def test_a_teacher_may_come_from_another_library_and_a_plain_module_with_its_preprocessor(home):
    _student, teacher = read_networks('student.py', 'torchvision::resnet18', (64, 64)).networks
    assert (teacher.name, teacher.loaded) == ('torchvision::resnet18', False)
    weights = teacher.model.state_dict()
    torch.save(weights, 'teacher.pth')
    _, trained = read_networks('student.py', 'torchvision::resnet18', (64, 64), 'teacher.pth').networks
    assert trained.loaded and torch.equal(trained.model.fc.weight, weights['fc.weight'])
    model = toy.distiller_config()
    model['teacher'] = dict(
        model=dict(
            type='torchvision.models.resnet18',
            data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', mean=[1] * 3, std=[2] * 3),
        )
    )
    Config(dict(model=model)).dump('distilled.py')
    _, teacher = read_networks('distilled.py').networks
    assert teacher.model.data_preprocessor.std.flatten().tolist() == [2, 2, 2]


def test_networks_are_joined_as_a_distiller_joins_them(home):
    student, teacher = read_networks('student.py', 'teacher.py', (16, 16)).networks
    for method in ('ofd', 'ft'):  # with hooks and without
        pairs = join(student, teacher, read_method(method), 'auto')
        assert [pair.student_place.name for pair in pairs] == ['backbone.layer1', 'backbone.layer2']


def test_nothing_is_downloaded_or_initialized(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('weights were asked for')

    monkeypatch.setattr('mmengine.runner.CheckpointLoader.load_checkpoint', refuse)
    name = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    (network,) = read_networks(name, input_shape=(64, 64)).networks
    assert network.model.backbone.init_cfg['type'] == 'Pretrained'


def test_a_backbone_of_timm_asks_the_network_for_nothing(monkeypatch):
    timm = pytest.importorskip('timm')
    create = timm.create_model
    asked = []
    monkeypatch.setattr(timm, 'create_model', lambda **kw: asked.append(kw['pretrained']) or create(**kw))
    found = read_networks(ROOT / 'configs' / 'small' / 'ofd_ssdlite192_lite2-lite0_voc-animals.py')
    assert asked == [False, False]
    assert [network.model.backbone.timm_model.conv_stem.out_channels for network in found.networks] == [32, 32]


def test_a_student_is_traced_as_it_trains_and_a_teacher_as_it_teaches(home, monkeypatch):
    modes = []
    forward = toy.ToyClassifier.forward

    def watched(self, *args, **kwargs):
        modes.append(self.training)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr('toy.ToyClassifier.forward', watched)
    read_networks('student.py', 'teacher.py', (16, 16))
    assert modes == [True, False]


def test_a_distillation_without_a_teacher_is_named(tmp_path):
    config = tmp_path / 'ofd.py'
    config.write_text("model = dict(type='ovkd_mm.FeatureDistiller', student=dict(type='ToyClassifier'))")
    with pytest.raises(TypeError, match=r'teacher must be a dict with some of model, checkpoint.* got None'):
        read_networks(config, input_shape=(16, 16))


def test_what_the_trainings_refuse_is_refused_here(home):
    Config(dict(model=dict(type='ToyClassifier'), train_dataloder={})).dump('typo.py')
    with pytest.raises(ValueError, match="has 'train_dataloder', which nothing reads; nearest: train_dataloader"):
        read_networks('typo.py', input_shape=(16, 16))
    for teacher, kind, message in (
        ('timm::resnet18', TypeError, "teacher must be a dict with some of model.*got 'timm::resnet18'"),
        (dict(model=dict(width=6)), ValueError, 'teacher.model, a dict, has no type; it has width'),
    ):
        Config(dict(model=toy.distiller_config(teacher=teacher))).dump('wrong.py')
        with pytest.raises(kind, match=message):
            read_networks('wrong.py')
