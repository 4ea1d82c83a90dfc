import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import readme
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import PascalVOCDataset as MMSegPascalVOCDataset
from mmseg.evaluation import IoUMetric
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader
from voc_folder import in_a_store, write_swelling_png, write_voc_masks

from ovkd_mm.datasets import PascalVOCDataset

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'deeplabv3plus'
LISTS = 'ImageSets/Segmentation'
TRAIN, AUG = f'{LISTS}/train.txt', f'{LISTS}/aug.txt'
MASKS, SBD = 'SegmentationClass', 'SegmentationClassAug'
PREFIX = dict(img_path='JPEGImages', seg_map_path=MASKS)
LOAD = [dict(type='LoadImageFromFile'), dict(type='ovkd_mm.LoadMask')]
JOINED = dict(ann_file=[TRAIN, AUG], data_prefix=dict(img_path='JPEGImages', seg_map_path=[MASKS, SBD]))


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def stripes(*values: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A mask whose columns take the values in turn."""
    return np.resize(np.array(values, np.uint8), size)


@pytest.fixture
def root(tmp_path):
    """A folder in VOC2012's layout: images a and b with VOC's masks, c with SBD's."""
    write_voc_masks(tmp_path, {'a': stripes(0, 8, 255), 'b': stripes(0, 20)})
    return write_voc_masks(tmp_path, {'c': stripes(12, 0)}, split='aug', folder=SBD)


def read(root, **options):
    # Not serialized, since that collects all garbage of the process each time.
    options = {'ann_file': TRAIN, 'data_prefix': PREFIX, 'serialize_data': False, **options}
    return PascalVOCDataset(data_root=str(root), **options)


def names(dataset) -> list[str]:
    return ['/'.join(info['seg_map_path'].split('/')[-2:]) for info in map(dataset.get_data_info, range(len(dataset)))]


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(metainfo=dict(classes=['cat', 'background']), own_masks=False),
        dict(metainfo=dict(classes=('background', 'cat'), palette=[[1, 1, 1], [2, 2, 2]]), own_masks=False),
        dict(indices=1, test_mode=True),
        dict(data_prefix=dict(img_path='JPEGImages')),
    ],
)
def test_a_good_folder_reads_exactly_as_with_mmsegs_class(root, options):
    options = dict(data_root=str(root), ann_file=TRAIN, serialize_data=False, **{'data_prefix': PREFIX, **options})
    ours = PascalVOCDataset(**options)
    options.pop('own_masks', None)
    theirs = MMSegPascalVOCDataset(**options)
    assert len(ours) == len(theirs) > 0
    for index in range(len(ours)):
        info = ours.get_data_info(index)
        assert info.pop('num_classes') == len(theirs.metainfo['classes'])
        assert info.pop('ignore_index') == 255
        assert info == theirs.get_data_info(index)
    assert ours.metainfo == theirs.metainfo
    assert (ours.ann_file, ours.data_prefix) == (theirs.ann_file, theirs.data_prefix)


def test_lists_join_each_with_its_own_folder_of_masks(root):
    dataset = read(root, **JOINED, pipeline=LOAD)
    assert names(dataset) == [f'{MASKS}/a.png', f'{MASKS}/b.png', f'{SBD}/c.png']
    assert [dataset[i]['gt_seg_map'][0, 0] for i in range(3)] == [0, 0, 12]


def test_one_folder_of_masks_serves_all_lists(root):
    shutil.copytree(root / MASKS, root / SBD, dirs_exist_ok=True)
    dataset = read(root, ann_file=[TRAIN, AUG], data_prefix=dict(img_path='JPEGImages', seg_map_path=SBD))
    assert names(dataset) == [f'{SBD}/a.png', f'{SBD}/b.png', f'{SBD}/c.png']


def test_overrides_turn_lists_into_single_ones(root):
    options = dict(data_root=str(root), serialize_data=False, **JOINED)
    config = Config(dict(dataset=dict(type='ovkd_mm.PascalVOCDataset', **options)))
    assert len(DATASETS.build(config.dataset)) == 3
    config.merge_from_dict({'dataset.ann_file': AUG, 'dataset.data_prefix.seg_map_path': SBD})
    assert names(DATASETS.build(config.dataset)) == [f'{SBD}/c.png']


