"""Builds what trainings would build: ``python -m ovkd_mm.compare.check OUT.json METRIC CONFIG.py ...``.

In a process of its own, since a toolkit, its registries and a config's imports stay in the process that loads them.
"""

import json
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope

from ..config_files import model_of
from ..distillers import FeatureDistiller
from ..distillers.method_hooks import build_hook
from ..launch.mistakes import mistake
from .dry_validation import missing_metric
from .environment import environment
from .results import choose_metric

__all__ = ['build']

VALIDATION = ('val_dataloader', 'val_evaluator')  # without val_cfg mmengine refuses to start


def build(config: Config) -> BaseModel:
    """Build a config's model, its teacher's weights loaded, and its hooks.

    Args:
        config: Of a training.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    model = MODELS.build(model_of(config))
    for hook in config.get('custom_hooks') or []:
        build_hook(hook)
    return model


def main(out: str, metric: str, *files: str) -> None:
    """Write the environment, and for each config its student's number of parameters or what is wrong with it.

    Args:
        out: Path of the JSON.
        metric: Key of a metric that each validation must have; empty for the one that ``save_best`` names, if any.
        files: Paths of the configs.
    """
    parameters, errors, doubts, validations = {}, {}, {}, set()
    for file in files:
        try:
            config = Config.fromfile(file)
            model = build(config)
            student = model.student if isinstance(model, FeatureDistiller) else model
            parameters[file] = sum(parameter.numel() for parameter in student.parameters())
        except Exception as exc:  # of whatever kind: it would stop the training, too
            errors[file] = _sentence(exc)
            continue
        if lacking := [key for key in VALIDATION if not config.get(key)]:
            errors[file] = f'it has no validation ({", ".join(lacking)}), and a metric of it is what is compared'
            continue
        wanted = choose_metric(metric or None, config, [])
        validation = str([config.val_dataloader, config.val_evaluator, wanted])
        if wanted and validation not in validations:
            validations.add(validation)
            try:
                lack = missing_metric(wanted.key, config, model)
            except Exception as exc:  # which may be no hindrance where the training takes place
                doubts[file] = _sentence(exc)
            else:
                errors |= {file: lack} if lack else {}
    found = dict(environment=environment(), parameters=parameters, errors=errors, doubts=doubts)
    Path(out).write_text(json.dumps(found))


def _sentence(error: Exception) -> str:
    return mistake(error) or f'{type(error).__name__}: {error}'


if __name__ == '__main__':
    main(*sys.argv[1:])
