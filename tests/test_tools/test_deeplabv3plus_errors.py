"""What users get wrong with the segmentation configs, by ``--cfg-options`` as they do."""

import argparse
import copy
import functools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_tool
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from voc_folder import write_voc_masks

from ovkd_mm.launch.cli import add_config_arguments

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'deeplabv3plus'
PLAIN = FOLDER / 'deeplabv3plus_r18_voc12aug-513.py'
DISTILLED = FOLDER / 'ofd_deeplabv3plus_r101-r18_voc12aug-513.py'
LISTS = 'ImageSets/Segmentation'
SBD = 'SegmentationClassAug'
TRAIN, VAL = 'train_dataloader.dataset', 'val_dataloader.dataset'
# The small student teaches itself here, since a ResNet-101 takes long to build.
SELF_TAUGHT = [f'model.teacher.model={PLAIN}', 'model.input_shape=(97,97)', 'model.student.backbone.init_cfg=None']


@functools.cache
def _load(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path, *options: str) -> Config:
    init_default_scope('mmseg')
    config = copy.deepcopy(_load(path))
    if options:
        parser = argparse.ArgumentParser()
        add_config_arguments(parser)
        config.merge_from_dict(parser.parse_args(['--cfg-options', *options]).cfg_options)
    return config


def mask(*values: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), size)


@pytest.fixture
def root(tmp_path):
    """A folder in VOC2012's layout with SBD's part, two images a list."""
    for split, ids, folder in (
        ('train', 'ab', 'SegmentationClass'),
        ('aug', 'cd', SBD),
        ('val', 'ef', 'SegmentationClass'),
    ):
        write_voc_masks(tmp_path, {image_id: mask(0, 8, 20, 255) for image_id in ids}, split, folder)
    return tmp_path


def load_data(root: Path, loader: str, *options: str) -> list[str]:
    """Go through a loader of the config; the names of its images."""
    here = [f'{loader}_dataloader.dataset.data_root={root}', f'{loader}_dataloader.batch_size=1']
    here += [f'{loader}_dataloader.num_workers=0', f'{loader}_dataloader.persistent_workers=False']
    config = load(PLAIN, *here, *options)
    batches = Runner.build_dataloader(config[f'{loader}_dataloader'], seed=0)
    return sorted(Path(sample.img_path).stem for batch in batches for sample in batch['data_samples'])


