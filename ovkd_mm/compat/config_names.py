"""Lets a config be named ``ovkd_mm::ssd300/...``, and ``mmseg::...`` where a fork brings mmseg."""

import functools
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def patch(config_utils: ModuleType) -> None:
    """Tell mmengine where the packages lie.

    mmengine turns the name before ``::`` into that of a distribution and asks where it is installed; where there is no
    such distribution it looks for a module of that name.
    """
    names = config_utils.MODULE2PACKAGE
    # A module: of a distribution that is installed editable, mmengine does not find the folder.
    names['ovkd_mm'] = 'ovkd_mm.version'
    if find_spec('mmseg') is not None:
        names['mmseg'] = 'mmseg'  # whose distribution is mmsegmentation or onedl-mmsegmentation


def name_no_scope(config: ModuleType) -> None:
    """Let the types in our configs be looked up in the toolkit that a config names, as they are in a checkout.

    mmengine marks what comes from ``package::`` with the package's scope. Ours is not a toolkit: what our configs take
    from us they name as ``ovkd_mm.<Class>``.

    Args:
        config: ``mmengine.config.config``.
    """
    upstream = config.Config._get_cfg_path

    @functools.wraps(upstream)
    def find(*args: str) -> tuple[str, str | None]:
        path, scope = upstream(*args)
        return path, None if scope == 'ovkd_mm' else scope

    config.Config._get_cfg_path = staticmethod(find)


def look_into_the_folder(config: ModuleType) -> None:
    """Find ``package::name`` where it lies, without parsing the package's metafiles first.

    That takes mmengine 0.1 s for each name, and gives the same path: these files list no config by another name.

    Args:
        config: ``mmengine.config.config``.
    """
    upstream = config._get_external_cfg_path

    @functools.wraps(upstream)
    def find(package_path: str, cfg_file: str) -> str:
        file = Path(package_path, '.mim', 'configs', cfg_file)
        return str(file) if file.is_file() else upstream(package_path, cfg_file)

    config._get_external_cfg_path = find  # type: ignore[attr-defined]


__all__ = ['look_into_the_folder', 'name_no_scope', 'patch']
