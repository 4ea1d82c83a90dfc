"""FeatureVisualizationHook: pictures of what is learned from."""

import cv2
import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..distillers import FeatureDistiller
from ..losses import DistillLoss
from ..registry import HOOKS
from .base import DistillerHook

__all__ = ['FeatureVisualizationHook']


@HOOKS.register_module()
class FeatureVisualizationHook(DistillerHook):
    """Shows, for the first image of a batch, what each pair's loss compares: teacher, student and their distance.

    The features are those that reach the loss, after both transforms, averaged over channels. Teacher and student share
    one colour scale; the distance has its own and is that of the loss (the partial L2's is 0 where it skips). The
    pictures go to the Visualizer's back-ends as ``distill_<i>``. Losses whose inputs are not maps are left out.

    Args:
        interval: Iterations between two pictures.

    Raises:
        ValueError: If the interval is not positive.
    """

    def __init__(self, interval: int = 500) -> None:
        if interval <= 0:
            raise ValueError(f'FeatureVisualizationHook.interval must be above 0, got {interval}')
        self.interval = interval
        self._inputs: Tensor | None = None
        self._features: dict[int, tuple[DistillLoss, Tensor, Tensor]] = {}
        self._handles: list = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Listen, if this iteration is to be drawn.

        Raises:
            TypeError: If the model is not a ``FeatureDistiller``.
        """
        if not self.every_n_train_iters(runner, self.interval):
            return
        model = self.distiller(runner)

        def keep_inputs(module: FeatureDistiller, args: tuple, kwargs: dict) -> None:
            self._inputs = (args[0] if args else kwargs['inputs'])[0].detach()

        self._handles.append(model.register_forward_pre_hook(keep_inputs, with_kwargs=True))
        for index, pair in enumerate(model.pairs):

            def keep_features(loss: DistillLoss, args: tuple, index: int = index) -> None:
                student, teacher = (feature[:1].detach() for feature in args)
                self._features[index] = loss, student, teacher

            self._handles.append(pair.loss.register_forward_pre_hook(keep_features))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Draw what was heard."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        if is_main_process() and self._inputs is not None:
            for index, (loss, student, teacher) in self._features.items():
                if student.dim() == 4 and student.shape == teacher.shape:
                    distance = loss.distance(student, teacher)
                    picture = _draw(runner.visualizer, self._inputs, teacher, student, distance)
                    runner.visualizer.add_image(f'distill_{index}', picture, runner.iter + 1)
        self._inputs, self._features, self._handles = None, {}, []


def _draw(visualizer: Visualizer, inputs: Tensor, teacher: Tensor, student: Tensor, distance: Tensor) -> np.ndarray:
    """The three maps, each laid over the grey input ``(3, H, W)``, side by side: ``(H, 3 * W, 3)``, uint8."""
    size = inputs.shape[1:]
    teacher, student, distance = (
        F.interpolate(feature.float().mean(1, keepdim=True), size, mode='bilinear', align_corners=False)[0].cpu()
        for feature in (teacher, student, distance)
    )
    grey = inputs.float().mean(0).cpu().numpy()
    grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    pictures = [
        visualizer.draw_featmap(torch.cat([teacher, student], dim=2), np.hstack([grey, grey])),
        visualizer.draw_featmap(distance, grey),
    ]
    visualizer.set_image(np.hstack(pictures))
    corners = np.array([[panel * size[1] + 2, 2] for panel in range(3)])
    visualizer.draw_texts(['teacher', 'student', 'distance'], corners, colors='w', bboxes=dict(facecolor='k', pad=1))
    return visualizer.get_image()
