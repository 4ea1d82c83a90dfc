"""What lets the toolkits run on today's torch; the one place that knows versions."""


def install() -> None:
    """Put the fallbacks in place; calling it again changes nothing."""


__all__ = ['install']
