import random

import numpy as np
import torch

from ovkd_mm.rng import preserve_rng_state


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_what_is_drawn_inside_does_not_change_what_comes_after():
    random.seed(1)
    expected = [draw(), draw()]
    random.seed(1)
    torch.manual_seed(0)
    np.random.seed(0)
    first = draw()
    with preserve_rng_state():
        draw()
    assert [first, draw()] == expected
