"""Lets mmdet's SSD predict.

Since mmdet 3.2 ``BaseDenseHead`` asks ``self.loss_cls`` whether the classification loss brings its own activation.
``SSDHead`` has no such loss, because it calls its grandparent's ``__init__``, and so fails with
``AttributeError: 'SSDHead' object has no attribute 'loss_cls'`` (mmdetection#11063, #11305, #11780).
"""

from types import ModuleType
from typing import Any


def patch(module: ModuleType) -> None:
    """Let ``SSDHead`` answer ``None`` for a ``loss_cls`` that it does not have.

    ``__getattr__`` is asked only where the normal look-up has failed, and it asks torch's first. So a head whose
    ``__init__`` sets ``loss_cls``, as an attribute or as a submodule, is left with its own.

    Args:
        module: ``mmdet.models.dense_heads.ssd_head``.
    """
    head = getattr(module, 'SSDHead', None)
    if head is None or '__getattr__' in vars(head):
        return

    def __getattr__(self: Any, name: str) -> Any:  # noqa: N807
        try:
            return super(head, self).__getattr__(name)
        except AttributeError:
            if name == 'loss_cls':
                return None
            raise

    head.__getattr__ = __getattr__


__all__ = ['patch']
