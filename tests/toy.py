"""Small models with mmengine's interface, fast enough to train in a test."""

import uuid

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset

NEW_TORCH = torch.__version__ >= (2, 4)
# What a CPU's autocast knows.
HALF_DTYPES = [torch.bfloat16, torch.float16] if NEW_TORCH else [torch.bfloat16]
needs_compile = pytest.mark.skipif(not NEW_TORCH, reason="torch 2.1's compiler fails in torch's own SGD")
needs_float16 = pytest.mark.skipif(not NEW_TORCH, reason='float16 on a CPU needs torch 2.4')


class Block(nn.Module):
    """A residual block in mmdet's manner: one shared ReLU, ``out += identity``."""

    def __init__(self, in_channels: int, channels: int, stride: int, inplace: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=inplace)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu(out)


class Backbone(nn.Module):
    """A stem and two stages."""

    def __init__(self, width: int, inplace: bool, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.layer1 = nn.Sequential(Block(width, width, 1, inplace), Block(width, width, 1, inplace))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2, inplace))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.layer2(self.layer1(self.stem(x))))


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """Backbone, pooling, linear head."""

    def __init__(
        self, width=4, inplace=True, dropout=0.0, mean=(0, 0, 0), std=(1, 1, 1), bgr_to_rgb=False, init_cfg=None
    ):
        super().__init__(
            data_preprocessor=ImgDataPreprocessor(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb), init_cfg=init_cfg
        )
        self.backbone = Backbone(width, inplace, dropout)
        self.fc = nn.Linear(2 * width, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.fc(self.backbone(inputs).mean((2, 3)))
        if mode == 'loss':
            return dict(loss=F.cross_entropy(logits, data_samples))
        return logits.argmax(1) if mode == 'predict' else logits


def batch(size: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 16x16 and their labels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 16, 16, generator=generator), torch.randint(3, (size,), generator=generator)


METHOD = dict(
    position=dict(type='ovkd_mm.PreReLU'),
    teacher_transform=dict(type='ovkd_mm.MarginReLU'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=1e-3),
    weight='halved',
    norm_mode='batch',
)
PAIRS = [
    dict(student='backbone.layer1', teacher='backbone.layer1', weight=0.5),
    dict(student='backbone.layer2', teacher='backbone.layer2'),
]


def distiller_config(**changes) -> dict:
    """A ToyClassifier of width 4 that learns from one of width 6."""
    return (
        dict(
            type='ovkd_mm.FeatureDistiller',
            student=dict(type='ToyClassifier'),
            teacher=dict(model=dict(type='ToyClassifier', width=6, dropout=0.5), allow_random=True),
            method=METHOD,
            pairs=PAIRS,
            input_shape=(16, 16),
        )
        | changes
    )


@DATASETS.register_module()
class ToyImages(Dataset):
    """Images of 16x16 and their labels, the same ones for the same index."""

    def __init__(self, size: int = 8) -> None:
        self.images, self.labels = batch(size)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return dict(inputs=self.images[index], data_samples=self.labels[index])


def toy_runner(work_dir, model: dict | None = None, iters: int | None = None, epochs: int = 2, **changes) -> Runner:
    """A runner on ToyImages in batches of 4: ``epochs`` of two iterations, or ``iters`` iterations."""
    torch.manual_seed(0)
    settings = dict(
        model=model or distiller_config(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=ToyImages(),
            batch_size=4,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler' if iters is None else 'InfiniteSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs) if iters is None else dict(by_epoch=False, max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        experiment_name=f'toy_{uuid.uuid4().hex}',
        randomness=dict(seed=0),
    )
    return Runner(**(settings | changes))


class Record(Hook):
    """Keeps what ``look(runner)`` returns after every iteration."""

    priority = 'VERY_LOW'

    def __init__(self, look) -> None:
        self.look = look
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(self.look(runner))
