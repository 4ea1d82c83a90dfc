"""Lets mmpretrain be imported beside a version of transformers that its multimodal models no longer run with.

mmpretrain imports these models whenever transformers 4.28 or later is installed, for whatever reason. If that version
lacks the names below, all of mmpretrain fails with ``TypeError: NoneType takes no arguments``.
"""

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

NEEDED = ('apply_chunking_to_forward', 'find_pruneable_heads_and_indices', 'prune_linear_layer')


def patch(dependency: ModuleType) -> None:
    """Let a name of a multimodal model say that it needs another transformers, instead of failing for all models.

    Args:
        dependency: ``mmpretrain.utils.dependency``.
    """
    names = vars(dependency)
    names['WITH_MULTIMODAL'] = names['WITH_MULTIMODAL'] and _has_names()


def _has_names() -> bool:
    """Whether transformers has what is needed; its text tells, since importing it takes seconds."""
    spec = find_spec('transformers')
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        return False
    text = (Path(folders[0]) / 'modeling_utils.py').read_text(encoding='utf-8')
    return all(name in text for name in NEEDED)


__all__ = ['NEEDED', 'patch']
