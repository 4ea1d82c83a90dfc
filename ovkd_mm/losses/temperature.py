"""The divisor of logits and activations, which some losses have."""

__all__ = ['positive_temperature']


def positive_temperature(loss: type, temperature: float) -> float:
    """A temperature that can be one.

    Args:
        loss: Whose it is.
        temperature: What its config says.

    Raises:
        ValueError: If it is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f'{loss.__name__}.temperature must be above 0, got {temperature}')
    return temperature
