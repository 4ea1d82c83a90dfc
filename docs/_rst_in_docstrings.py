"""Extension of griffe: lets the reST in our docstrings (roles and math) read well in pages of Markdown."""

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r':(?:attr|class|func|meth|mod):`~?([^`]+)`')
INLINE = re.compile(r':math:`([^`]+)`')
DISPLAY = re.compile(r'^\.\. math:: (.+)$', re.MULTILINE)

RULE = r'=+ +=[= ]*\n'
TABLE = re.compile(rf'^({RULE}(?:.+\n)+?{RULE}(?:.+\n)+?{RULE})', re.MULTILINE)


def to_markdown(docstring: str) -> str:
    """Roles become code, tables blocks of text, and TeX MathML, which browsers set without scripts."""
    docstring = TABLE.sub(r'```text\n\1```\n', docstring)
    docstring = ROLE.sub(r'`\1`', docstring)
    docstring = INLINE.sub(lambda found: convert(found[1]), docstring)
    return DISPLAY.sub(lambda found: convert(found[1], display='block'), docstring)


class RstInDocstrings(griffe.Extension):
    """Turns each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """See :class:`griffe.Extension`."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