def save(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_good_folder_passes(root):
    assert load_data(root, 'train') == ['a', 'b', 'c', 'd']
    assert load_data(root, 'val') == ['e', 'f']
    alone = [f'{TRAIN}.ann_file={LISTS}/train.txt', f'{TRAIN}.data_prefix.seg_map_path=SegmentationClass']
    shutil.rmtree(root / SBD)
    assert load_data(root, 'train', *alone) == ['a', 'b']


# What to do to the folder, what to set, the loader that it concerns and what the error says.
BAD = {
    'no data root': (
        None,
        [f'{TRAIN}.data_root=nowhere'],
        'train',
        "data_root='nowhere' .*is not a folder.*Point data_",
    ),
    'no list': (None, [f'{VAL}.ann_file={LISTS}/typo.txt'], 'val', rf'{LISTS}/typo\.txt.*ann_file of val_dataloader'),
    'an empty list': (lambda root: (root / LISTS / 'train.txt').write_text('\n'), [], 'train', r'train\.txt. is empty'),
    "no list of SBD's": (lambda root: (root / LISTS / 'aug.txt').unlink(), [], 'train', r'aug\.txt.*voc_aug\.py'),
    "no masks of SBD's": (
        lambda root: shutil.rmtree(root / SBD),
        [],
        'train',
        r'SegmentationClassAug. does not exist.*voc_aug\.py.*seg_map_path=SegmentationClass',
    ),
    'one list with two folders of masks': (
        None,
        [f'{TRAIN}.ann_file={LISTS}/train.txt'],
        'train',
        r'names 1 split lists.*seg_map_path 2 folders',
    ),
    'a list twice': (
        None,
        [f'{TRAIN}.ann_file=[{LISTS}/aug.txt,{LISTS}/aug.txt]', f'{TRAIN}.data_prefix.seg_map_path={SBD}'],
        'train',
        r"2 of the 2 images of '.*aug\.txt' are in '.*aug\.txt' too",
    ),
    'no image': (
        lambda root: (root / 'JPEGImages/d.jpg').unlink(),
        [],
        'train',
        r'1 of the 2 files.*JPEGImages/d\.jpg',
    ),
    'no mask': (
        lambda root: (root / 'SegmentationClass/e.png').unlink(),
        [],
        'val',
        r'1 of the 2 files.*SegmentationClass/e\.png.*data_prefix\.seg_map_path .*val_dataloader',
    ),
    'an image cut off': (lambda root: cut(root / 'JPEGImages/d.jpg'), [], 'train', r'JPEGImages/d\.jpg. is cut off'),
    'a mask cut off': (
        lambda root: cut(root / 'SegmentationClass/e.png'),
        [],
        'val',
        r'the mask .*SegmentationClass/e\.png. cannot be decoded',
    ),
    'a mask of another size': (
        lambda root: save(root / SBD / 'c.png', mask(0, size=(60, 79))),
        [],
        'train',
        r'SegmentationClassAug/c\.png. is 79x60, but its image .*JPEGImages/c\.jpg. is 80x60',
    ),
    'a color picture for a mask': (
        lambda root: save(root / 'SegmentationClass/b.png', np.zeros((60, 80, 3), np.uint8)),
        [],
        'train',
        r'SegmentationClass/b\.png. is not a map of class indices.*palette PNG',
    ),
    'a mask with values out of range': (
        lambda root: save(root / 'SegmentationClass/f.png', mask(0, 21, 128)),
        [],
        'val',
        r'SegmentationClass/f\.png. holds 21 \(1600 pixels\), 128 \(1600 pixels\).*21 classes are 0 to 20',
    ),
    'reduce_zero_label with a background': (
        None,
        [f'{TRAIN}.reduce_zero_label=True'],
        'train',
        r'reduce_zero_label=True of train_dataloader.*background.*Set reduce_zero_label=False',
    ),
    'no reduce_zero_label with masks that count from one': (
        lambda root: save(root / 'SegmentationClass/e.png', mask(1, 2)),
        [f"{VAL}.metainfo.classes=['cup','plate']"],
        'val',
        'count the classes from 1, set reduce_zero_label=True',
    ),
    'too few classes': (
        None,
        [f"{VAL}.metainfo.classes=['background','cup']"],
        'val',
        r'2 classes are 0 to 1.*metainfo',
    ),
    'classes as a string': (None, [f'{TRAIN}.metainfo.classes=cup'], 'train', r"must be a list of names.*'cup'"),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_folder_gets_a_clear_error(root, case):
    damage, options, loader, message = BAD[case]
    if damage:
        damage(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_data(root, loader, *options)


def test_the_tool_says_what_is_wrong_and_ends(root, tmp_path):
    (root / LISTS / 'aug.txt').unlink()
    options = [f'{TRAIN}.data_root={root}', f'{VAL}.data_root={root}', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False', 'model.backbone.init_cfg=None']
    log = run_tool('train', PLAIN, '--work-dir', tmp_path / 'work', '--cfg-options', *options, fails=True)
    assert re.search(r"^error: .*the split list '.*aug\.txt' does not exist\. .*voc_aug\.py", log, re.MULTILINE)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The folder with weights for the teacher, and with such as are none."""
    folder = tmp_path_factory.mktemp('weights')
    for name, classes in (('good', 21), ('other', 3)):
        model = MODELS.build(
            load(PLAIN, f'model.decode_head.num_classes={classes}', 'model.backbone.init_cfg=None').model
        )
        torch.save(model.state_dict(), folder / f'{name}.pth')
    state = torch.load(folder / 'good.pth', weights_only=True)
    state['backbone.conv1.weight'] *= torch.nan
    torch.save(state, folder / 'nan.pth')
    shutil.copy(folder / 'good.pth', folder / 'cut.pth')
    cut(folder / 'cut.pth')
    return folder


def distiller(weights: Path, *options: str) -> torch.nn.Module:
    return MODELS.build(load(DISTILLED, *SELF_TAUGHT, f'model.teacher.checkpoint={weights}/good.pth', *options).model)


BAD_TEACHERS = {
    'nowhere': r'nowhere\.pth',
    'cut': r'cut\.pth. cannot be read as a checkpoint.*cut short',
    'other': r'other\.pth. does not fit.*174 of 176.*conv_seg',
}


@pytest.mark.parametrize('name', BAD_TEACHERS)
def test_bad_weights_of_the_teacher_are_named(weights, name):
    with pytest.raises((ValueError, FileNotFoundError), match=BAD_TEACHERS[name]):
        distiller(weights, f'model.teacher.checkpoint={weights}/{name}.pth')


BAD_PAIRS = {
    'model.pairs.0.student=backbone.layr1': r"pairs\[0\]\.student.*'backbone\.layr1'.*backbone\.layer1",
    'model.pairs.0.student=backbone.layer2': r"'backbone\.layer2' is 13x13, teacher 'backbone\.layer1' is 25x25",
}


@pytest.mark.parametrize('option', BAD_PAIRS)
def test_a_bad_pair_is_named(weights, option):
    with pytest.raises(ValueError, match=BAD_PAIRS[option]):
        distiller(weights, option)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.student.backbone.frozen_stages=1', "student place 'backbone.layer1' comes out with no grad"),
        ('model.teacher.checkpoint={}/nan.pth', 'teacher feature at .*backbone.layer1.* is NaN or infinite'),
    ],
)
def test_what_shows_only_in_training_is_named(weights, option, message):
    model = distiller(weights, option.format(weights)).train()
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 97, 97, dtype=torch.long)))
    batch = dict(inputs=[torch.zeros(3, 97, 97)] * 2, data_samples=[sample] * 2)
    with pytest.raises(ValueError, match=message):
        model(**model.data_preprocessor(batch, training=True), mode='loss')
