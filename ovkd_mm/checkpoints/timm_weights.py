"""Weights of timm's models, by ``timm://<name>.<tag>``, wherever mmengine takes a checkpoint."""

from typing import Any

from ..nearest import nearest
from ..rng import preserve_rng_state

PREFIX = 'timm://'


def load_from_timm(filename: str, map_location: Any = None) -> dict:
    """Load for mmengine, which takes the name of the backend that it logs from this function's.

    Args:
        filename: ``'timm://mobilenetv1_100.ra4_e3600_r224_in1k'``; without a tag the model's default weights.
        map_location: Of no use here; timm loads to the CPU.

    Returns:
        The weights, with timm's names.

    Raises:
        ValueError: If timm is not installed, or has no weights of this name.
        ConnectionError: If they cannot be downloaded.
    """
    try:
        import timm
    except ModuleNotFoundError as exc:
        raise ValueError(f'checkpoint {filename!r} needs timm: pip install timm') from exc
    name = filename.removeprefix(PREFIX)
    known = timm.list_pretrained()
    if name not in known and name not in {one.partition('.')[0] for one in known}:
        raise ValueError(f'checkpoint {filename!r}: timm has no such weights{nearest(name, known)}')
    try:
        with preserve_rng_state():  # of weights that are drawn only to be overwritten
            return timm.create_model(name, pretrained=True).state_dict()
    except OSError as exc:
        raise ConnectionError(str(exc)) from exc
