from ovkd_mm import transforms
from ovkd_mm.transforms import InputGradient, Transform


def test_every_transform_of_ours_is_one_and_the_gradient_alone_takes_the_images():
    kinds = [getattr(transforms, name) for name in transforms.__all__]
    assert all(issubclass(kind, Transform) for kind in kinds)
    assert [kind for kind in kinds if kind.takes_inputs] == [InputGradient]
