import numpy as np
import pytest
from matplotlib.text import Text
from mmengine.registry import init_default_scope
from voc_folder import write_voc

from ovkd_mm.demo.pictures import draw_detections

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


@pytest.mark.parametrize('name', ['$x$', r'$\undefined{$', 'a$b', '<b>'])
def test_a_class_name_is_drawn_as_text_and_never_as_a_formula(tmp_path, name, monkeypatch):
    init_default_scope('mmdet')
    write_voc(tmp_path, {'a': [(name.replace('<', '&lt;'), 5, 5, 40, 40)]})
    dataset = dict(
        type='ovkd_mm.VOCDataset',
        data_root=str(tmp_path),
        ann_file='ImageSets/Main/train.txt',
        metainfo=dict(classes=[name]),
        pipeline=PIPELINE,
    )
    texts = []
    set_text = Text.set_text
    monkeypatch.setattr(Text, 'set_text', lambda self, text: (texts.append(self), set_text(self, text)))
    [[picture]] = draw_detections([], dataset, count=1)
    assert isinstance(picture, np.ndarray)
    # What matplotlib makes of the label: the text, and whether it is a formula.
    assert (name, False) in [text._preprocess_math(text.get_text()) for text in texts]
