"""From configs to traced networks, and to the pairs of places that ``pairs='auto'`` takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import nn

from ..checkpoints.state_dict import load_strictly, model_weights
from ..config_files import buildable, is_distillation, without_pretrained
from ..distillers.build_pairs import build_pairs
from ..distillers.feature_pair import FeaturePair
from ..distillers.foreign import build_module, build_teacher
from ..distillers.teacher import check_teacher
from ..positions import Trace, auto_pairs, trace
from .cli import read_config
from .input_shape import InputShape, input_shape_of
from .plain_config import plain_config

__all__ = ['Network', 'TracedNetworks', 'join', 'read_networks', 'suggest_pairs']


@dataclass(frozen=True)
class Network:
    """A model as its constructor made it, and the trace of its forward.

    Attributes:
        name: The config that it was built from.
        model: Its modules.
        trace: At the size that was asked for.
        loaded: Whether it has trained weights.
    """

    name: str
    model: nn.Module
    trace: Trace
    loaded: bool = False

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())


@dataclass(frozen=True)
class TracedNetworks:
    """What the configs hold that were asked about.

    Attributes:
        config: The first one.
        input_shape: What the networks are traced with.
        networks: The one that was asked about, or student and teacher.
    """

    config: Config
    input_shape: InputShape
    networks: tuple[Network, ...]


def read_networks(
    path: str | Path,
    teacher: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    checkpoint: str | None = None,
    options: dict | None = None,
) -> TracedNetworks:
    """Build and trace the model of a config, and that of its teacher; nothing is downloaded or initialized.

    Args:
        path: A config or ``package::config`` name; a distillation config brings its teacher.
        teacher: Another one, or a name such as ``'timm::resnet50'``.
        input_shape: ``(H, W)`` in pixels; by default that of the training pipeline.
        checkpoint: Weights of the teacher, or of the model that has none.
        options: Settings of the config, with dots in the keys.

    Raises:
        FileNotFoundError: If there is no such config or checkpoint.
        ValueError: If a config cannot be read or does not tell the input size, a distillation config is given a
            teacher, or the weights do not fit.
    """
    what = f'the config {str(path)!r}'
    config = read_config(path, options, named=True)
    shape = InputShape((input_shape[0], input_shape[1]), '--input-shape') if input_shape else input_shape_of(config)
    if shape is None:
        raise ValueError(f'{what} does not say how large its training inputs are; set --input-shape H W')
    taught: str | dict | None = None if teacher is None else str(teacher)
    plain = plain_config(config)
    if is_distillation(config):
        if teacher is not None:
            raise ValueError(
                f'{what} has a teacher of its own, so {str(teacher)!r} cannot be it; leave one of them out'
            )
        check_teacher(config.model.get('teacher'))
        taught = config.model.teacher.model
    # As a distiller traces them: what learns in training, what is learned from in evaluation.
    learner = build_module(without_pretrained(buildable(plain, what).model))
    student = _network(learner, str(path), shape.size, None if taught else checkpoint, training=True)
    if taught is None:
        return TracedNetworks(config, shape, (student,))
    name = taught if isinstance(taught, str) else taught['type']
    built, _ = build_teacher(taught, pretrained=False)
    return TracedNetworks(config, shape, (student, _network(built, name, shape.size, checkpoint)))


def _network(
    model: nn.Module, name: str, size: tuple[int, int], checkpoint: str | None, training: bool = False
) -> Network:
    if checkpoint is not None:
        loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
        load_strictly(model, model_weights(loaded), f'--checkpoint {checkpoint}')
    return Network(name, model, trace(model, size, training), checkpoint is not None)


def join(student: Network, teacher: Network, method: dict, pairs: object, logits: object = 'auto') -> list[FeaturePair]:
    """The pairs as a distiller would build them.

    Args:
        student: Learns.
        teacher: Is learned from.
        method: Its four parts; hooks are left aside.
        pairs: As in a config.
        logits: As in a config.

    Raises:
        TypeError: If something is of another type than a config has there.
        ValueError: If the method cannot join them.
    """
    parts = {key: value for key, value in method.items() if key != 'hooks'}
    both = student.trace, teacher.trace, student.model, teacher.model
    return list(build_pairs(parts, pairs, logits, *both))  # type: ignore[arg-type]


def suggest_pairs(student: str | Path, teacher: str | Path, input_shape: Sequence[int] | None = None) -> list[dict]:
    """The pairs that ``pairs='auto'`` takes of two configs, written out.

    Args:
        student: A config or ``package::config`` name.
        teacher: Another one.
        input_shape: ``(H, W)`` in pixels; by default that of the student's training pipeline.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If one cannot be read, the size is not told or no spatial size is common to both.
    """
    learns, teaches = read_networks(student, teacher, input_shape).networks
    return auto_pairs(learns.trace, teaches.trace)
