import re
import subprocess
import sys

import pytest
import torch
from mmdet.datasets import VOCDataset as MMDetVOCDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.evaluation import VOCMetric
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.registry import DATASETS
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader
from voc_folder import in_a_store, write_swelling_png, write_voc

from ovkd_mm.datasets import VOCDataset

CAT, DOG = ('cat', 11, 21, 50, 51), ('dog', 2, 3, 40, 44)
TRAIN = 'VOC2012/ImageSets/Main/train.txt'
LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture(autouse=True)
def _mmdet():
    init_default_scope('mmdet')


@pytest.fixture
def devkit(tmp_path):
    write_voc(tmp_path / 'VOC2012', {'a': [CAT, DOG], 'b': [DOG], 'c': []})
    return tmp_path


def read(devkit, **options):
    # Not serialized, since that collects all garbage of the process each time.
    return VOCDataset(**{'data_root': str(devkit), 'ann_file': TRAIN, 'serialize_data': False, **options})


def annotate(devkit, text: str, image_id: str = 'b'):
    path = devkit / 'VOC2012' / 'Annotations' / f'{image_id}.xml'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=41)),
        dict(filter_cfg=dict(filter_empty_gt=True), test_mode=True),
        dict(metainfo=dict(classes=['dog', 'cat'])),
        dict(indices=2, serialize_data=False),
    ],
)
def test_a_good_folder_reads_exactly_as_with_mmdets_class(devkit, options):
    options = dict(data_root=str(devkit), ann_file=TRAIN, data_prefix=dict(sub_data_root='VOC2012/'), **options)
    ours, theirs = VOCDataset(**options), MMDetVOCDataset(**options)
    assert len(ours) == len(theirs) > 0
    assert [ours.get_data_info(i) for i in range(len(ours))] == [theirs.get_data_info(i) for i in range(len(theirs))]
    assert ours.ann_file == theirs.ann_file
    assert ours.metainfo['classes'] == theirs.metainfo['classes']


def test_boxes_count_from_zero(devkit):
    info = read(devkit).get_data_info(0)
    assert [instance['bbox'] for instance in info['instances']] == [[10, 20, 49, 50], [1, 2, 39, 43]]


