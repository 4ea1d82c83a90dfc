from types import ModuleType, SimpleNamespace

import torch
from mmengine.structures import InstanceData

from ovkd_mm.compat.point_assigner import patch


def patched() -> ModuleType:
    """An assigner with the fault of mmdet's: it does not say where its tensors shall lie."""

    class PointAssigner:
        def assign(self, pred_instances, gt_instances):
            return torch.arange(len(pred_instances.priors)), gt_instances

    module = ModuleType('point_assigner')
    module.PointAssigner = PointAssigner
    patch(module)
    return module


def test_what_is_made_lies_where_the_points_are():
    points = SimpleNamespace(priors=torch.zeros(5, 3, device='meta'))  # a device that is not the CPU
    numbers, given = patched().PointAssigner().assign(points, gt_instances='boxes')
    assert (numbers.device.type, len(numbers), given) == ('meta', 5, 'boxes')
    assert torch.zeros(1).device.type == 'cpu'


def test_mending_twice_changes_nothing():
    module = patched()
    once = module.PointAssigner.assign
    patch(module)
    assert module.PointAssigner.assign is once
    patch(ModuleType('without it'))


def test_mmdets_is_mended():
    from mmdet.models.task_modules.assigners import PointAssigner

    assert PointAssigner.assign.__wrapped__
    points = torch.tensor([[0.0, 0, 8], [8, 0, 8], [0, 8, 8], [8, 8, 8]])
    boxes = InstanceData(bboxes=torch.tensor([[5.0, 5, 11, 11]]), labels=torch.tensor([3]))
    found = PointAssigner(scale=4, pos_num=1).assign(InstanceData(priors=points), boxes)
    assert found.gt_inds.tolist() == [0, 0, 0, 1] and found.labels.tolist() == [-1, -1, -1, 3]