def test_more_folders_than_lists_are_an_error_that_names_both(root):
    with pytest.raises(ValueError, match=rf'ann_file.*1 split lists, \[{TRAIN!r}\].*seg_map_path 2 folders.*{SBD}'):
        read(root, **{**JOINED, 'ann_file': TRAIN})
    with pytest.raises(ValueError, match=r'ann_file of train_dataloader\.dataset is empty'):
        read(root, ann_file=[])


def test_an_image_in_two_lists_is_an_error_that_names_it_and_both(root):
    write_voc_masks(root, {'c': stripes(0), 'b': stripes(0)}, split='aug', folder=SBD)
    with pytest.raises(ValueError, match=r"1 of the 2 images of '.*aug\.txt' are in '.*/train\.txt' too.* 'b'"):
        read(root, **JOINED)


def test_an_id_twice_in_a_list_or_a_list_twice_is_an_error_that_names_it(root):
    with pytest.raises(ValueError, match=r"2 of the 2 images of '.*train\.txt' are in '.*train\.txt' too.* 'a'"):
        read(root, ann_file=[TRAIN, TRAIN])
    (root / TRAIN).write_text('a\nb\n a\n')
    with pytest.raises(ValueError, match=r"train\.txt' names 'a' 2 times.*RepeatDataset"):
        read(root)


@pytest.mark.parametrize('image_id', ['../a', 'x/../../a', '/etc/a', '..\\a'])
def test_an_id_cannot_lead_out_of_the_folder(root, image_id):
    (root / TRAIN).write_text(f'a\n{image_id}\n')
    with pytest.raises(ValueError, match=rf"train\.txt' .*{re.escape(repr(image_id))}.*out of"):
        read(root)


def test_an_id_may_lie_in_a_folder_of_its_own_and_have_dots(root):
    write_voc_masks(root, {'a..b': stripes(0)})
    for folder, suffix in (('JPEGImages', 'jpg'), (MASKS, 'png')):
        (root / folder / 'cats').mkdir()
        (root / folder / f'a..b.{suffix}').rename(root / folder / 'cats' / f'a..b.{suffix}')
    (root / TRAIN).write_text('cats/a..b\n')
    assert len(read(root)) == 1


def test_blank_lines_in_a_list_are_no_images(root):
    (root / TRAIN).write_text('\na\n\n  b \n\n')
    assert names(read(root)) == [f'{MASKS}/a.png', f'{MASKS}/b.png']


def test_nothing_is_looked_for_before_a_lazy_data_set_is_asked_for_data(tmp_path):
    dataset = read(tmp_path / 'nowhere', lazy_init=True)
    assert dataset.metainfo['classes'] == MMSegPascalVOCDataset.METAINFO['classes']
    with pytest.raises(FileNotFoundError, match='nowhere'):
        dataset.full_init()


def test_a_missing_data_root_names_itself_the_key_and_where_voc_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read(tmp_path / 'nowhere', **JOINED)
    for part in (str(tmp_path / 'nowhere'), 'is not a folder', 'data_root', 'train_dataloader', 'host.robots.ox'):
        assert part in str(caught.value)
    with pytest.raises(FileNotFoundError, match='is not a folder') as caught:
        read(tmp_path / 'nowhere', ann_file=AUG)
    assert 'voc_aug.py' not in str(caught.value)


def test_a_missing_or_empty_list_is_named_with_its_key(root):
    for path in ('typo.txt', f'{LISTS}'):
        with pytest.raises(FileNotFoundError, match=rf'{path}.*does not exist\. .*ann_file of train_dataloader'):
            read(root, ann_file=path)
    (root / TRAIN).write_text('\n')
    with pytest.raises(ValueError, match=r'train\.txt.* is empty.*ann_file'):
        read(root)


@pytest.mark.parametrize('gone', [AUG, SBD, f'{SBD}/c.png'])
def test_without_sbds_part_the_error_says_how_to_make_it_and_how_to_do_without(root, gone):
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read(root, ann_file=[TRAIN, AUG], data_prefix=dict(img_path='JPEGImages', seg_map_path=[MASKS, f'{SBD}/']))
    for part in (str(path), 'voc_aug.py', 'benchmark.tgz', f'ann_file={TRAIN}', f'seg_map_path={MASKS}'):
        assert part in str(caught.value)


