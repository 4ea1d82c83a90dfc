"""Painting the predictions of a test."""

from mmengine.config import Config

from ..toolkits import TOOLKITS

__all__ = ['draw_predictions']


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
    if scope in ('mmseg', 'mmpretrain'):  # whose hooks leave out most images of a test, too
        hook.setdefault('interval', 1)
    if not config.get('visualizer'):
        config.visualizer = dict(type=toolkit.visualizer, vis_backends=[dict(type='LocalVisBackend')])
    if show_dir and toolkit.draws_into:
        hook[toolkit.draws_into] = show_dir
    elif show_dir:
        config.visualizer.save_dir = show_dir
