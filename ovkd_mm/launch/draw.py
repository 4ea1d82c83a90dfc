"""Painting the predictions of a test."""

import logging
from pathlib import PurePath
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..config_files import type_name
from ..toolkits import TOOLKITS

__all__ = ['draw_predictions', 'warn_of_equal_names']


def draw_predictions(config: Config, show: bool, show_dir: str | None, wait_time: float, tta: bool) -> None:
    """Switch on the toolkit's own visualization hook, for every image unless it has an ``interval``.

    Args:
        config: Gets the settings.
        show: Whether in a window.
        show_dir: Folder for the pictures; mmdet puts it below ``work_dir/<timestamp>``.
        wait_time: Seconds between two shown pictures.
        tta: Whether the test augments its images.

    Raises:
        ValueError: If the config has no such hook, or the toolkit's cannot paint what the test predicts.
    """
    hook = (config.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need default_hooks.visualization in the config')
    scope = config.get('default_scope')
    if tta and scope == 'mmpretrain':
        raise ValueError(
            "mmpretrain's VisualizationHook cannot paint augmented images; leave out --tta or the pictures"
        )
    toolkit = TOOLKITS.get(scope, TOOLKITS['mmdet'])
    hook.update(show=show, wait_time=wait_time)
    hook[toolkit.draws] = True
    if toolkit.draws_some:
        hook.setdefault('interval', 1)
    if not config.get('visualizer'):
        config.visualizer = dict(type=toolkit.visualizer)
    if show_dir and toolkit.draws_into:
        hook[toolkit.draws_into] = show_dir
    elif show_dir:
        config.visualizer.save_dir = show_dir
        backends = config.visualizer.get('vis_backends') or []
        if 'LocalVisBackend' not in map(type_name, backends):
            config.visualizer.vis_backends = [*backends, dict(type='LocalVisBackend')]


def warn_of_equal_names(dataset: Any) -> None:
    """Warn of images whose pictures replace each other, since the toolkits' hooks name these after the file alone.

    Args:
        dataset: What is tested.
    """
    if not hasattr(dataset, 'get_data_info'):
        return
    paths = [dataset.get_data_info(index).get('img_path') for index in range(len(dataset))]
    paths = [path for path in paths if isinstance(path, str)]  # images in memory are numbered
    names = {PurePath(path).name for path in paths}
    if len(names) < len(paths):
        print_log(
            f'the {len(paths)} images have {len(names)} file names, and a picture replaces the one of the same name '
            'before it; tools/predict.py paints each into a file of its own',
            logger='current',
            level=logging.WARNING,
        )
