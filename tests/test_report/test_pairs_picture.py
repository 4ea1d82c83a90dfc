import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from ovkd_mm.report.pairs_picture import Column, Join, Stage, pairs_svg

SVG = '{http://www.w3.org/2000/svg}'
STUDENT = Column('small <net>', '1 k parameters', [Stage('a', (8, 8), '4 channels'), Stage('b', (4, 4), '8 channels')])
TEACHER = Column(
    'large', '9 k parameters', [Stage('c', (4, 4), '16'), Stage('d', (4, 4), '16'), Stage('e', (2, 2), '32')]
)
JOINS = [Join('b', 'd', 'Conv1x1 8 to 16')]


def drawn(*args):
    root = ET.fromstring(pairs_svg(*args))
    texts = {text.text: text for text in root.iter(f'{SVG}text')}
    return root, texts, {name: float(text.get('y')) for name, text in texts.items()}


def test_everything_that_is_said_is_written_inside_the_picture():
    root, texts, _ = drawn(STUDENT, TEACHER, JOINS)
    assert {'small <net>', 'large', '8x8', '4x4', '2x2', 'Conv1x1 8 to 16', *'abcde'} <= set(texts)
    width, height = float(root.get('width')), float(root.get('height'))
    assert all(0 < float(text.get('x')) < width and 0 < float(text.get('y')) < height for text in texts.values())
    boxes = list(root.iter(f'{SVG}rect'))[1:]
    assert all(float(box.get('x')) + float(box.get('width')) <= width for box in boxes)


def test_places_of_one_size_share_its_rows_and_the_last_ones_stand_side_by_side():
    _, _, y = drawn(STUDENT, TEACHER, JOINS)
    assert y['b'] == y['d']
    assert y['a'] < y['c'] < y['d'] < y['e']


def test_a_pair_joins_the_boxes_of_its_places_which_alone_are_colored():
    root, texts, y = drawn(STUDENT, TEACHER, JOINS)
    dashed = [box for box in root.iter(f'{SVG}rect') if box.get('stroke-dasharray')]
    assert len(dashed) == 3
    (line,) = [path.get('d') for path in root.iter(f'{SVG}path') if 'C' in path.get('d')]
    begin, end = line[1:].split('C')[0].split(), line.split()[-2:]
    assert float(begin[0]) < float(texts['Conv1x1 8 to 16'].get('x')) < float(end[0])
    assert float(begin[1]) == float(end[1]) == y['b'] + 4


@pytest.mark.parametrize('text', ['x' * 10, 'x' * 60])
def test_a_long_name_widens_the_picture(text):
    stages = [Stage(text, (4, 4), '')]
    root, _, _ = drawn(replace(STUDENT, stages=stages), TEACHER, [Join(text, 'd', text)])
    boxes = {box.get('width'): box for box in root.iter(f'{SVG}rect')}
    assert max(float(width) for width in list(boxes)[1:]) >= 7 * len(text)
