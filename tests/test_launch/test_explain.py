"""What is no mistake of a user's; what is one stands in tests/test_tools/test_mistakes.py."""

import urllib.request
from urllib.error import HTTPError

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from ovkd_mm.launch.mistakes import mistake
from ovkd_mm.models import MobileNetV1


def paint(shape):
    """Knows neither a color nor a width."""


def test_an_unexpected_keyword_that_no_dict_of_the_config_holds_is_a_fault():
    config = Config(dict(model=dict(width=1)))
    with pytest.raises(TypeError) as caught:
        paint(config.model, color=2)
    assert mistake(caught.value) is None


def test_one_that_the_config_holds_with_another_value_is_a_fault():
    config, settings = Config(dict(model=dict(width=1))), dict(width=2)
    with pytest.raises(TypeError) as caught:
        paint(config.filename, **settings)
    assert mistake(caught.value) is None


def test_one_that_the_config_holds_and_hands_on_is_a_mistake():
    config = Config(dict(model=dict(shpe=1)))
    settings = config.model
    with pytest.raises(TypeError) as caught:
        paint(**settings)
    assert mistake(caught.value) == "model.shpe=1: paint has no setting 'shpe'; nearest: shape"


def test_a_long_value_is_cut_short():
    config = Config(dict(model=dict(shpe=list(range(1000)))))
    settings = config.model
    with pytest.raises(TypeError) as caught:
        paint(**settings)
    assert len(mistake(caught.value)) < 160
    assert mistake(caught.value).endswith("...: paint has no setting 'shpe'; nearest: shape")


def test_a_server_that_has_no_such_file_is_named_with_its_reason(monkeypatch):
    def refuse(request, **kwargs):
        raise HTTPError(request, 404, 'Not Found', None, None)

    monkeypatch.setattr(urllib.request.OpenerDirector, '_open', lambda self, *args: refuse(args[0].full_url))
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen('http://example.org/x.pth')
    answer = 'http://example.org/x.pth cannot be downloaded (Not Found): name a file that has it instead'
    assert mistake(caught.value) == answer


def test_a_connection_that_is_lost_elsewhere_is_a_fault():
    address = 'tcp://10.0.0.1:29500'
    with pytest.raises(ConnectionError) as caught:
        raise ConnectionError(address)
    assert mistake(caught.value) is None


def test_weights_of_timm_that_cannot_be_downloaded_name_the_key_and_how_to_go_on(monkeypatch):
    pytest.importorskip('timm', reason='timm is not installed')

    def unreachable(*_, **__):
        raise FileNotFoundError('no network')  # as huggingface_hub says it

    monkeypatch.setattr('timm.create_model', unreachable)
    checkpoint = 'timm://mobilenetv1_100'
    config = Config(dict(model=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint))))
    with pytest.raises(ConnectionError) as caught:
        MobileNetV1(init_cfg=config.model.init_cfg).init_weights()
    assert mistake(caught.value) == (
        f'model.init_cfg.checkpoint={checkpoint} cannot be downloaded (no network): name a file that has it, '
        '--cfg-options model.init_cfg.checkpoint=FILE, or begin with random weights, --cfg-options model.init_cfg=None'
    )


@pytest.mark.parametrize(('of', 'key'), [('its own', 'model.backbone: '), ("a teacher's", 'model: ')])
def test_what_a_toolkit_refuses_is_said_with_the_key_of_what_it_builds_of_this_config(of, key):
    backbone = dict(type='mmdet.ResNet', depth=7)
    config = Config(dict(model=dict(type='Holder', teacher='a file', backbone=backbone)))

    @MODELS.register_module(name='Holder', force=True)
    class Holder:
        def __init__(self, backbone, teacher=None, width=1):
            if teacher and of == "a teacher's":  # whose backbone looks like that of the config
                MODELS.build(dict(type='Holder', backbone=backbone, width=2))
            MODELS.build(backbone)

    with pytest.raises(KeyError) as caught:
        MODELS.build(config.model)
    assert mistake(caught.value) == f'{key}invalid depth 7 for resnet'
