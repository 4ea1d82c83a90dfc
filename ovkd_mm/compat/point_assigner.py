"""Lets mmdet's RepPoints train on a GPU.

``PointAssigner`` numbers the points on the CPU and picks among them with a mask that lies where the points are, which
torch refuses: ``indices should be either on cpu or on the same device as the indexed tensor`` (mmdetection#10436).
"""

import functools
from types import ModuleType
from typing import Any


def patch(module: ModuleType) -> None:
    """Let what ``PointAssigner.assign`` makes lie where the points are.

    Args:
        module: ``mmdet.models.task_modules.assigners.point_assigner``.
    """
    assigner = getattr(module, 'PointAssigner', None)
    if assigner is None or hasattr(assigner.assign, '__wrapped__'):
        return
    upstream = assigner.assign

    @functools.wraps(upstream)
    def assign(self: Any, pred_instances: Any, *args: Any, **kwargs: Any) -> Any:
        with pred_instances.priors.device:
            return upstream(self, pred_instances, *args, **kwargs)

    assigner.assign = assign


__all__ = ['patch']