def test_the_folder_of_a_split_is_the_one_that_holds_image_sets(devkit, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(devkit.parent)
    for data_root, ann_file in (
        (str(devkit), TRAIN),
        (str(devkit / 'VOC2012'), 'ImageSets/Main/train.txt'),
        ('', str(devkit / TRAIN)),
        (devkit.name, TRAIN),
    ):
        dataset = read(devkit, data_root=data_root, ann_file=ann_file, pipeline=LOAD)
        assert dataset[0]['img'].shape == (60, 80, 3)
        assert dataset.metainfo['dataset_type'] == ('VOC2012' if 'VOC2012' in dataset.sub_data_root else None)


def test_a_named_folder_goes_before_the_one_of_the_split(devkit):
    (devkit / 'lists').mkdir()
    (devkit / 'lists' / 'mine.txt').write_text('b')
    dataset = VOCDataset(
        data_root=str(devkit), ann_file='lists/mine.txt', data_prefix=dict(sub_data_root='VOC2012'), pipeline=LOAD
    )
    assert dataset[0]['img_path'] == str(devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg')


def test_several_splits_follow_one_another_each_from_its_own_folder(devkit):
    write_voc(devkit / 'VOC2007', {'z': [CAT], 'y': [DOG]}, split='trainval')
    dataset = VOCDataset(data_root=str(devkit), ann_file=['VOC2007/ImageSets/Main/trainval.txt', TRAIN], pipeline=LOAD)
    assert [dataset[i]['img_id'] for i in range(5)] == ['z', 'y', 'a', 'b', 'c']
    assert [dataset[i]['img_path'].split('/')[-3] for i in range(5)] == ['VOC2007'] * 2 + ['VOC2012'] * 3
    assert dataset.metainfo['dataset_type'] == 'VOC2007'


def test_an_id_twice_in_a_split_or_a_split_twice_is_an_error_that_names_it(devkit):
    with pytest.raises(ValueError, match=r"3 of the 3 images of '.*train\.txt' are in '.*train\.txt' too.* 'a'"):
        read(devkit, ann_file=[TRAIN, TRAIN])
    with pytest.raises(ValueError, match='3 of the 3 images'):
        read(devkit, ann_file=[TRAIN, f'./{TRAIN}'])
    write_voc(devkit / 'VOC2012', {'y': [DOG], 'b': [DOG]}, split='more')
    with pytest.raises(ValueError, match=r"1 of the 2 images of '.*more\.txt' are in '.*train\.txt' too.* 'b'"):
        read(devkit, ann_file=[TRAIN, 'VOC2012/ImageSets/Main/more.txt'])
    (devkit / TRAIN).write_text('a\nb\n a\nb\na\n')
    with pytest.raises(ValueError, match=r"train\.txt' names 'a' 3 times.*RepeatDataset"):
        read(devkit)


def test_folders_may_use_the_same_ids(devkit):
    write_voc(devkit / 'VOC2007', {'a': [CAT]})
    assert len(read(devkit, ann_file=['VOC2007/ImageSets/Main/train.txt', TRAIN])) == 4


def test_repeating_a_data_set_on_purpose_stays(devkit):
    dataset = dict(type='ovkd_mm.VOCDataset', data_root=str(devkit), ann_file=TRAIN)
    assert len(DATASETS.build(dict(type='RepeatDataset', times=2, dataset=dataset))) == 6


@pytest.mark.parametrize('image_id', ['../a', 'x/../../a', '/etc/a', '..\\a'])
def test_an_id_cannot_lead_out_of_the_folder(devkit, image_id):
    (devkit / TRAIN).write_text(f'a\n{image_id}\n')
    with pytest.raises(ValueError, match=rf"train\.txt' .*{re.escape(repr(image_id))}.*out of"):
        read(devkit)


def test_blank_lines_in_a_split_are_no_images(devkit):
    (devkit / TRAIN).write_text('\na\n\n  b \n\n')
    assert len(read(devkit)) == 2


def perfect_map(dataset) -> float:
    """The mAP of a detector that returns the ground truth."""
    metric = VOCMetric()
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        instances = dataset.get_data_info(index)['instances']
        boxes = torch.tensor([instance['bbox'] for instance in instances]).float().reshape(-1, 4)
        labels = torch.tensor([instance['bbox_label'] for instance in instances]).long()
        none = dict(bboxes=boxes[:0], labels=labels[:0])
        found = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))
        metric.process(
            {}, [dict(gt_instances=dict(bboxes=boxes, labels=labels), ignored_instances=none, pred_instances=found)]
        )
    return metric.evaluate(len(dataset))['pascal_voc/mAP']


def test_the_toolkits_metric_takes_a_folder_of_any_name(tmp_path):
    write_voc(tmp_path / 'my photos', {'a': [CAT, DOG]})
    dataset = VOCDataset(data_root=str(tmp_path), ann_file='my photos/ImageSets/Main/train.txt')
    assert dataset.metainfo['dataset_type'] is None
    assert perfect_map(dataset) == pytest.approx(1)


def test_the_toolkits_metric_names_own_classes_even_in_a_voc2012_folder(tmp_path):
    """With the type ``VOC2012`` it would run out of VOC's twenty names."""
    classes = [f'kind {i}' for i in range(25)]
    write_voc(tmp_path / 'VOC2012', {'a': [(name, 5, 5, 9 + i, 20) for i, name in enumerate(classes)]})
    dataset = VOCDataset(data_root=str(tmp_path), ann_file=TRAIN, metainfo=dict(classes=classes))
    assert perfect_map(dataset) == pytest.approx(1)


def test_configs_find_it_by_name(devkit):
    dataset = DATASETS.build(dict(type='ovkd_mm.VOCDataset', data_root=str(devkit), ann_file=TRAIN))
    assert type(dataset) is VOCDataset


def test_a_missing_data_root_names_itself_the_key_and_where_voc_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        VOCDataset(data_root=str(tmp_path / 'nowhere'), ann_file=TRAIN)
    for part in (str(tmp_path / 'nowhere'), 'data_root', 'train_dataloader', 'download_dataset.py', 'host.robots.ox'):
        assert part in str(caught.value)


