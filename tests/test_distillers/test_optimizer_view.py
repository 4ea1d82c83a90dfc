"""Each parameter of a distilled student has the settings that its optimizer would give it in the plain student."""

import copy

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, init_default_scope
from mmengine.runner import FlexibleRunner
from torch import nn
from toy import ToyImages, distiller_config, toy_runner

from ovkd_mm.config_files import model_of, read_config_file

SGD = dict(type='SGD', lr=0.1, weight_decay=0.01)
FEATURES = dict(
    position=dict(type='ovkd_mm.ModuleOutput'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.L2Loss'),
)
WIDTHS = [4, 8, 12, 16]
SEGMENTOR = dict(
    pretrained=None,
    decode_head=dict(channels=4, num_classes=3, norm_cfg=dict(type='BN')),
    auxiliary_head=dict(channels=4, num_classes=3, norm_cfg=dict(type='BN')),
)
CONVNEXT = dict(arch=dict(_delete_=True, depths=[1, 1, 4, 1], channels=WIDTHS))
TOKENS = dict(img_size=(64, 64), embed_dims=8, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3))
OF_TOKENS = dict(
    neck=dict(embed_dim=8), decode_head=dict(in_channels=[8] * 4, norm_cfg=dict(type='BN'), channels=4, num_classes=3)
)
OF_WIDTHS = dict(decode_head=dict(in_channels=WIDTHS), auxiliary_head=dict(in_channels=12))
# Shipped configs, how to make their models small, and a place in the student.
SHIPPED = {
    'mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py': (
        [SEGMENTOR, OF_WIDTHS, dict(backbone=CONVNEXT)],
        'backbone[0]',
    ),
    'mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py': (
        [SEGMENTOR, OF_TOKENS, dict(backbone=TOKENS, auxiliary_head=dict(in_channels=8))],
        'backbone[0]',
    ),
    'mmseg::mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py': (
        [SEGMENTOR, OF_TOKENS, dict(backbone=TOKENS, auxiliary_head=dict(in_channels=8))],
        'backbone[0]',
    ),
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py': (
        [
            SEGMENTOR,
            dict(decode_head=dict(in_channels=[4, 8, 16, 32]), auxiliary_head=dict(in_channels=16)),
            dict(backbone=dict(embed_dims=4, depths=[1] * 4, num_heads=[1] * 4, use_abs_pos_embed=True)),
            dict(backbone=dict(pretrain_img_size=64)),
        ],
        'backbone[0]',
    ),
    'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py': (
        [dict(backbone=CONVNEXT, neck=dict(in_channels=WIDTHS), roi_head=dict(bbox_head=dict(fc_out_channels=4)))],
        'backbone[0]',
    ),
    'mmpretrain::mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py': (
        [
            dict(
                backbone=dict(
                    arch=dict(_delete_=True, embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8),
                    img_size=(64, 64),
                )
            ),
            dict(head=dict(in_channels=8, num_classes=3)),
        ],
        'backbone.layers.0',
    ),
    'mmpretrain::spark/benchmarks/convnextv2-tiny_8xb256-coslr-300e_in1k.py': (
        [dict(backbone=CONVNEXT, head=dict(in_channels=16, num_classes=3))],
        'backbone.stages.0',
    ),
}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SlowPart(DefaultOptimWrapperConstructor):
    """Tells by the whole name."""

    def add_params(self, params, module, **kwargs):
        for name, parameter in module.named_parameters():
            slow = name.startswith(self.paramwise_cfg['slow'])
            params.append(dict(params=[parameter], lr=0.01 if slow else self.base_lr))


