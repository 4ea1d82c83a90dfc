"""By what two configs differ."""

__all__ = ['what_differs']


def what_differs(one: object, two: object, key: str = '') -> list[str]:
    """The keys, with dots, by which two nested values differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = [*one, *(name for name in two if name not in one)]
        missing = object()
        pairs = [(name, one.get(name, missing), two.get(name, missing)) for name in keys]
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        pairs = [(str(index), *both) for index, both in enumerate(zip(one, two, strict=True))]
    else:
        return [] if one == two else [key]
    return [found for name, a, b in pairs for found in what_differs(a, b, f'{key}.{name}' if key else name)]
