import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from torch import nn
from toy import batch

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


def test_the_model_may_be_a_config_file(checkpoint, tmp_path):
    path = tmp_path / 'config.py'
    Config(dict(model=dict(type='ToyClassifier', width=4))).dump(path)
    assert teacher(str(path), checkpoint=checkpoint).model.backbone.stem.out_channels == 4


def test_the_model_may_be_a_toolkits_config_by_name():
    built = teacher('mmpretrain::resnet/resnet18_8xb16_cifar10.py', allow_random=True)
    assert type(built.model).__name__ == 'ImageClassifier'
    assert built.model.data_preprocessor.mean.flatten().tolist() == pytest.approx([125.307, 122.961, 113.8575])


def test_a_checkpoint_of_a_distilled_student_can_teach(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save(state | {'distiller.pairs.0.x': torch.zeros(1)}, tmp_path / 'distilled.pth')
    teacher(checkpoint=str(tmp_path / 'distilled.pth'))


def test_no_checkpoint_is_an_error():
    with pytest.raises(ValueError, match=r'teacher\.checkpoint is not set.*allow_random=True'):
        teacher()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'teacher\.checkpoint.*nowhere\.pth'):
        teacher(checkpoint=str(tmp_path / 'nowhere.pth'))


def test_a_missing_config_is_named():
    with pytest.raises(ValueError, match=r"teacher\.model='configs/nowhere\.py'"):
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
    with pytest.raises(ValueError, match=rf'(?s){same} of {len(own)} .*of another shape: backbone.stem.weight'):
        teacher(dict(type='ToyClassifier', width=5), checkpoint=checkpoint)


def test_batch_mode_normalises_by_the_batch_and_running_mode_does_not():
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


def test_norm_mode_is_checked():
    with pytest.raises(ValueError, match="'frozen'"):
        teacher(allow_random=True, norm_mode='frozen')


def test_the_forward_stops_after_the_last_tap():
    one = teacher(allow_random=True)
    one.attach([PreReLU('backbone.layer1').resolve(one.trace)])
    one.model.backbone.layer2 = nn.Identity()
    one.model.backbone.dropout.register_forward_pre_hook(lambda *_: pytest.fail('ran on'))
    assert one(batch()[0])[0].shape == (4, 4, 8, 8)


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
