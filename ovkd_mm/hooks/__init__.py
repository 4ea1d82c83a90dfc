"""Hooks, one a file."""

from .base import DistillerHook
from .channels_last_hook import ChannelsLastHook
from .checkpoint_fit_hook import CheckpointFitHook
from .class_count_hook import ClassCountHook
from .connector_warmup_hook import ConnectorWarmupHook
from .distill_schedule_hook import DistillScheduleHook
from .distill_share_hook import DistillShareHook
from .feature_visualization_hook import FeatureVisualizationHook
from .final_validation_hook import FinalValidationHook
from .fsdp_keys_hook import FSDPKeysHook
from .initial_weights_hook import InitialWeightsHook
from .initialization_hook import InitializationHook
from .label_range_hook import LabelRangeHook
from .paraphraser_hook import ParaphraserHook
from .seed_hook import SeedHook

__all__ = [
    'ChannelsLastHook',
    'CheckpointFitHook',
    'ClassCountHook',
    'ConnectorWarmupHook',
    'DistillScheduleHook',
    'DistillShareHook',
    'DistillerHook',
    'FSDPKeysHook',
    'FeatureVisualizationHook',
    'FinalValidationHook',
    'InitialWeightsHook',
    'InitializationHook',
    'LabelRangeHook',
    'ParaphraserHook',
    'SeedHook',
]