def test_a_missing_split_names_itself_and_the_loader_it_is_for(devkit):
    with pytest.raises(FileNotFoundError, match=r'Main/typo\.txt.*ann_file of val_dataloader') as caught:
        VOCDataset(data_root=str(devkit), ann_file='VOC2012/ImageSets/Main/typo.txt', test_mode=True)
    assert 'is not a folder' not in str(caught.value)


def test_no_split_and_an_empty_split_are_errors(devkit):
    with pytest.raises(ValueError, match='ann_file is empty'):
        VOCDataset(data_root=str(devkit), ann_file=[])
    (devkit / TRAIN).write_text('\n')
    with pytest.raises(ValueError, match=r'Main/train\.txt.* is empty'):
        read(devkit)


def test_a_filter_that_leaves_nothing_is_named(devkit):
    with pytest.raises(ValueError, match=r"filter_cfg=\{'min_size': 99\} leaves none of the 3 images.*train\.txt"):
        read(devkit, filter_cfg=dict(min_size=99))


def test_a_missing_annotation_is_named_with_the_split_that_wants_it(devkit):
    path = annotate(devkit, '')
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(path)) + r".*'b'.*train\.txt"):
        read(devkit)


def test_a_list_with_columns_or_suffixes_is_told_from_one_with_ids(devkit):
    for line, reason in (
        ('b  1', "'b  1' has a space in it.*first column alone"),
        ('b.jpg', 'without folder and suffix'),
    ):
        (devkit / TRAIN).write_text(f'a\n{line}\n')
        with pytest.raises(FileNotFoundError, match=rf"{re.escape(line)}\.xml' does not exist.*train\.txt.*{reason}"):
            read(devkit)


def test_an_id_may_have_spaces(devkit):
    write_voc(devkit / 'VOC2012', {'a photo': [CAT]})
    assert read(devkit, pipeline=LOAD)[0]['img_id'] == 'a photo'


BOX = '<size><width>80</width><height>60</height></size><object><name>cat</name><bndbox>{}</bndbox></object>'
CORNERS = '<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>'


@pytest.mark.parametrize(
    ('xml', 'reason'),
    [
        ('', 'not well-formed'),
        ('<annotation><size>', 'not well-formed'),
        (
            f'<a xmlns="urn:x">{BOX.format(CORNERS.format(1, 2, 3, 4))}</a>',
            "the XML namespace 'urn:x': take the xmlns out",
        ),
        (f'<a>{BOX.format("<xmin>3</xmin>")}</a>', 'not a VOC annotation'),
        ('<a><size><width>80</width></size></a>', 'not a VOC annotation'),
        ('<a><size><width>80</width><height>60</height></size><object/></a>', 'not a VOC annotation'),
        (f'<a>{BOX.format(CORNERS.format(1, 2, "nan", 4))}</a>', 'NaN'),
        (f'<a>{BOX.format(CORNERS.format(1, 2, "inf", 4))}</a>', 'not a VOC annotation'),
        (f'<a>{BOX.format(CORNERS.format(1, 2, "wide", 4))}</a>', 'wide'),
        (f'<a>{BOX.format(CORNERS.format(30, 2, 20, 40))}</a>', "'cat'.*xmax 20.* less than xmin 30"),
        (f'<a>{BOX.format(CORNERS.format(3, 20, 20, 19))}</a>', "'cat'.*ymax 19.* less than ymin 20"),
        (f'<a>{BOX.format(CORNERS.format(3.9, 20, 3.1, 30))}</a>', "'cat'.*xmax 3.1.* less than xmin 3.9"),
        (f'<a>{BOX.format(CORNERS.format(81, 2, 120, 40))}</a>', 'outside the image of 80x60'),
        (f'<a>{BOX.format(CORNERS.format(2, 61, 40, 61))}</a>', 'outside the image of 80x60'),
        (f'<a>{BOX.format(CORNERS.format(-30, 2, 1, 40))}</a>', 'outside the image of 80x60'),
        (f'<a>{BOX.format(CORNERS.format(2, 0, 40, 0))}</a>', 'outside the image of 80x60'),
        ('<a><size><width>0</width><height>60</height></size></a>', 'is 0x60'),
        ('<a><size><width>80</width><height>0</height></size></a>', 'is 80x0'),
    ],
)
def test_a_broken_annotation_is_named_with_what_is_wrong(devkit, xml, reason):
    path = annotate(devkit, xml)
    with pytest.raises(ValueError, match=re.escape(str(path)) + f'.*{reason}'):
        read(devkit)