@pytest.mark.parametrize(('folder', 'key'), [('JPEGImages', 'img_path'), (MASKS, 'seg_map_path')])
def test_missing_folders_and_files_are_named_with_their_key(root, folder, key):
    file = next((root / folder).glob('b.*'))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 of the 2 files.*train\.txt.*{file}.*data_prefix\.{key} '):
        read(root)
    shutil.rmtree(root / folder)
    with pytest.raises(
        FileNotFoundError, match=rf"'{root / folder}' does not exist\..*data_prefix\.{key} .*of val_data"
    ):
        read(root, test_mode=True)


def test_a_list_with_paths_in_it_is_told_from_one_with_ids(root):
    (root / TRAIN).write_text('JPEGImages/a.jpg SegmentationClass/a.png\n')
    with pytest.raises(FileNotFoundError, match=r'one image id a line, without folder and suffix'):
        read(root)
    (root / TRAIN).write_text('a\nb -1\n')
    with pytest.raises(FileNotFoundError, match=r"without folder and suffix.*'b -1' has a space in it.*first column"):
        read(root)


def test_vocs_background_cannot_be_reduced_away(root):
    for classes, own_masks in (
        (None, None),
        (None, True),
        (('cat', 'dog'), False),
        (('background', 'cup'), None),
        (('background', 'cat'), True),
    ):
        with pytest.raises(ValueError, match=r'reduce_zero_label=True of train_dataloader.*background'):
            read(root, reduce_zero_label=True, metainfo=classes and dict(classes=classes), own_masks=own_masks)


def test_classes_given_as_one_string_are_refused(root):
    with pytest.raises(ValueError, match=r"metainfo\.classes must be a list.*'cat'"):
        read(root, metainfo=dict(classes='cat'))


def test_classes_may_stand_in_a_file(root, tmp_path):
    (tmp_path / 'classes.txt').write_text('background\ncat\n')
    dataset = read(root, metainfo=dict(classes=str(tmp_path / 'classes.txt')), own_masks=False)
    assert dataset.metainfo['classes'] == ['background', 'cat']
    assert dataset.metainfo['label_map'][8] == 1


PETS = ['background', 'cat', 'dog']  # in VOC's masks 0, 8 and 12


def test_vocs_classes_are_picked_out_of_vocs_masks(root):
    dataset = read(root, metainfo=dict(classes=['background', 'cat']), own_masks=False, pipeline=LOAD)
    assert np.unique(dataset[0]['gt_seg_map']).tolist() == [0, 1, 255]
    assert np.unique(dataset[1]['gt_seg_map']).tolist() == [0, 255]


@pytest.mark.parametrize(
    ('classes', 'own', 'vocs'),
    [
        (PETS, "'cat' is 1 in", 'it is 8,'),
        (tuple(PETS), "'cat' is 1 in", 'it is 8,'),
        (['background', 'dog', 'aeroplane'], "'dog' is 1 in", 'it is 12,'),
        (['background', 'aeroplane'], "'aeroplane' is 1 in", 'it is 1,'),
    ],
)
def test_names_that_voc_has_too_leave_open_what_the_masks_count_so_it_must_be_said(root, classes, own, vocs):
    with pytest.raises(ValueError, match=r'metainfo\.classes of train_dataloader\.dataset') as caught:
        read(root, metainfo=dict(classes=classes))
    for part in (str(list(classes)), f'own_masks=True of it if {own}', f'own_masks=False if {vocs}'):
        assert part in str(caught.value)


def test_names_that_voc_has_too_are_the_indices_in_own_masks(tmp_path):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    dataset = read(tmp_path, metainfo=dict(classes=PETS), own_masks=True, pipeline=LOAD)
    assert np.array_equal(dataset[0]['gt_seg_map'], stripes(0, 1, 2, 255))
    vocs = dict(zip(*map(MMSegPascalVOCDataset.METAINFO.get, ('classes', 'palette')), strict=True))
    assert dataset.metainfo['palette'] == [vocs[name] for name in PETS]
    write_voc_masks(tmp_path, {'a': stripes(0, 8, 12)})
    with pytest.raises(ValueError, match=r'holds 8 .*12 .*The 3 classes are 0 to 2'):
        dataset[0]


