"""A config's text is laid out once, not again for each checkpoint: yapf takes a second or two for a detector's."""

import functools
from types import ModuleType
from typing import Any

from .import_hook import when_imported

YAPF = 'yapf.yapflib.yapf_api'


def patch(module: ModuleType) -> None:
    """Keep what was laid out last; a runner asks for it again and again.

    Args:
        module: ``mmengine.config.config``. That of the forks imports yapf only to lay out, so yapf is patched.
    """
    if not hasattr(module, 'FormatCode'):
        when_imported(YAPF, patch)
        return
    lay_out = module.FormatCode

    @functools.lru_cache(maxsize=8)
    def once(text: str, style: tuple, options: tuple) -> Any:
        return lay_out(text, style_config=dict(style), **dict(options))

    def format_code(text: str, *args: Any, style_config: Any = None, **options: Any) -> Any:
        if args or not isinstance(style_config, dict):  # not mmengine's
            return lay_out(text, *args, style_config=style_config, **options)
        return once(text, tuple(style_config.items()), tuple(options.items()))

    module.FormatCode = format_code  # type: ignore[attr-defined]