READ = """
import shutil
import sys
from ovkd_mm.datasets import VOCDataset
root, annotation, *bombs = sys.argv[1:]
for bomb in bombs:
    print(bomb, flush=True)
    shutil.copy(bomb, annotation)
    try:
        VOCDataset(data_root=root, ann_file='ImageSets/Main/train.txt', serialize_data=False)
    except ValueError as error:
        print(error)
"""
BOMBS = {  # XML's entities: what they are declared as, and what uses them
    'billions of laughs': (
        '<!ENTITY l0 "lol">' + ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12)),
        '&l11;',
    ),
    'a chain deeper than the stack': (
        '<!ENTITY l0 "cat">' + ''.join(f'<!ENTITY l{i} "&l{i - 1};">' for i in range(1, 200_000)),
        '&l199999;',
    ),
    'a file of the machine': ('<!ENTITY l0 SYSTEM "file:///etc/passwd">', '&l0;'),
    'a file by way of a parameter': ('<!ENTITY % l0 SYSTEM "file:///etc/passwd"> %l0;', 'cat'),
}


def test_entities_neither_swell_nor_read_files_nor_end_the_process(devkit, tmp_path):
    bombs = []
    for name, (declared, used) in BOMBS.items():
        xml = f'<!DOCTYPE a [{declared}]><a>{BOX.format(CORNERS.format(1, 2, 3, 4)).replace("cat", used)}</a>'
        for encoding in ('utf-8', 'utf-16'):
            bombs.append(tmp_path / f'{name}, {encoding}')
            bombs[-1].write_bytes(xml.encode(encoding))
    annotation = devkit / 'VOC2012' / 'Annotations' / 'b.xml'
    command = [sys.executable, '-c', READ, devkit / 'VOC2012', annotation, *bombs]  # another process: it may die
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[::2] == [str(bomb) for bomb in bombs]
    assert all(f"{str(annotation)!r}: it declares the entity 'l0'" in error for error in said[1::2])