SLOW_BACKBONE = dict(optimizer=SGD, constructor='SlowPart', paramwise_cfg=dict(slow='backbone.'))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ByPart:
    """One optimizer for the backbone and one for the rest, told by the modules."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg):
        pass

    def __call__(self, model):
        rest = [child for name, child in model.named_children() if name != 'backbone']
        parts = dict(backbone=model.backbone, rest=nn.ModuleList(rest))
        return OptimWrapperDict(
            **{name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=0.1)) for name, part in parts.items()}
        )


def settings(model: nn.Module, wrapper) -> dict[str, tuple]:
    """Learning rate and weight decay of each parameter, by the name that it has in a checkpoint."""
    names = {id(value): name for name, value in model.state_dict(keep_vars=True).items()}
    return {
        names[id(parameter)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


def of_student(found: dict) -> dict:
    return {name: value for name, value in found.items() if not name.startswith('distiller.')}


def of_connectors(found: dict) -> dict:
    return {name: value for name, value in found.items() if name.startswith('distiller.pairs.')}


@pytest.mark.parametrize('name', SHIPPED)
@pytest.mark.filterwarnings('ignore:DeprecationWarning')
def test_a_shipped_config_sets_the_distilled_students_parameters_as_the_plain_ones(name):
    small, place = SHIPPED[name]
    config = read_config_file(name, name)
    for change in copy.deepcopy(small):
        config.merge_from_dict(dict(model=change))
    init_default_scope(name.partition(':')[0])
    student = model_of(config)
    optim_wrapper = {
        key: config.optim_wrapper[key]
        for key in ('optimizer', 'constructor', 'paramwise_cfg')
        if key in config.optim_wrapper
    }
    plain = MODELS.build(copy.deepcopy(student))
    distilled = MODELS.build(
        dict(
            type='ovkd_mm.FeatureDistiller',
            student=student,
            teacher=dict(model=dict(type='ToyClassifier', _scope_='mmengine'), allow_random=True, channel_order='rgb'),
            method=FEATURES,
            pairs=[dict(student=place, teacher='backbone.layer1', resize=True)],
            input_shape=(64, 64),
        )
    )
    expected = settings(plain, build_optim_wrapper(plain, copy.deepcopy(optim_wrapper)))
    found = settings(distilled, build_optim_wrapper(distilled, optim_wrapper))
    assert len(set(expected.values())) > 1
    assert of_student(found) == expected
    base = optim_wrapper['optimizer']['lr'], optim_wrapper['optimizer']['weight_decay']
    connectors = of_connectors(found)
    assert connectors.keys() == {
        f'distiller.pairs.0.student_transform.{key}' for key in ('conv.weight', 'bn.weight', 'bn.bias')
    }
    assert connectors['distiller.pairs.0.student_transform.conv.weight'] == base
    assert {lr for lr, _ in connectors.values()} == {base[0]}


def toys(**student) -> tuple[nn.Module, nn.Module]:
    """A plain student and the same one distilled, both with a frozen layer."""
    student = dict(type='ToyClassifier') | student
    plain, distilled = MODELS.build(student), MODELS.build(distiller_config(student=student))
    for model in (plain, distilled):
        model.backbone.stem.requires_grad_(False)
    return plain, distilled


@pytest.mark.parametrize(
    'paramwise',
    [
        dict(custom_keys={'.fc': dict(lr_mult=10.0)}),  # the plain student's name has nothing before fc
        dict(custom_keys={'layer2': dict(lr_mult=0.5)}),
        dict(custom_keys={'.backbone.layer1': dict(decay_mult=0.0)}),
        dict(norm_decay_mult=0.0, bias_lr_mult=2.0),
        None,
    ],
)
def test_keys_match_the_plain_students_names(paramwise):
    plain, distilled = toys()
    cfg = dict(optimizer=SGD, paramwise_cfg=paramwise)
    expected = settings(plain, build_optim_wrapper(plain, cfg))
    found = settings(distilled, build_optim_wrapper(distilled, cfg))
    assert of_student(found) == expected
    # Upstream leaves what is frozen out where it looks at each parameter.
    assert ('backbone.stem.weight' in found) == (paramwise is None)
    connectors = of_connectors(found)
    assert len(connectors) == 2 * 3
    assert len(found) == len(expected) + len(connectors)
    convolutions = [value for name, value in connectors.items() if name.endswith('conv.weight')]
    assert convolutions == [(0.1, 0.01)] * 2
    norms = 0.0 if paramwise and 'norm_decay_mult' in paramwise else 0.01
    assert {value for name, value in connectors.items() if '.bn.' in name} <= {(0.1, norms), (0.2, norms)}


def test_without_options_the_optimizer_has_one_group_in_the_order_that_it_had():
    _, distilled = toys()
    (group,) = build_optim_wrapper(distilled, dict(optimizer=SGD)).param_groups
    assert [id(parameter) for parameter in group['params']] == [id(parameter) for parameter in distilled.parameters()]


def test_a_constructor_gets_a_student_of_its_own_class_and_leaves_the_model_as_it_was():
    _, distilled = toys()
    before = list(distilled.state_dict())
    seen = []

    @OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
    class Look(DefaultOptimWrapperConstructor):
        def __call__(self, model):
            seen.append((type(model), model.backbone is distilled.student.backbone, dict(model.named_modules())))
            return super().__call__(model)

    build_optim_wrapper(distilled, dict(optimizer=SGD, constructor='Look'))
    ((kind, same, modules),) = seen
    assert kind is type(distilled.student) and same
    assert modules['distiller.pairs.1'] is distilled.pairs[1]
    assert modules['backbone.layer1.1.relu'] is distilled.student.backbone.layer1[1].relu
    assert not any('teacher' in name and 'pairs' not in name for name in modules)
    assert list(distilled.state_dict()) == before
    assert 'distiller' not in dict(distilled.student.named_children())


def test_several_optimizers_share_the_students_parts():
    _, distilled = toys()
    wrappers = build_optim_wrapper(distilled, dict(optimizer=SGD, constructor='ByPart'))
    held = {name: sum(len(group['params']) for group in one.param_groups) for name, one in wrappers.items()}
    inside = len(list(distilled.student.backbone.parameters()))
    assert held == dict(backbone=inside, rest=len(list(distilled.parameters())) - inside)


def test_a_model_wrapped_for_several_processes_is_looked_into():
    class Wrapper(nn.parallel.DistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module

    plain, distilled = toys()
    cfg = SLOW_BACKBONE
    expected = settings(plain, build_optim_wrapper(plain, cfg))
    assert of_student(settings(distilled, build_optim_wrapper(Wrapper(distilled), cfg))) == expected
    distilled.student = Wrapper(distilled.student)  # as FSDP and DDP by parts do
    wrapper = build_optim_wrapper(distilled, cfg)
    rates = {id(parameter): group['lr'] for group in wrapper.optimizer.param_groups for parameter in group['params']}
    assert all(rates[id(parameter)] == 0.01 for parameter in distilled.student.module.backbone.layer1.parameters())
    assert all(rates[id(parameter)] == 0.1 for parameter in distilled.pairs.parameters())


def test_other_models_are_left_alone():
    plain, _ = toys()
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type='DefaultOptimWrapperConstructor', optim_wrapper_cfg=dict(optimizer=SGD))
    )
    assert constructor.base_lr == 0.1
    (group,) = constructor(plain).param_groups
    assert [id(parameter) for parameter in group['params']] == [id(parameter) for parameter in plain.parameters()]


@pytest.mark.parametrize('flexible', [False, True])
def test_whichever_runner_trains_asks_for_the_students_names(tmp_path, flexible):
    optim_wrapper = SLOW_BACKBONE
    if flexible:
        loader = dict(
            dataset=ToyImages(),
            batch_size=4,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler'),
        )
        runner = FlexibleRunner(
            distiller_config(),
            work_dir=str(tmp_path),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=optim_wrapper,
            default_hooks=dict(checkpoint=None),
            experiment_name='optimizer_view',
        )
    else:
        runner = toy_runner(tmp_path, iters=1, optim_wrapper=optim_wrapper)
    runner.train()
    found = settings(runner.model, runner.optim_wrapper)
    assert {name: lr == 0.01 for name, (lr, _) in found.items()} == {
        name: name.startswith('backbone.') for name in found
    }


@pytest.mark.parametrize('key', ['student', 'student.backbone', 'model.student.backbone', 'teacher.backbone'])
def test_settings_by_names_that_only_the_config_has_are_refused(key):
    settings = dict(optimizer=SGD, paramwise_cfg=dict(custom_keys={key: dict(lr_mult=0.1)}))
    model = MODELS.build(distiller_config())
    with pytest.raises(ValueError, match=rf"custom_keys: '{key}' is no part of the student: .*'backbone\.stem"):
        build_optim_wrapper(model, settings)
    for name in ('backbone', 'student_transform'):
        settings['paramwise_cfg'] = dict(custom_keys={name: dict(lr_mult=0.1)})
        build_optim_wrapper(model, settings)
