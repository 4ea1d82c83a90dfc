"""What differs between the toolkits: what each calls the same thing."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ['TOOLKITS', 'Toolkit', 'image_preprocessor']


@dataclass(frozen=True)
class Toolkit:
    """A toolkit's names.

    Attributes:
        packages: Distributions that bring it, upstream's and the maintained fork's; the key in :data:`TOOLKITS` is what
            they are imported as, and a config's ``default_scope``.
        reverses_channels: Attribute of its preprocessor that says whether it reverses the channels.
        loads: Order of the channels in which its data sets load images; None if that is not always the same.
        classifiers: Names of layers that output class scores.
        heads: Names of modules with such layers, or of lists of them, whatever the layers are called.
        visualizer: Type of its visualizer.
        draws: Key of its visualization hook that switches it on.
        draws_into: Key of that hook for the folder of the pictures; None where the visualizer's ``save_dir`` is it.
        draws_some: Whether that hook leaves out most images of a test unless its ``interval`` is 1.
    """

    packages: tuple[str, str]
    reverses_channels: str
    loads: Literal['rgb', 'bgr'] | None
    classifiers: tuple[str, ...]
    heads: tuple[str, ...]
    visualizer: str
    draws: str
    draws_into: str | None
    draws_some: bool


TOOLKITS = dict(
    mmdet=Toolkit(
        packages=('mmdet', 'onedl-mmdetection'),
        reverses_channels='_channel_conversion',  # mmengine's, from which its preprocessor derives
        loads='bgr',
        classifiers=(),
        heads=('bbox_head', 'mask_head', 'panoptic_head', 'panoptic_fusion_head'),
        visualizer='DetLocalVisualizer',
        draws='draw',
        draws_into='test_out_dir',
        draws_some=False,
    ),
    mmseg=Toolkit(
        packages=('mmsegmentation', 'onedl-mmsegmentation'),
        reverses_channels='channel_conversion',
        loads='bgr',
        classifiers=('conv_seg',),
        heads=('decode_head', 'auxiliary_head'),
        visualizer='SegLocalVisualizer',
        draws='draw',
        draws_into=None,
        draws_some=True,
    ),
    mmpretrain=Toolkit(
        packages=('mmpretrain', 'onedl-mmpretrain'),
        reverses_channels='to_rgb',
        loads=None,  # files come as BGR, CIFAR's archive as RGB
        classifiers=('fc',),
        heads=('head',),
        visualizer='UniversalVisualizer',
        draws='enable',
        draws_into='out_dir',
        draws_some=True,
    ),
)


def image_preprocessor(preprocessor: Any) -> Any:
    """The preprocessor that normalizes images: the one given, or the one that it wraps.

    mmdet's ``MultiBranchDataPreprocessor``, of semi-supervised detectors, has neither statistics nor a channel order of
    its own.
    """
    return getattr(preprocessor, 'data_preprocessor', preprocessor)
