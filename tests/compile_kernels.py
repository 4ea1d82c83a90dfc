"""Compiles the kernels for a GPU that need not be there, such as one of compute capability 8.0: ``80 bf16``."""

import itertools
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import ovkd_mm  # noqa: F401
from ovkd_mm.fused import kernels

FEATURES = ('student', 'teacher', 'feature')
NUMBERS = dict(twice_weight='fp32', positions='i64', channels='i32', inner='i32', kept='*i32', counts='*i32')


def compile_kernel(kernel, capability: int, dtype: str, constants: dict) -> bytes:
    """The machine code."""
    names = [parameter.name for parameter in kernel.params]
    kinds = {name: NUMBERS.get(name, f'*{dtype}' if name in FEATURES else '*fp32') for name in names}
    known = {name: value for name, value in constants.items() if name in names}
    signature = kinds | dict.fromkeys(known, 'constexpr')
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in known.items()})
    return triton.compile(source, target=GPUTarget('cuda', capability, 32)).asm['cubin']


def main(capability: int, dtype: str) -> None:
    """Compile what a training with OFD launches."""
    unused = dict.fromkeys(('by_scale', 'by_shift', 'mean', 'factor', 'shift'))
    for last, norm in itertools.product((True, False), (True, False)):
        shape = dict(LAST=last, ROWS=16 if last else 2048, COLUMNS=128 if last else 1, MARGIN=True)
        compared = shape | dict(NORM=norm, LEARNS=True) | (dict(gradient=None) if norm else unused)
        runs = [(kernels._compare, compared)]
        if norm:
            runs += [(one, shape) for one in (kernels._normalize_back, kernels._tile_moments, kernels._negatives)]
        for kernel, constants in runs:
            print(kernel.__name__, len(compile_kernel(kernel, capability, dtype, constants)), 'bytes')


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2])
