"""Answers for ``mmcv._ext``, the compiled part of mmcv that mmcv-lite lacks."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any, NoReturn

_NAME = 'mmcv._ext'

# What does without the operators whose names begin so.
_INSTEAD = {
    'carafe': 'Choose another upsampling in the config (the neck `FPN`, the `upsample_cfg` of a mask head)',
    'deform_roi_pool': 'Choose `RoIAlign` as `roi_layer`',
    'nms_match': 'Choose another sampler than `ScoreHLRSampler`',
    'prroi_pool': 'Choose `RoIAlign` as `roi_layer`',
}


def install() -> None:
    """Stand behind all finders, so that a compiled ``mmcv._ext`` is found first; calling it again changes nothing."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)


class _ExtFinder(MetaPathFinder, Loader):
    """Finds ``mmcv._ext``, nothing else, and fills it with the operators that need no compiler."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self, origin=__name__) if fullname == _NAME else None

    def exec_module(self, module: ModuleType) -> None:
        from . import deform_attn, deform_conv, focal_loss, nms, roi_ops  # import torch, which mmcv has done by now

        families = (deform_attn, deform_conv, focal_loss, nms, roi_ops)
        vars(module).update(
            {name: vars(family)[name] for family in families for name in family.__all__},
            __doc__='Stands in for the compiled operators of mmcv.',
            get_compiler_version=_not_compiled,
            get_compiling_cuda_version=_not_compiled,
            __getattr__=_missing_op,
        )


def _not_compiled() -> str:
    return 'n/a'


def _missing_op(name: str) -> Callable[..., NoReturn]:
    """Let ``mmcv.ops`` be imported, which asks for every operator; only a call of one fails."""
    if name.startswith('_'):
        raise AttributeError(f'module {_NAME!r} has no attribute {name!r}')

    def op(*args: Any, **kwargs: Any) -> NoReturn:
        import mmcv

        want = f'mmcv=={mmcv.__version__}'
        install = next((f'{way}, or install' for start, way in _INSTEAD.items() if name.startswith(start)), 'Install')
        raise NotImplementedError(
            f"mmcv's operator '{name}' is compiled code, which the installed mmcv-lite does not have. {install} the "
            f'compiled mmcv in its place: `pip uninstall mmcv-lite`, then `mim install {want}` if there is a wheel for '
            f'your torch and CUDA, else `MMCV_WITH_OPS=1 pip install {want} --no-binary mmcv --no-build-isolation`, '
            'which needs a compiler'
        )

    op.__name__ = op.__qualname__ = name
    return op


_FINDER = _ExtFinder()

__all__ = ['install']