def test_the_readmes_options_for_own_classes_keep_all_of_them(tmp_path):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    write_voc_masks(tmp_path, {'b': stripes(2, 1)}, split='val')
    config = Config.fromfile(CONFIGS / 'deeplabv3plus_r18_voc12aug-513.py')
    text = (CONFIGS / 'README.md').read_text()
    config.merge_from_dict(readme.cfg_options(text, 'train_dataloader.dataset.data_root', {'data/mine': str(tmp_path)}))
    config.merge_from_dict(readme.cfg_options(text, 'metainfo.classes'))
    for loader, values in ((config.train_dataloader, [0, 1, 2, 255]), (config.val_dataloader, [1, 2])):
        dataset = DATASETS.build(loader.dataset | dict(pipeline=LOAD))
        assert len(dataset.metainfo['classes']) == config.model.decode_head.num_classes
        assert np.unique(dataset[0]['gt_seg_map']).tolist() == values


def test_the_readmes_options_make_camvids_void_void(tmp_path):
    for split in ('train', 'val'):
        write_voc_masks(tmp_path, {split: stripes(0, 10, 11)}, split=split)
    config = Config.fromfile(CONFIGS / 'deeplabv3plus_r18_voc12aug-513.py')
    text = (CONFIGS / 'README.md').read_text()
    config.merge_from_dict(readme.cfg_options(text, 'train_dataloader.dataset.data_root', {'data/mine': str(tmp_path)}))
    config.merge_from_dict(readme.cfg_options(text, 'ignore_index'))
    for loader in (config.train_dataloader, config.val_dataloader):
        dataset = DATASETS.build(loader.dataset | dict(metainfo=dict(classes=list('abcdefghijk')), pipeline=LOAD))
        assert dataset[0]['gt_seg_map'][0, :3].tolist() == [0, 10, 255]


def test_own_masks_may_count_the_names_that_voc_has_from_one(tmp_path):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    options = dict(metainfo=dict(classes=PETS[1:]), own_masks=True, reduce_zero_label=True)
    assert read(tmp_path, **options, pipeline=LOAD)[0]['gt_seg_map'][0, :4].tolist() == [255, 0, 1, 255]


def test_what_the_masks_count_need_not_be_said_where_there_is_no_doubt(root):
    for options in (
        dict(metainfo=dict(classes=MMSegPascalVOCDataset.METAINFO['classes'])),
        dict(metainfo=dict(classes=[*PETS, 'cup'])),
        dict(metainfo=dict(classes=PETS), data_prefix=dict(img_path='JPEGImages')),
    ):
        assert len(read(root, **options)) == 2


def test_own_names_are_not_in_vocs_masks(root):
    with pytest.raises(ValueError, match=r"own_masks=False of train_dataloader.*'cup', 'plate'.*own_masks=True"):
        read(root, metainfo=dict(classes=['background', 'cup', 'plate']), own_masks=False)


@pytest.mark.parametrize('palette', [None, [[9, 9, 9], [8, 8, 8], [7, 7, 7]]])
def test_own_classes_are_the_indices_in_the_masks(tmp_path, palette):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    metainfo = dict(classes=['background', 'cup', 'plate'], **({'palette': palette} if palette else {}))
    dataset = read(tmp_path, metainfo=metainfo, pipeline=[*LOAD, dict(type='PackSegInputs')])
    assert dataset.metainfo['label_map'] is None
    assert len(dataset.metainfo['palette']) == 3
    assert palette in (None, dataset.metainfo['palette'])
    mask = dataset[0]['data_samples'].gt_sem_seg.data
    assert torch.equal(mask[0], torch.from_numpy(stripes(0, 1, 2, 255)).long())
    # A perfect segmenter gets all of it.
    metric = IoUMetric()
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [dict(pred_sem_seg=dict(data=mask), gt_sem_seg=dict(data=mask), img_path='a.jpg')])
    assert metric.evaluate(1)['mIoU'] == 100


