"""Refusing XML that no annotation needs and that can do harm."""

from xml.parsers import expat

__all__ = ['refuse_entities']


def refuse_entities(content: bytes) -> None:
    """Refuse XML that declares entities, before anything is put in their places.

    A few of them stand for gigabytes, which expat stops from 2.4.1 on; a long chain of them overflows the stack of an
    expat before 2.7 and ends the process.

    Args:
        content: The file; errors of syntax are left to the parser.

    Raises:
        ValueError: If it declares an entity.
    """
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError:
        return  # it stands before any declaration, so nothing of it is expanded


def _refuse(name: str, *_: object) -> None:
    raise ValueError(f'it declares the entity {name!r}, as no annotation does. Take the <!DOCTYPE> out if you trust it')
