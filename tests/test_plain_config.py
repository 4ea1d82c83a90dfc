from mmengine.config import Config
from mmengine.registry import MODELS
from toy import distiller_config

from ovkd_mm.plain_config import is_distillation, plain_config


def test_a_distillation_config_becomes_its_students():
    config = Config(dict(model=distiller_config(data_preprocessor=dict(type='ImgDataPreprocessor')), method={}, seed=1))
    plain = plain_config(config)
    assert plain.model == dict(type='ToyClassifier', data_preprocessor=dict(type='ImgDataPreprocessor'))
    assert plain.seed == 1
    assert 'method' not in plain
    assert is_distillation(config)
    assert 'method' in config


def test_a_plain_config_stays_as_it_is():
    config = Config(dict(model=dict(type='ToyClassifier'), optim_wrapper=dict(x=1)))
    assert plain_config(config).to_dict() == config.to_dict()
    assert type(MODELS.build(plain_config(config).model)).__name__ == 'ToyClassifier'
