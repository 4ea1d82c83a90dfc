"""A device that computes on the CPU and says that it is another: there, tensors on different devices fail as on a GPU.

Only for a process of its own, since torch can have one such device, and for a torch whose devices can be made in
Python. What it does not show: kernels of a GPU, its streams and its mixed precision.
"""

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ['DEVICE', 'HERE', 'PretendGpu', 'prepare']

HERE = hasattr(backend_registration, '_setup_privateuseone_for_python_backend')
DEVICE = 'pretend'
ATEN = torch.ops.aten
MOVES = {ATEN._to_copy.default, ATEN.copy_.default}
INDEXES = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor on the pretended device; its values lie in ``held``, on the CPU."""

    @staticmethod
    def __new__(cls, held: Tensor) -> 'Elsewhere':
        layout = dict(strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype)
        self = Tensor._make_wrapper_subclass(cls, held.size(), device=torch.device(DEVICE, 0), **layout)
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})

    def tolist(self):
        return self.cpu().tolist()


class PretendGpu(TorchDispatchMode):
    """Lets tensors be made on the pretended device, and moved there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def compute(func, args: tuple, kwargs: dict):
    """What a function of torch gives; raises RuntimeError if its tensors are on different devices."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    elsewhere = [one for one in tensors if isinstance(one, Elsewhere)]
    if func not in MOVES and elsewhere:
        check_devices(func, args, [one for one in tensors if not isinstance(one, Elsewhere)])
    if kwargs.get('device') is not None:
        goes = torch.device(kwargs['device']).type == DEVICE
        kwargs = {**kwargs, 'device': torch.device('cpu')}
    else:
        goes = isinstance(args[0], Elsewhere) if func in MOVES else bool(elsewhere)
    # What is changed in place comes back as the object that it was.
    known = {id(one.held if isinstance(one, Elsewhere) else one): one for one in tensors}
    args, kwargs = tree_map(lambda one: one.held if isinstance(one, Elsewhere) else one, (args, kwargs))

    def wrap(one):
        if not isinstance(one, Tensor):
            return one
        if one._is_zerotensor():  # has no memory, which what follows here takes for granted
            one = torch.zeros(one.shape, dtype=one.dtype)
        return known.get(id(one), Elsewhere(one) if goes else one)

    return tree_map(wrap, func(*args, **kwargs))


def check_devices(func, args: tuple, on_cpu: list[Tensor]) -> None:
    """A GPU takes numbers from the CPU, and whole numbers or masks as an index, nothing else."""
    if func in INDEXES and isinstance(args[0], Elsewhere):
        on_cpu = [one for one in on_cpu if one.is_floating_point()]
    strangers = [one for one in on_cpu if one.dim() > 0]
    if strangers:
        raise RuntimeError(f'{func}: all tensors must be on one device, one of {tuple(strangers[0].shape)} is on a CPU')


def prepare() -> None:
    """Make the device known to torch."""

    class Backend(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self):
            return [torch.float16, torch.bfloat16]

    backend_registration._setup_privateuseone_for_python_backend(DEVICE, Backend())
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes it on the CPU, then moves it
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a weight's data cannot change their class


def losses_on(device: str, config: dict) -> list[dict[str, float]]:
    """The losses of two iterations of a toy; they depend on the seed alone."""
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config)).train()
    for module in model.modules():
        if isinstance(module, Paraphraser):
            module.finish_training()
    model.to(device)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), 0.01, momentum=0.9))
    found = []
    for seed in range(2):
        inputs, labels = (one.to(device) for one in batch(seed=seed))
        found.append(model.train_step(dict(inputs=inputs, data_samples=labels), optimizer))
    return [{name: float(value) for name, value in losses.items()} for losses in found]


def main() -> None:
    """Print, as JSON, the losses of each config of a JSON file on the CPU and elsewhere, or its error."""
    prepare()
    results = {}
    for name, config in json.loads(Path(sys.argv[1]).read_text()).items():
        here = losses_on('cpu', config)
        with PretendGpu():
            try:
                results[name] = [here, losses_on(DEVICE, config)]
            except RuntimeError as error:
                results[name] = str(error)
    print(json.dumps(results))


if __name__ == '__main__':
    import copy
    import json
    import sys
    from pathlib import Path

    from mmengine.optim import OptimWrapper
    from mmengine.registry import MODELS
    from toy import batch

    from ovkd_mm.losses import L2Loss
    from ovkd_mm.transforms import Paraphraser

    @MODELS.register_module()
    class LeftBehindLoss(L2Loss):
        """A loss with a mistake that only a GPU tells: a tensor that is no buffer and so does not move."""

        scale = torch.ones(1)

        def forward(self, student, teacher):
            return self.scale * super().forward(student, teacher)

    main()
