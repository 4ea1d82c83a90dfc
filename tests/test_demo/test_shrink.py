import pytest
import torch
from command_line import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ovkd_mm.demo.run import DISTILLATION, TEACHER_CONFIG
from ovkd_mm.demo.shrink import Plan, shrink
from ovkd_mm.demo.voc_folder import VOCFolder

STUDENT = 'ssdlite300_mobilenet-v1_voc0712'
DATA = VOCFolder(ROOT / 'nowhere', 'train', 'val', classes=('a', 'b', 'c'))


def config_of(name: str) -> Config:
    init_default_scope('mmdet')
    return Config.fromfile(ROOT / 'configs/ssd300' / f'{name}.py')


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize('size', [64, 100, 128, 160])
@pytest.mark.parametrize('name', [TEACHER_CONFIG, STUDENT])
def test_anchors_tile_the_input_at_any_size(name, size):
    model = MODELS.build(shrink(config_of(name), DATA, Plan(size=size), iters=6, lr=1e-3).model).eval()
    with torch.no_grad():
        scores, boxes = model(torch.zeros(1, 3, size, size), mode='tensor')
    generator = model.bbox_head.prior_generator
    cells = [tuple(score.shape[-2:]) for score in scores]
    assert cells[0] == (-(-size // 8),) * 2
    assert len(cells) == 6
    for index, (grid, anchors) in enumerate(zip(cells, generator.grid_priors(cells, device='cpu'), strict=True)):
        assert 4 * len(anchors) == boxes[index].numel()
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2
        step = size / grid[0]
        assert centers.min() == pytest.approx(step / 2, rel=1e-4)
        assert centers.max() == pytest.approx(size - step / 2, rel=1e-4)
    sides = [(anchors[0, 2] - anchors[0, 0]).item() / size for anchors in generator.base_anchors]
    # SSD300 on VOC: 30, 60, 111, 162, 213 and 264 of 300 pixels.
    assert sides == pytest.approx([0.1, 0.2, 0.37, 0.54, 0.71, 0.88], abs=0.51 / size)


@pytest.mark.parametrize('name', [TEACHER_CONFIG, STUDENT])
def test_the_detectors_keep_every_parameter_of_the_full_ones(name):
    full = config_of(name)
    full.model.bbox_head.num_classes = 3
    small = shrink(config_of(name), DATA, Plan(), iters=6, lr=1e-3)
    assert parameters(MODELS.build(small.model)) == parameters(MODELS.build(full.model))


def test_alone_and_distilled_differ_in_nothing_but_the_distillation():
    alone = shrink(config_of(STUDENT), DATA, Plan(), iters=60, lr=2e-3).to_dict()
    distilled = shrink(config_of(DISTILLATION), DATA, Plan(), iters=60, lr=2e-3).to_dict()
    alone_model, distilled_model = alone.pop('model'), distilled.pop('model')
    for key in ('method', 'distiller', 'places'):
        distilled.pop(key)
    assert distilled == alone
    assert distilled_model['student'] == alone_model


def test_the_plan_is_what_the_config_says():
    plan = Plan(size=96, batch_size=4, val_images=7)
    config = shrink(config_of(DISTILLATION), DATA, plan, iters=60, lr=2e-3)
    assert config.train_cfg.max_iters == 60
    assert config.param_scheduler[-1].end == 60
    assert config.train_dataloader.batch_size == 4
    assert config.train_dataloader.dataset.metainfo.classes == ('a', 'b', 'c')
    assert config.val_dataloader.dataset.indices == 7
    assert config.optim_wrapper.optimizer.lr == 2e-3
    assert config.model.method.loss.loss_weight == 'auto'
    assert config.model.input_shape == (96, 96)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert [t.scale for t in loader.dataset.pipeline if t.type == 'Resize'] == [(96, 96)]