def test_a_file_name_in_an_annotation_opens_nothing(devkit):
    annotate(devkit, '<a><folder>/etc</folder><filename>../../passwd</filename><path>/etc/passwd</path></a>')
    assert read(devkit, pipeline=LOAD)[1]['img_path'] == str(devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg')


def test_an_image_that_swells_to_gigabytes_is_refused_before_it_is_decoded(devkit):
    path = write_swelling_png(devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg', 13_400)
    assert path.stat().st_size < 100_000

    def decode(results):
        raise AssertionError('it was decoded')

    dataset = read(devkit, pipeline=[decode])
    with pytest.raises(ValueError, match=re.escape(f"'{path}' is too large") + f'.*{13_400**2} pixels'):
        dataset[1]


@pytest.mark.parametrize(
    ('corners', 'expected'),
    [
        ((3, 20, 3, 40), [2, 19, 3, 39]),
        ((3, 20, 30, 20), [2, 19, 29, 20]),
        ((1, 1, 1, 1), [0, 0, 1, 1]),
        ((80, 60, 80, 60), [79, 59, 80, 60]),  # the last pixel of the image
        ((3.2, 20, 3.9, 40), [2, 19, 3, 39]),
        ((3, 20, 4, 21), [2, 19, 3, 20]),  # mmdet counts the last pixel of no box, so two are as wide as one
    ],
)
def test_a_box_of_one_pixel_keeps_it(devkit, corners, expected):
    annotate(devkit, f'<a>{BOX.format(CORNERS.format(*corners))}</a>')
    boxes = LoadAnnotations(with_bbox=True)(read(devkit).get_data_info(1))['gt_bboxes'].tensor
    assert boxes.tolist() == [expected]
    priors = torch.tensor([[10.0, 10, 40, 40]])
    assert DeltaXYWHBBoxCoder().encode(priors, boxes).isfinite().all()  # an SSD can learn it


def test_a_box_of_one_pixel_is_no_smaller_than_one_pixel(devkit):
    annotate(devkit, f'<a>{BOX.format(CORNERS.format(3, 20, 3, 40))}</a>')
    for bbox_min_size, ignored in ((1, 0), (2, 1)):
        info = read(devkit, filter_cfg=dict(bbox_min_size=bbox_min_size)).get_data_info(1)
        assert info['instances'][0]['ignore_flag'] == ignored


CLICK, FLAT = (504, 337, 504, 337), (30, 20, 30, 40)  # a click that went wrong, as BCCD has two; VOC's box of one pixel
BROKEN = {
    (30, 20, 20, 40): 'has xmax 20, less than xmin 30',
    (30, 50, 40, 20): 'has ymax 20, less than ymin 50',
    (641, 20, 700, 40): 'lies outside the image of 640x480',
    (-9, 20, 0, 40): 'lies outside the image of 640x480',
    (-9, 20, 1, 40): 'lies outside the image of 640x480',
}
SPLIT = 'ImageSets/Main/train.txt'


@pytest.fixture
def blemished(tmp_path):
    """Image a has a good box among the degenerate ones, b a good one and c degenerate ones alone."""
    boxes = [('dog', *corners) for corners in (CLICK, FLAT, *BROKEN)]
    return write_voc(tmp_path, {'a': [boxes[0], CAT, *boxes[1:]], 'b': [DOG], 'c': boxes[:2]}, size=(480, 640))


@pytest.fixture
def logged(caplog):
    """What goes to the current logger."""
    logger = MMLogger.get_instance('degenerate boxes')
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    del MMLogger._instance_dict['degenerate boxes']


@pytest.mark.parametrize('test_mode', [False, True])
def test_degenerate_boxes_are_left_out_on_request_and_counted_with_examples(blemished, test_mode, logged):
    dataset = read(blemished, ann_file=SPLIT, skip_degenerate_boxes=True, test_mode=test_mode)
    assert [dataset.get_data_info(i)['instances'] for i in range(3)] == [
        [dict(bbox=[10, 20, 49, 50], bbox_label=7, ignore_flag=0)],
        [dict(bbox=[1, 2, 39, 43], bbox_label=11, ignore_flag=0)],
        [],
    ]
    (record,) = logged.records
    assert record.levelname == 'WARNING'
    said = record.getMessage()
    folder = blemished / 'Annotations'
    assert said.startswith(f"degenerate boxes left out of ['{blemished / SPLIT}']: 9, such as '{folder}/a.xml': the ")
    assert f"'{folder}/a.xml': the box of 'dog' begins and ends in one pixel, ymin 337 to ymax 337" in said
    assert said.count('.xml') == 3


def test_good_boxes_are_all_kept_without_a_word(devkit, logged):
    dataset = read(devkit, skip_degenerate_boxes=True)
    assert [len(dataset.get_data_info(i)['instances']) for i in range(3)] == [2, 1, 0]
    assert not logged.records


def test_an_image_whose_boxes_are_all_left_out_is_one_without_boxes(blemished):
    write_voc(blemished, {'d': []}, size=(480, 640), split='none')
    load = [*LOAD, dict(type='LoadAnnotations', with_bbox=True)]
    images = [read(blemished, ann_file=SPLIT, skip_degenerate_boxes=True, pipeline=load)[2]]
    images += [read(blemished, ann_file='ImageSets/Main/none.txt', pipeline=load)[0]]
    for image in images:
        assert image['gt_bboxes'].tensor.shape == (0, 4)
        assert image['gt_bboxes_labels'].shape == image['gt_ignore_flags'].shape == (0,)
    left = read(blemished, ann_file=SPLIT, skip_degenerate_boxes=True, filter_cfg=dict(filter_empty_gt=True))
    assert [left.get_data_info(i)['img_id'] for i in range(len(left))] == ['a', 'b']


@pytest.mark.parametrize('corners', BROKEN)
@pytest.mark.parametrize(('test_mode', 'key'), [(False, 'train_dataloader'), (True, 'val_dataloader')])
def test_a_box_that_cannot_be_one_names_the_option_that_leaves_it_out(blemished, corners, test_mode, key):
    write_voc(blemished, {'d': [('dog', *corners)]}, size=(480, 640))
    with pytest.raises(ValueError, match=rf"d\.xml': the box .*{BROKEN[corners]}") as caught:
        read(blemished, ann_file=SPLIT, test_mode=test_mode)
    assert f'skip_degenerate_boxes=True of {key}.dataset' in str(caught.value)


def test_boxes_of_one_pixel_are_kept_and_counted_with_the_option_that_leaves_them_out(blemished, logged):
    write_voc(blemished, {'d': [('dog', *CLICK), CAT, ('dog', *FLAT)]}, size=(480, 640))
    assert len(read(blemished, ann_file=SPLIT).get_data_info(0)['instances']) == 3
    (record,) = logged.records
    said = record.getMessage()
    assert said.startswith(f"boxes that begin and end in one pixel in ['{blemished / SPLIT}']: 2, such as ")
    assert 'a.xml' not in said
    assert 'skip_degenerate_boxes=True of train_dataloader.dataset' in said


def test_a_box_that_sticks_out_of_the_image_is_kept_as_mmdet_keeps_it(devkit):
    annotate(devkit, f'<a>{BOX.format(CORNERS.format(-3, 2, 90, 61))}</a>')
    instance = read(devkit).get_data_info(1)['instances'][0]
    assert instance['bbox'] == [-4, 1, 89, 60]


def test_without_a_size_the_image_tells_it_and_must_be_readable(devkit):
    path = annotate(devkit, '<a></a>')
    info = read(devkit).get_data_info(1)
    assert (info['height'], info['width']) == (60, 80)
    (devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=re.escape(str(path)) + '.*image must be readable'):
        read(devkit)
    (devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'JPEGImages/b\.jpg'):
        read(devkit)


@pytest.mark.parametrize(('test_mode', 'key'), [(False, 'train_dataloader'), (True, 'val_dataloader')])
def test_an_unknown_class_is_named_with_its_file_and_both_ways_out(devkit, test_mode, key):
    with pytest.raises(ValueError, match=r"a\.xml.*'cat' is not among.*\['dog'\].*metainfo") as caught:
        read(devkit, metainfo=dict(classes=['dog']), test_mode=test_mode)
    assert f'skip_other_classes=True of {key}.dataset' in str(caught.value)


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(filter_cfg=dict(filter_empty_gt=True)),
        dict(filter_cfg=dict(filter_empty_gt=True, bbox_min_size=41)),
        dict(test_mode=True),
    ],
)
def test_objects_of_other_classes_are_left_out_on_request_as_mmdet_leaves_them_out(devkit, options):
    write_voc(devkit / 'VOC2012', {'d': [CAT, DOG, ('bird', 9, 9, 9, 5), DOG], 'e': [CAT], 'f': [DOG]})
    path = devkit / 'VOC2012' / 'Annotations' / 'f.xml'
    path.write_text(path.read_text().replace('<difficult>0', '<difficult>1'))
    options = dict(data_root=str(devkit), ann_file=TRAIN, metainfo=dict(classes=['dog']), **options)
    ours = VOCDataset(skip_other_classes=True, **options)
    theirs = MMDetVOCDataset(data_prefix=dict(sub_data_root='VOC2012/'), **options)
    found = [ours.get_data_info(i) for i in range(len(ours))]
    assert found == [theirs.get_data_info(i) for i in range(len(theirs))]
    assert [len(info['instances']) for info in found if info['img_id'] != 'e'] == [2, 1]


