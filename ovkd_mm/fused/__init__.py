"""What OFD does to a pair of features, in as few passes through memory as there can be.

One after another the connector's batch norm, the margin ReLU, the partial L2 distance and their backward passes go
through memory some twenty-five times. Here loss, skipped positions and gradient are made together: on a CPU of blocks
that fit into a cache, on a GPU by Triton's kernels. :mod:`ovkd_mm.functional` and ``torch.nn.BatchNorm2d`` define what
is computed, and compute it elsewhere.
"""

from .operation import can_fuse, negatives, normalized_partial_l2, partial_l2_and_skipped

__all__ = ['can_fuse', 'negatives', 'normalized_partial_l2', 'partial_l2_and_skipped']
