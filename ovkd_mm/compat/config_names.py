"""Lets a config be named ``ovkd_mm::ssd300/...``, and ``mmseg::...`` where a fork brings mmseg."""

from importlib.util import find_spec
from types import ModuleType


def mend(config_utils: ModuleType) -> None:
    """Tell mmengine where the packages lie.

    mmengine turns the name before ``::`` into that of a distribution and asks where it is installed; where there is no
    such distribution it looks for a module of that name.
    """
    names = config_utils.MODULE2PACKAGE
    # A module: of a distribution that is installed editable, mmengine does not find the folder.
    names['ovkd_mm'] = 'ovkd_mm.version'
    if find_spec('mmseg') is not None:
        names['mmseg'] = 'mmseg'  # whose distribution is mmsegmentation or onedl-mmsegmentation


__all__ = ['mend']
