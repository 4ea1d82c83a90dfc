import pytest
from mmengine.registry import MODELS
from torch import nn
from toy import METHOD, distiller_config

from ovkd_mm.losses import L2Loss
from ovkd_mm.transforms import Identity, Transform


@MODELS.register_module(force=True)
class Plain(nn.Module):
    """Has the shape of a part, but not its contract."""

    def __init__(self, **offered):
        super().__init__()


@MODELS.register_module(force=True)
class Offered(Transform):
    """Keeps what it was handed."""

    def __init__(self, channels=None, norm=None, in_channels=None, out_channels=None):
        super().__init__()
        self.handed = dict(channels=channels, norm=norm, in_channels=in_channels, out_channels=out_channels)


def pairs_of(**method):
    return MODELS.build(distiller_config(method=METHOD | method)).pairs


@pytest.mark.parametrize(
    ('part', 'base'),
    [
        ('loss', 'ovkd_mm.losses.DistillLoss'),
        ('student_transform', 'ovkd_mm.transforms.Transform'),
        ('teacher_transform', 'ovkd_mm.transforms.Transform'),
    ],
)
def test_a_part_that_does_not_keep_the_contract_names_the_class_to_derive_from(part, base):
    with pytest.raises(TypeError, match=rf"method\.{part}\.type='Plain' is not a {base}; derive it"):
        pairs_of(**{part: dict(type='Plain')})


def test_a_transform_is_handed_what_it_names_of_its_own_side():
    offered = dict(type='Offered')
    for pair, (student, teacher) in zip(
        pairs_of(student_transform=offered, teacher_transform=offered), ((4, 6), (8, 12)), strict=True
    ):
        assert pair.student_transform.handed == dict(
            channels=None, norm=None, in_channels=student, out_channels=teacher
        )
        handed = pair.teacher_transform.handed
        assert handed.pop('norm').num_features == teacher
        assert handed == dict(channels=teacher, in_channels=None, out_channels=None)


def test_a_part_may_be_named_by_its_class():
    (first, _) = pairs_of(loss=dict(type=L2Loss), student_transform=dict(type=Identity))
    assert isinstance(first.loss, L2Loss) and isinstance(first.student_transform, Identity)
