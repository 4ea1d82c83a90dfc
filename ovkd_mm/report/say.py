"""Lines for the terminal."""

from rich.console import Console
from rich.markup import escape

__all__ = ['say']


def say(console: Console, text: str) -> None:
    """Print a text as it is: brackets are no markup, and long lines are not broken where the output goes to a file.

    Args:
        console: Where to print.
        text: One line or several.
    """
    console.print(escape(text), soft_wrap=True)
