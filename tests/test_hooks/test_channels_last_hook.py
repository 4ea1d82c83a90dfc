import torch
from toy import Record, toy_runner

from ovkd_mm.hooks import ChannelsLastHook


def is_channels_last(weight: torch.Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)


def test_student_teacher_and_connectors_are_laid_out_so_and_stay_so(tmp_path):
    runner = toy_runner(tmp_path, iters=2)
    teacher = runner.model.teacher.model
    weights = [one for model in (runner.model, teacher) for one in model.parameters() if one.dim() == 4]
    assert not all(map(is_channels_last, weights))
    record = Record(lambda runner: all(map(is_channels_last, weights)))
    for hook in (ChannelsLastHook(), record):
        runner.register_hook(hook)
    runner.train()
    assert record.seen == [True, True]
