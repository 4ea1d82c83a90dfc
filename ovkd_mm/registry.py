"""Our child registries: a config names a part as ``ovkd_mm.<Class>`` and the room that holds it is imported then."""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='ovkd_mm',
    locations=['ovkd_mm.distillers', 'ovkd_mm.transforms', 'ovkd_mm.losses', 'ovkd_mm.models'],
)
TASK_UTILS = Registry('task util', parent=MMENGINE_TASK_UTILS, scope='ovkd_mm', locations=['ovkd_mm.positions'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='ovkd_mm', locations=['ovkd_mm.hooks'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='ovkd_mm', locations=['ovkd_mm.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='ovkd_mm', locations=['ovkd_mm.datasets'])

__all__ = ['DATASETS', 'HOOKS', 'MODELS', 'TASK_UTILS', 'TRANSFORMS']
