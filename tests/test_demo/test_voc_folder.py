import re

import pytest
from voc_folder import write_voc

from ovkd_mm.demo.voc_folder import read_voc_folder

TRAIN = {'a': [('dog', 1, 1, 9, 9), ('cat', 5, 5, 20, 20)], 'b': [('dog', 2, 2, 30, 30)]}
VAL = {'c': [('zebra', 1, 1, 9, 9)]}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'VOCdevkit' / 'VOC2012'
    write_voc(root, TRAIN, split='train')
    return write_voc(root, VAL, split='val')


@pytest.mark.parametrize('above', [0, 1, 2])
def test_splits_and_sorted_classes_are_found_from_the_folder_or_above_it(root, above):
    folder = read_voc_folder([root, *root.parents][above])
    assert folder.root == root
    assert (folder.train, folder.val) == ('train', 'val')
    assert folder.classes == ('cat', 'dog', 'zebra')


def test_trainval_and_test_are_a_pair_too(tmp_path):
    write_voc(tmp_path, TRAIN, split='trainval')
    write_voc(tmp_path, VAL, split='test')
    folder = read_voc_folder(tmp_path)
    assert (folder.train, folder.val) == ('trainval', 'test')


def test_a_pair_whose_images_are_all_there_wins_over_one_that_lacks_some(root):
    lists = root / 'ImageSets/Main'
    lists.joinpath('train.txt').write_text('a\nb\nnot_there\n')
    lists.joinpath('mini_train.txt').write_text('a\n')
    lists.joinpath('mini_val.txt').write_text('c\n')
    folder = read_voc_folder(root)
    assert (folder.train, folder.val) == ('mini_train', 'mini_val')
    assert folder.classes == ('cat', 'dog', 'zebra')


def test_lists_of_one_class_are_no_splits(root):
    lists = root / 'ImageSets/Main'
    for split in ('train', 'val'):
        lists.joinpath(f'{split}.txt').unlink()
        lists.joinpath(f'dog_{split}.txt').write_text('a  1\nb -1\n')
    with pytest.raises(ValueError, match=r'ImageSets/Main needs train\.txt and val\.txt'):
        read_voc_folder(root)


@pytest.mark.parametrize('gone', ['JPEGImages/b.jpg', 'Annotations/c.xml'])
def test_a_missing_file_is_named_and_counted(root, gone):
    (root / gone).unlink()
    with pytest.raises(FileNotFoundError, match=f'1 of the 6 files.*{gone}'):
        read_voc_folder(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        read_voc_folder(tmp_path / 'nowhere')


def test_a_folder_of_another_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match='not in VOC format: it needs JPEGImages, Annotations and ImageSets/Main'):
        read_voc_folder(tmp_path)


def test_several_data_sets_are_named_to_choose_from(root):
    write_voc(root.parent / 'VOC2007', TRAIN)
    with pytest.raises(ValueError, match=r'several data sets; name one of .*VOC2007, .*VOC2012'):
        read_voc_folder(root.parent)


def test_a_broken_annotation_is_named(root):
    (root / 'Annotations/b.xml').write_text('<annotation><object>')
    with pytest.raises(ValueError, match=r"b\.xml' is not well-formed XML"):
        read_voc_folder(root)


def test_an_annotation_with_entities_is_refused(root):
    (root / 'Annotations/b.xml').write_text('<!DOCTYPE a [<!ENTITY x "cat">]><a><object><name>&x;</name></object></a>')
    with pytest.raises(ValueError, match=r"b\.xml.*: it declares the entity 'x'"):
        read_voc_folder(root)


@pytest.mark.parametrize('name', ['\x9b2J', 'cat\n', '\u202etac'])
def test_a_class_name_that_would_steer_a_terminal_is_refused(root, name):
    write_voc(root, {'b': [(name, 1, 1, 9, 9)]})
    with pytest.raises(ValueError, match=r'b\.xml.*' + re.escape(repr(name))) as caught:
        read_voc_folder(root)
    assert str(caught.value).isprintable()


def test_an_id_that_would_steer_a_terminal_is_printed_as_text(root):
    (root / 'ImageSets/Main/train.txt').write_text('\x1b[2Ja\n')
    with pytest.raises(FileNotFoundError) as caught:
        read_voc_folder(root)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('image_id', ['../a', '/etc/a'])
def test_an_id_that_leads_out_of_the_folder_is_refused(root, image_id):
    (root / 'ImageSets/Main/train.txt').write_text(f'{image_id}\n')
    with pytest.raises(ValueError, match=r'train\.txt.*out of'):
        read_voc_folder(root)


def test_a_data_set_without_objects_is_refused(tmp_path):
    write_voc(tmp_path, {'a': []}, split='train')
    write_voc(tmp_path, {'b': []}, split='val')
    with pytest.raises(ValueError, match='holds no <object>'):
        read_voc_folder(tmp_path)
