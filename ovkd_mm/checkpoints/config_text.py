"""Takes the code out of the config that a checkpoint carries as text, which upstream executes to read it."""

import ast
import logging
from typing import Any

from mmengine.logging import print_log

# Where mmengine and its forks keep it, and look for it: to resume, and to build a model that comes without a config.
_PLACES = (('meta', 'config'), ('meta', 'cfg'), ('message_hub', 'runtime_info', 'cfg'))

# Plain assignments, and yet they make mmengine run or import what they name.
_ACTIVE = ('_base_', 'custom_imports')


def disarm(checkpoint: Any, filename: str, logger: Any = 'current') -> None:
    """Reduce the config texts of a checkpoint to their literals, so that executing them is no more than reading them.

    What is left out is neither needed to resume nor kept: the texts are copied into the checkpoints that follow.

    Args:
        checkpoint: What a file held; changed in place.
        filename: Where it comes from, for the log.
        logger: As in mmengine's ``print_log``.
    """
    for *folders, key in _PLACES:
        holder = checkpoint
        for folder in folders:
            holder = holder.get(folder) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or key not in holder:
            continue
        holder[key], left_out = keep_literals(holder[key])
        if left_out:
            where = '.'.join([*folders, key])
            print_log(
                f'{filename}: the config that it carries ({where}) is read, never run; left out of it is what is '
                f'no plain value: {", ".join(left_out)}',
                logger=logger,
                level=logging.WARNING,
            )


def keep_literals(text: Any) -> tuple[str, list[str]]:
    """Keep the assignments of a config text that hold plain values.

    Args:
        text: As ``Config.pretty_text`` writes it: ``name = value``, with ``dict(...)`` for dictionaries.

    Returns:
        The text, unchanged if it held nothing else, and what was left out. ``custom_imports``, which honest texts
        hold too, is left out silently: only who reads the text may decide what to import.
    """
    try:
        statements = ast.parse(text).body if isinstance(text, str) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        statements = None
    if statements is None:
        return '', ['all of it, which is not the text of a config']
    kept, left_out = [], []
    for statement in statements:
        source, name = ast.get_source_segment(text, statement) or '', _name(statement)
        # mmengine fills in what stands in double braces before it parses, also where a quote would end the string.
        plain = isinstance(statement, ast.Assign) and _is_literal(statement.value)
        if name not in (None, *_ACTIVE) and plain and '{{' not in source:
            kept.append(source)
        elif name != 'custom_imports':
            left_out.append(f'line {statement.lineno} ({name or type(statement).__name__})')
    if len(kept) == len(statements) and '{{' not in text:
        return text, []
    return '\n'.join([*kept, '']), left_out


def _name(statement: ast.stmt) -> str | None:
    """The one name that a statement assigns to, if that is what it does."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name) and target.id not in ('dict', 'float'):
            return target.id
    return None


def _is_literal(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return True
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return all(map(_is_literal, parts))
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and _is_literal(key) for key in keys) and all(map(_is_literal, values))
        case ast.Call(func=ast.Name(id='dict'), args=[] | [ast.Dict()], keywords=keywords):
            named = all(keyword.arg is not None and _is_literal(keyword.value) for keyword in keywords)
            return named and all(map(_is_literal, node.args))
        case ast.Call(func=ast.Name(id='float'), args=[ast.Constant(value=str())], keywords=[]):
            return True  # inf and nan
    return False


__all__ = ['disarm', 'keep_literals']