def test_objects_of_other_classes_that_are_left_out_are_counted_by_class(devkit, logged):
    write_voc(devkit / 'VOC2012', {'d': [CAT, DOG, CAT], 'e': [('bird', 9, 9, 12, 12)]})
    read(devkit, metainfo=dict(classes=['dog']), skip_other_classes=True)
    (record,) = logged.records
    lists = [str(devkit / TRAIN)]
    assert record.getMessage() == f"objects of other classes left out of {lists}: 'cat' 2, 'bird' 1"


def test_classes_given_as_one_string_are_refused(devkit):
    with pytest.raises(ValueError, match=r"metainfo\.classes must be a list.*'cat'"):
        read(devkit, metainfo=dict(classes='cat'))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BREAK = {
    'does not exist': lambda path: path.unlink(),
    'is cut off': cut,
    'cannot be decoded': lambda path: path.write_bytes(b'<html>404</html>'),
    'cannot be decoded. Copy': lambda path: path.write_bytes(b''),
    'is cut off: it has no end': lambda path: path.write_bytes(path.read_bytes()[:30]),
}


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('reason', BREAK)
def test_a_broken_image_is_named_when_it_is_loaded(devkit, reason, test_mode):
    path = devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg'
    BREAK[reason](path)
    dataset = read(devkit, pipeline=LOAD, test_mode=test_mode)
    assert dataset[0]['img'].shape == (60, 80, 3)
    with pytest.raises((FileNotFoundError, ValueError), match=re.escape(f"'{path}' {reason}")):
        dataset[1]