def test_own_classes_may_count_from_one(tmp_path):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    dataset = read(tmp_path, metainfo=dict(classes=['cup', 'plate']), reduce_zero_label=True, pipeline=LOAD)
    assert dataset[0]['gt_seg_map'][0, :4].tolist() == [255, 0, 1, 255]


def test_a_void_label_of_ones_own_is_neither_learned_nor_counted(tmp_path):
    write_voc_masks(tmp_path, {'a': stripes(0, 1, 2, 255)})
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    metainfo = dict(classes=['sky', 'road'])
    mask = read(tmp_path, metainfo=metainfo, ignore_index=2, pipeline=pipeline)[0]['data_samples'].gt_sem_seg.data
    assert mask[0, 0, :4].tolist() == [0, 1, 255, 255]
    scores = torch.zeros(1, 2, *mask.shape[1:]).scatter_(1, mask.clamp(max=1)[None], 50.0)
    assert CrossEntropyLoss()(scores, mask, ignore_index=255) == 0
    metric = IoUMetric()
    metric.dataset_meta = metainfo
    metric.process({}, [dict(pred_sem_seg=dict(data=mask.clamp(max=1)), gt_sem_seg=dict(data=mask), img_path='a.jpg')])
    assert metric.evaluate(1)['mIoU'] == 100


def test_vocs_masks_may_have_another_void_label_too(root):
    write_voc_masks(root, {'a': stripes(0, 8, 12, 21)})
    dataset = read(root, metainfo=dict(classes=PETS), own_masks=False, ignore_index=21, pipeline=LOAD)
    assert dataset[0]['gt_seg_map'][0, :4].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize('ignore_index', [None, [11], '11', 11.0, True])
def test_the_void_label_is_one_whole_number(root, ignore_index):
    with pytest.raises(TypeError, match=r'ignore_index of train_dataloader\.dataset must be one whole number'):
        read(root, ignore_index=ignore_index)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize('test_mode', [False, True])
def test_a_broken_image_is_named_when_it_is_loaded_even_by_a_loaders_worker(root, test_mode):
    path = root / 'JPEGImages' / 'b.jpg'
    dataset = read(root, pipeline=LOAD, test_mode=test_mode)
    cut(path)
    with pytest.raises(ValueError, match=re.escape(f"'{path}' is cut off")):
        dataset[1]
    path.write_bytes(b'<html>404</html>')
    with pytest.raises(ValueError, match=re.escape(f"'{path}' cannot be decoded")):
        list(DataLoader(dataset, batch_size=1, num_workers=int(test_mode), collate_fn=list))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"'{path}' does not exist")):
        dataset[1]


def test_a_broken_mask_is_not_blamed_on_the_image(root):
    path = root / MASKS / 'b.png'
    cut(path)
    with pytest.raises(ValueError, match=re.escape(f"the mask '{path}' cannot be decoded")):
        read(root, pipeline=LOAD)[1]


def test_images_and_masks_that_swell_to_gigabytes_are_refused_before_they_are_decoded(root):
    dataset = read(root, pipeline=LOAD)
    mask = write_swelling_png(root / MASKS / 'b.png', 13_400)
    with pytest.raises(ValueError, match=re.escape(f"the mask '{mask}' cannot be decoded")) as caught:
        dataset[1]
    assert isinstance(caught.value.__cause__, Image.DecompressionBombError)
    image = write_swelling_png(root / 'JPEGImages' / 'b.jpg', 13_400)
    with pytest.raises(ValueError, match=re.escape(f"the image '{image}' is too large")):
        dataset[1]


def test_real_images_and_masks_pass(voc_animals):
    prefix = dict(img_path='JPEGImages', seg_map_path=SBD)
    dataset = read(voc_animals / 'VOC2012', ann_file=f'{LISTS}/mini_val.txt', data_prefix=prefix, pipeline=LOAD)
    assert len(dataset) == 80
    assert all(dataset[i]['gt_seg_map'].shape == dataset[i]['img'].shape[:2] for i in range(80))


def test_lists_images_and_masks_may_lie_in_another_store(root, monkeypatch):
    options = dict(backend_args=in_a_store(root, monkeypatch))
    dataset = read('/elsewhere', **options, pipeline=[step | options for step in LOAD])
    assert [dataset[i]['gt_seg_map'].shape for i in range(2)] == [(20, 30)] * 2
