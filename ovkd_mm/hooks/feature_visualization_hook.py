"""FeatureVisualizationHook: pictures of the features that are compared."""

import cv2
import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.hooks import RemovableHandle

from ..distillers import FeatureDistiller, FeaturePair
from ..losses import DistillLoss
from ..number import number
from ..registry import HOOKS
from ..rng import preserve_rng_state
from .base import DistillerHook

__all__ = ['FeatureVisualizationHook']


@HOOKS.register_module()
class FeatureVisualizationHook(DistillerHook):
    """Shows, for the first image of a batch, what each pair's loss compares: teacher, student and their distance.

    The features are those that reach the loss, after both transforms, averaged over channels. Teacher and student share
    one color scale; the distance has its own and is that of the loss (the partial L2's is 0 where it skips). The
    pictures go to the Visualizer's back-ends as ``distill_<i>``. Losses whose inputs are not maps are left out.

    Args:
        interval: Iterations between two pictures.

    Raises:
        ValueError: If the interval is not positive.
    """

    def __init__(self, interval: int = 500) -> None:
        self.interval = number('FeatureVisualizationHook.interval', interval, above=True, whole=True)
        self._inputs: Tensor | None = None
        self._features: dict[int, tuple[DistillLoss, list[Tensor]]] = {}
        self._handles: list[RemovableHandle] = []
        self._looks: dict[int, RemovableHandle] = {}

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

            def look(pair: FeaturePair, args: tuple, index: int = index) -> None:
                self._looks.pop(index).remove()
                self._features[index] = pair.loss, _compared(pair, args)

            self._looks[index] = pair.register_forward_pre_hook(look)

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
        for handle in (*self._handles, *self._looks.values()):
            handle.remove()
        if is_main_process() and self._inputs is not None:
            for index, (loss, (student, teacher, *labels)) in self._features.items():
                if student.dim() == 4:
                    distance = loss.distance(student, teacher, *labels)
                    picture = _draw(runner.visualizer, self._inputs, teacher, student, distance)
                    runner.visualizer.add_image(f'distill_{index}', picture, runner.iter + 1)
        self._inputs, self._features, self._handles, self._looks = None, {}, [], {}


@torch.compiler.disable  # a compiled pair would pass the listener by
def _compared(pair: FeaturePair, args: tuple) -> list[Tensor]:
    """The inputs of a pair's loss for the first image; the pair's state and the random numbers are left as they are.

    The pair is called again for this, since training without listeners may compute everything in one fused operation,
    which never returns these tensors.
    """
    seen: list[Tensor] = []
    before = [buffer.clone() for buffer in pair.buffers()]
    handle = pair.loss.register_forward_pre_hook(lambda _, found: seen.extend(one[:1].detach() for one in found))
    with preserve_rng_state():
        pair(*args)
    handle.remove()
    for buffer, value in zip(pair.buffers(), before, strict=True):
        buffer.copy_(value)
    return seen


def _draw(visualizer: Visualizer, inputs: Tensor, teacher: Tensor, student: Tensor, distance: Tensor) -> np.ndarray:
    """The three maps, each laid over the gray input ``(3, H, W)``, side by side: ``(H, 3 * W, 3)``, uint8."""
    size = inputs.shape[1:]
    teacher, student, distance = (
        F.interpolate(feature.float().mean(1, keepdim=True), size, mode='bilinear', align_corners=False)[0].cpu()
        for feature in (teacher, student, distance)
    )
    gray = inputs.float().mean(0).cpu().numpy()
    gray = cv2.normalize(gray, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    pictures = [
        visualizer.draw_featmap(torch.cat([teacher, student], dim=2), np.hstack([gray, gray])),
        visualizer.draw_featmap(distance, gray),
    ]
    visualizer.set_image(np.hstack(pictures))
    corners = np.array([[panel * size[1] + 2, 2] for panel in range(3)])
    visualizer.draw_texts(['teacher', 'student', 'distance'], corners, colors='w', bboxes=dict(facecolor='k', pad=1))
    return visualizer.get_image()
