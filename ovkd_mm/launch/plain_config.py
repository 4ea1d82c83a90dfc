"""From a distillation config to the plain config of its student."""

import copy
import inspect
from collections.abc import Callable

from mmengine.config import Config
from mmengine.registry import HOOKS

from ..config_files import is_distillation, student_of
from ..distillers import FeatureDistiller
from ..hooks import DistillerHook
from ..nearest import nearest

__all__ = ['forget_resume', 'forget_run', 'plain_config']

# What a distillation config takes from configs/_base_ beside its model.
SHARED = ('method', 'distiller', 'places', 'head_pairs')

# What a config says, or ``tools/train.py`` makes it say, of one training with it.
RUN = ('experiment_name', 'launcher', 'load_from', 'resume', 'work_dir')


def plain_config(config: Config) -> Config:
    """The config with which the student alone is built, tested and trained on; a plain config comes back as it is.

    Its checkpoint keys are those of the distillation's checkpoint less ``distiller.*``. What a resumed training leaves
    in its config, distilled or plain, is removed.

    Raises:
        ValueError: If the distillation has no student, or an unknown setting.
    """
    config = forget_resume(config)
    if is_distillation(config):
        _check_settings(config.model)
        config.model = student_of(config.model)
        for key in SHARED:
            config.pop(key, None)
        _leave_out(config, _wants_a_distiller)
    return config


def forget_resume(config: Config) -> Config:
    """A copy of a config without what a resumed training leaves in it.

    This is where it went on from, which another training would take for its initial weights, and the hook that asks any
    checkpoint for an optimizer.
    """
    config = copy.deepcopy(config)
    if config.get('resume'):
        config.resume, config.load_from = False, None
    _leave_out(config, _checks_a_resume)
    return config


def _check_settings(model: dict) -> None:
    known = [*inspect.signature(FeatureDistiller).parameters, 'type']
    for key in model:
        if key not in known:
            raise ValueError(
                f'model.{key}: a distillation has no setting {key!r}{nearest(key, known)}; '
                f"the student's own is model.student.{key}"
            )
    if not isinstance(model.get('student'), dict):
        raise ValueError(f"model.student must be the student's config, a dict; got {model.get('student')!r}")


def forget_run(config: Config) -> Config:
    """A copy of a config without what belongs to one training with it, such as its folder, its start and its seed."""
    config = copy.deepcopy(config)
    for key in RUN:
        config.pop(key, None)
    randomness = config.pop('randomness', None) or {}
    if others := {key: value for key, value in randomness.items() if key != 'seed'}:
        config.randomness = dict(others, seed=None)
    return config


def _leave_out(config: Config, unwanted: Callable[[dict], bool]) -> None:
    """Take hooks out of ``custom_hooks``, and remove the key with the last one: most configs have none."""
    hooks = [hook for hook in config.get('custom_hooks') or () if not unwanted(hook)]
    if hooks:
        config.custom_hooks = hooks
    else:
        config.pop('custom_hooks', None)


def _checks_a_resume(hook: dict) -> bool:
    """Whether the hook is what a resumed training has left in its config."""
    return hook.get('type') == 'ovkd_mm.CheckpointFitHook' and bool(hook.get('needed'))


def _wants_a_distiller(hook: dict) -> bool:
    kind = hook.get('type')
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, DistillerHook)
