import torch

from ovkd_mm.benchmark.memory import peak_of_tensors

MIB = 2**20


def made(mib: int) -> torch.Tensor:
    return torch.zeros(mib * MIB // 4)


def test_the_peak_is_what_is_held_at_once():
    def one_after_the_other():
        for _ in range(3):
            made(2)

    assert peak_of_tensors(one_after_the_other) == 2 * MIB
    assert peak_of_tensors(lambda: (made(2), made(3))) == 5 * MIB


def test_what_was_there_before_and_views_of_what_is_there_count_nothing():
    before = made(4)
    assert peak_of_tensors(lambda: before.view(2, -1)[0].add_(1)) == 0
    assert peak_of_tensors(lambda: made(2).view(2, -1)[:1].t()) == 2 * MIB


def test_what_autograd_keeps_and_gradients_count():
    weight = made(1).requires_grad_()

    def learn():
        squares = weight.exp()  # kept for the backward pass
        total = (squares + 1).sum()
        total.backward()

    # exp and its sum with 1 at once; then exp, the gradient of the sum (a view of one number) and that of the weight.
    assert 2 * MIB <= peak_of_tensors(learn) <= 2 * MIB + 64
    assert weight.grad is not None
