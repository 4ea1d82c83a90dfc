"""A config's text is laid out once, not again for each checkpoint: yapf takes a second or two for a detector's."""

import functools
from types import ModuleType
from typing import Any


def patch(config: ModuleType) -> None:
    """Keep what ``mmengine.config.config`` had laid out last; a runner asks for it again and again."""
    lay_out = config.FormatCode

    @functools.lru_cache(maxsize=8)
    def once(text: str, style: tuple, options: tuple) -> Any:
        return lay_out(text, style_config=dict(style), **dict(options))

    def format_code(text: str, *, style_config: dict, **options: Any) -> Any:
        return once(text, tuple(style_config.items()), tuple(options.items()))

    config.FormatCode = format_code  # type: ignore[attr-defined]
