"""What a config folder's README says, as data."""

import argparse
import re
import shlex

from mmengine.config import DictAction

__all__ = ['cfg_options', 'code_block', 'parsed', 'rows', 'table']


def rows(readme: str, *columns: str) -> list[list[str]]:
    """The rows of the table that begins with these columns; of a link the text."""
    head = readme.index('| ' + ' | '.join(columns))
    lines = readme[head:].split('\n\n')[0].splitlines()[2:]
    return [[re.sub(r'\[(.*)\]\(.*\)', r'\1', cell.strip()) for cell in line.strip('|').split('|')] for line in lines]


def table(readme: str, *columns: str) -> dict[str, list[str]]:
    """The same by their first cell."""
    return {name: cells for name, *cells in rows(readme, *columns)}


def code_block(readme: str, language: str, marker: str) -> str:
    """The first block in ``language`` with ``marker`` in it."""
    return next(block for block in re.findall(rf'```{language}\n(.*?)```', readme, re.DOTALL) if marker in block)


def cfg_options(readme: str, marker: str, replaced: dict[str, str] | None = None) -> dict:
    """The options of the shell block with ``marker`` in it, as ``--cfg-options`` reads them."""
    block = code_block(readme, 'shell', marker)
    for old, new in (replaced or {}).items():
        block = block.replace(old, new)
    return parsed([word for word in shlex.split(block.replace('\\\n', ' ')) if '=' in word])


def parsed(options: list[str]) -> dict:
    """Options as ``--cfg-options`` reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options
