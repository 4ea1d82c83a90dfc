"""OFD of the same pair by mmrazor, to be timed beside ours."""

import copy
import importlib

from mmengine.model import BaseModel
from torch.nn.modules.batchnorm import _BatchNorm

from ..distillers import FeatureDistiller
from ..positions import Place, Span
from ..registry import MODELS
from ..transforms import Conv1x1, MarginReLU

__all__ = ['mmrazor_distiller', 'mmrazor_model']


def mmrazor_model(distiller: FeatureDistiller) -> BaseModel:
    """The ``OverhaulFeatureDistillation`` of mmrazor, of copies of a distiller's student and teacher.

    Args:
        distiller: Ours. Its weights are copied; mmrazor's connectors have their own.

    Raises:
        ValueError: If mmrazor cannot be imported, or its OFD cannot do what the distiller does.
    """
    parts = mmrazor_distiller(distiller)
    try:
        importlib.import_module('mmrazor.models')
    except ImportError as exc:
        raise ValueError(
            f'--peer mmrazor: mmrazor cannot be imported here ({exc}); what mmrazor 1.0.0 '
            'quantizes with was last in torch 1.13, and without those imports of its own the rest runs'
        ) from exc
    student, teacher = copy.deepcopy(distiller.student), copy.deepcopy(distiller.teacher.model)
    for module in (*student.modules(), *teacher.modules()):
        if hasattr(module, 'inplace'):
            module.inplace = False  # as mmrazor does it, whose way finds no module in today's torch
    norms = [module for module in teacher.modules() if isinstance(module, _BatchNorm)]
    model = MODELS.build(
        dict(
            _scope_='mmrazor',
            type='OverhaulFeatureDistillation',
            architecture=student,
            teacher=teacher,
            teacher_norm_eval=not any(norm.training for norm in norms),
            distiller=parts,
        )
    )
    model.train()  # which returns None there
    return model.to(next(distiller.student.parameters()).device)


def mmrazor_distiller(distiller: FeatureDistiller) -> dict:
    """The config of mmrazor's ``OFDDistiller`` for the pairs of ours.

    mmrazor reads what a batch norm puts out, where ours reads what the activation takes: in a residual block it leaves
    the shortcut out, at the same size.

    Args:
        distiller: Ours.

    Raises:
        ValueError: If a pair is not one of OFD with a batch norm before the teacher's activation.
    """
    names = [f'loss_{index}' for index, _ in enumerate(distiller.pairs)]
    students, teachers, connectors = {}, {}, {}
    for name, pair in zip(names, distiller.pairs, strict=True):
        student, place = pair.student_place, pair.teacher_place
        ours = isinstance(pair.student_transform, Conv1x1) and isinstance(pair.teacher_transform, MarginReLU)
        if not ours or pair.resize or isinstance(student, Span) or isinstance(place, Span) or not place.norm:
            raise ValueError(
                '--peer mmrazor: its OFD has 1x1 convolutions and margins from batch norms alone, and this is '
                f'{pair.extra_repr()}'
            )
        students[name] = _recorder(student)
        teachers[name] = _recorder(place)
        connectors[f'{name}_student'] = dict(
            type='ConvModuleConnector',
            in_channel=student.channels,
            out_channel=place.channels,
            norm_cfg=dict(type='BN'),
            act_cfg=None,
        )
        connectors[f'{name}_teacher'] = dict(type='OFDTeacherConnector')
    return dict(
        type='OFDDistiller',
        student_recorders=students,
        teacher_recorders=teachers,
        connectors=connectors,
        distill_losses={
            name: dict(type='OFDLoss', loss_weight=pair.weight)
            for name, pair in zip(names, distiller.pairs, strict=True)
        },
        loss_forward_mappings={
            name: dict(
                s_feature=dict(from_student=True, recorder=name, connector=f'{name}_student'),
                t_feature=dict(from_student=False, recorder=name, connector=f'{name}_teacher'),
            )
            for name in names
        },
    )


def _recorder(place: Place) -> dict:
    if place.norm:
        return dict(type='ModuleOutputs', source=place.norm)
    return dict(type='ModuleInputs' if place.side == 'input' else 'ModuleOutputs', source=place.path)
