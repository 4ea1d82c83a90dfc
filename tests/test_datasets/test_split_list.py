import re

import pytest

from ovkd_mm.datasets.split_list import as_list, check_classes, read_split, what_ids_are


def read(path, content: bytes) -> list[str]:
    path.write_bytes(content)
    return read_split(str(path), None, fix='Do this')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'train.txt'


@pytest.mark.parametrize(
    ('content', 'ids'),
    [
        (b'a\nb\n', ['a', 'b']),
        (b'a\nb', ['a', 'b']),
        (b'\xef\xbb\xbfa\nb\n', ['a', 'b']),  # Notepad's mark of UTF-8
        (b'a\r\nb\r\n', ['a', 'b']),
        (b'a  \n\tb \r\n \r\n', ['a', 'b']),
        ('Straße\n図\n'.encode(), ['Straße', '図']),
        (b'IMG 0001\nIMG 0002 (copy)\n', ['IMG 0001', 'IMG 0002 (copy)']),
    ],
)
def test_a_list_reads_alike_from_all_editors(path, content, ids):
    assert read(path, content) == ids


@pytest.mark.parametrize(
    ('content', 'line'),
    [
        ('a\nb\nStraße\n'.encode('latin-1'), 3),
        ('a\nb\n'.encode('utf-16'), 1),  # what Windows PowerShell writes with >
        ('a\nb\n'.encode('utf-16-le'), 1),
        (b'a\nb\0\n', 2),
    ],
)
def test_a_list_in_another_encoding_is_named_with_the_line_and_the_fix(path, content, line):
    with pytest.raises(
        ValueError, match=rf"the split list '{path}' is not UTF-8 text \(line {line}\)\. Save it as UTF-8"
    ):
        read(path, content)


def test_an_empty_list_is_empty_whatever_mark_it_begins_with(path):
    with pytest.raises(ValueError, match=re.escape(f'{str(path)!r} is empty. Do this')):
        read(path, b'\xef\xbb\xbf\r\n')


def test_an_id_that_is_not_there_is_answered_with_what_ids_are():
    assert what_ids_are('a.jpg') == 'A list holds one image id a line, without folder and suffix'
    said = what_ids_are('000001 -1')
    assert "'000001 -1' has a space in it" in said
    assert 'first column alone' in said


@pytest.mark.parametrize('wrong', [3, None, [3]])
def test_what_is_neither_a_path_nor_a_list_of_them_is_refused(wrong):
    assert as_list('ann_file', 'a.txt') == ['a.txt'] and as_list('ann_file', ('a', 'b')) == ['a', 'b']
    with pytest.raises(TypeError, match='ann_file must be a path or a list of paths, got '):
        as_list('ann_file', wrong)
    with pytest.raises(ValueError, match='ann_file is empty'):
        as_list('ann_file', [])


def test_names_of_classes_are_no_string():
    check_classes(('cat', 'dog'))
    with pytest.raises(ValueError, match=r"metainfo\.classes must be a list of names, but it is the string 'cat'"):
        check_classes('cat')
