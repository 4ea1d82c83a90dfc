"""How the networks start that are trained from scratch."""

__all__ = ['KAIMING']

KAIMING = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
]