def test_an_image_that_only_carries_bytes_after_its_end_or_a_thumbnail_is_whole(devkit):
    path = devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg'
    content = path.read_bytes()
    # An Exif segment may hold a whole JPEG with an end of its own.
    with_thumbnail = content[:2] + b'\xff\xe1' + (len(content) + 2).to_bytes(2, 'big') + content + content[2:]
    for good in (content + b'\0' * 64, with_thumbnail):
        path.write_bytes(good)
        dataset = read(devkit, pipeline=LOAD)
        assert dataset[1]['img'].shape == (60, 80, 3)
    path.write_bytes(with_thumbnail[:-200])
    with pytest.raises(ValueError, match='is cut off'):
        dataset[1]


def test_the_error_comes_out_of_a_loaders_worker_with_the_file_in_it(devkit):
    path = devkit / 'VOC2012' / 'JPEGImages' / 'b.jpg'
    cut(path)
    dataset = read(devkit, pipeline=LOAD)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        list(DataLoader(dataset, batch_size=1, num_workers=1, collate_fn=list))


def test_a_fault_of_a_transform_is_not_blamed_on_the_image(devkit):
    def broken(results):
        raise RuntimeError('my own fault')

    dataset = read(devkit, pipeline=[*LOAD, broken])
    with pytest.raises(RuntimeError, match='my own fault'):
        dataset[0]


def test_real_images_pass(voc_animals):
    dataset = VOCDataset(data_root=str(voc_animals), ann_file='VOC2012/ImageSets/Main/mini_val.txt', pipeline=LOAD)
    assert len(dataset) == 80
    assert all(dataset[i]['img'].ndim == 3 for i in range(80))


def test_lists_annotations_and_images_may_lie_in_another_store(devkit, monkeypatch):
    options = dict(backend_args=in_a_store(devkit, monkeypatch))
    dataset = read('/elsewhere', **options, pipeline=[step | options for step in LOAD])
    assert [dataset[i]['img'].shape for i in range(3)] == [(60, 80, 3)] * 3


def turn(path):
    """Turn an image by a quarter, as cameras write it."""
    with Image.open(path) as image:
        exif = image.getexif()
        exif[274] = 6
        image.save(path, exif=exif)


@pytest.mark.parametrize('color_type', ['color', 'color_ignore_orientation'])
def test_an_image_of_another_size_than_its_annotation_says_is_warned_of_once(devkit, logged, color_type):
    images = devkit / 'VOC2012' / 'JPEGImages'
    for name in 'ab':
        turn(images / f'{name}.jpg')
    dataset = read(devkit, pipeline=[dict(type='LoadImageFromFile', color_type=color_type)])
    for index in range(3):
        dataset[index]
    assert logged.text.count("a.jpg' has 60x80 pixels") == logged.text.count('lie elsewhere') == (color_type == 'color')


def test_what_one_loading_process_has_warned_of_no_other_does(devkit, logged):
    turn(devkit / 'VOC2012' / 'JPEGImages' / 'a.jpg')
    dataset = read(devkit, pipeline=[dict(type='LoadImageFromFile')])
    list(DataLoader(dataset, num_workers=1, collate_fn=list))
    dataset[0]
    assert 'lie elsewhere' not in logged.text
