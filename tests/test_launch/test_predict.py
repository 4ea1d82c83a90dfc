"""Painting by each toolkit's inferencer, with small models whose weights are random."""

import pickle
from pathlib import Path

import cv2
import matplotlib.axes
import numpy as np
import pytest
import torch
from command_line import ROOT
from image_folder import small_wrn
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ovkd_mm.launch.predict import build_painter, paint, picture_files

CASES = {
    'mmdet': (
        'ssd300/ssdlite300_mobilenet-v1_voc0712.py',
        {'model.backbone.init_cfg': None},
        'model.bbox_head.num_classes',
    ),
    'mmseg': (
        'deeplabv3plus/deeplabv3plus_r18_voc12aug-513.py',
        {'model.backbone.init_cfg': None},
        'model.decode_head.num_classes',
    ),
    'mmpretrain': ('cifar10/wrn16-2_cifar10-folder.py', small_wrn(), 'model.head.num_classes'),
}
NAMES = ('cup', 'fork', 'plate')
PALETTE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
META = dict(dataset_meta=dict(classes=NAMES, palette=PALETTE))


def model(toolkit: str, classes: int = 3) -> tuple[Config, dict[str, torch.Tensor]]:
    """A config and random weights for it."""
    path, options, key = CASES[toolkit]
    config = Config.fromfile(ROOT / 'configs' / path)
    config.merge_from_dict(options | {key: classes})
    init_default_scope(toolkit)
    return config, MODELS.build(config.model).state_dict()


def save(path: Path, state: dict, **others) -> str:
    torch.save(dict(state_dict=state, **others), path)
    return str(path)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), np.random.randint(0, 255, (60, 80, 3), np.uint8))
    return str(path)


@pytest.fixture
def texts(monkeypatch):
    """What is written on pictures, by whichever toolkit."""
    written = []

    def recorded(owner, name, index):
        upstream = getattr(owner, name)

        def record(*args, **kwargs):
            written.append(args[index])
            return upstream(*args, **kwargs)

        monkeypatch.setattr(owner, name, record)

    recorded(DetLocalVisualizer, 'draw_texts', 1)
    recorded(cv2, 'putText', 1)
    recorded(matplotlib.axes.Axes, 'text', 3)
    return written


@pytest.mark.parametrize('meta', [META, dict(CLASSES=NAMES, PALETTE=PALETTE)], ids=['now', 'once'])
@pytest.mark.parametrize('toolkit', CASES)
def test_a_picture_bears_the_names_that_the_checkpoint_was_trained_with(toolkit, meta, image, texts, tmp_path):
    config, state = model(toolkit)
    state['distiller.pairs.0.weight'] = torch.zeros(1)
    painter = build_painter(config, save(tmp_path / 'distilled.pth', state, meta=meta), 'cpu', score_thr=0)
    picture = painter(image)
    if toolkit == 'mmpretrain':
        assert min(picture.shape[:2]) == 224  # the text would not fit on less
    else:
        assert picture.shape == (60, 80, 3)
        assert not np.array_equal(picture, cv2.imread(image)[..., ::-1])
    assert texts
    assert all(any(name in text for name in NAMES) for text in texts)


@pytest.mark.parametrize(('toolkit', 'classes'), [('mmdet', 20), ('mmseg', 21)])
def test_a_checkpoint_without_names_gets_those_of_the_configs_data_set(toolkit, classes, image, texts, tmp_path):
    from mmseg.datasets import PascalVOCDataset

    config, state = model(toolkit, classes)
    build_painter(config, save(tmp_path / 'weights.pth', state), 'cpu', score_thr=0)(image)
    assert texts
    assert all(text.split(':')[0] in PascalVOCDataset.METAINFO['classes'] for text in texts)


def test_a_detector_of_more_classes_than_its_data_set_has_colors_paints_them_all(image, tmp_path):
    config, state = model('mmdet', 25)
    for key, value in state.items():
        if key.startswith('bbox_head.cls_convs') and key.endswith('bias') and len(value) % 26 == 0:
            value[24::26] = 9  # of each anchor's scores the last but the background's
    names = [f'class {number}' for number in range(25)]
    path = save(tmp_path / 'weights.pth', state, meta=dict(dataset_meta=dict(classes=names)))
    assert build_painter(config, path, 'cpu', score_thr=0)(image).shape == (60, 80, 3)


@pytest.mark.parametrize('toolkit', CASES)
def test_weights_that_do_not_fit_are_refused(toolkit, tmp_path):
    config, state = model(toolkit)
    missing = next(iter(state))
    state.pop(missing)
    with pytest.raises(ValueError, match=rf'weights\.pth does not fit the model .*\(1 missing: {missing}\)'):
        build_painter(config, save(tmp_path / 'weights.pth', state, meta=META), 'cpu')


class Harm:
    def __reduce__(self):
        return Path.touch, (Path('owned'),)


@pytest.mark.parametrize('toolkit', CASES)
def test_code_in_a_checkpoint_is_not_run(toolkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('harm.pth').write_bytes(pickle.dumps(dict(state_dict=Harm())))
    with pytest.raises(ValueError, match='refused, and nothing in it was run'):
        build_painter(model(toolkit)[0], 'harm.pth', 'cpu')
    assert not Path('owned').exists()


def test_what_cannot_be_painted_is_told_from_the_config():
    config = model('mmpretrain')[0]
    with pytest.raises(ValueError, match=r'--device gpu: .*cpu, cuda'):
        build_painter(config, 'weights.pth', 'gpu')
    config.pop('test_dataloader')
    with pytest.raises(ValueError, match='has no test_dataloader'):
        build_painter(config, 'weights.pth', 'cpu')
    config.default_scope = 'mmyolo'
    with pytest.raises(ValueError, match=r"default_scope='mmyolo' of the config: .* mmdet, mmseg, mmpretrain"):
        build_painter(config, 'weights.pth', 'cpu')


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_of_one_name_get_a_picture_each(tmp_path):
    left, right = tmp_path / 'left' / '1.jpg', tmp_path / 'right' / '1.jpg'
    touch(left, right)
    out = tmp_path / 'out'
    assert picture_files([str(left), str(right)], str(out)) == {
        left: out / 'left' / '1.jpg',
        right: out / 'right' / '1.jpg',
    }
    assert picture_files([str(left)], str(out)) == {left: out / '1.jpg'}
    assert picture_files([str(left), str(left)], str(out)) == {left: out / '1.jpg'}


def test_a_folder_is_searched_for_images_but_not_what_was_painted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ['a.JPG', 'b.tif', 'below/c.png']
    touch(*(tmp_path / 'in' / name for name in [*names, 'notes.txt', 'below/out/a.jpg']))
    files = picture_files(['in'], 'in/below/out')
    out = tmp_path / 'in' / 'below' / 'out'
    assert files == {
        tmp_path / 'in' / name: out / painted
        for name, painted in zip(names, ['a.JPG', 'b.tif.png', 'below/c.png'], strict=True)
    }
    with pytest.raises(FileNotFoundError, match=r"'in/below/out/none' does not exist"):
        picture_files(['in/a.JPG', 'in/below/out/none'], 'new')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r"'empty' holds no image; they end with .jpg"):
        picture_files(['empty'], 'new')


def test_linked_folders_are_searched_once_and_a_folder_is_no_image(tmp_path):
    touch(tmp_path / 'in' / 'folder.jpg' / 'a.png', tmp_path / 'elsewhere' / 'b.png', tmp_path / 'out' / 'old.png')
    for name, to in (('linked', 'elsewhere'), ('round', 'in'), ('painted', 'out')):
        (tmp_path / 'in' / name).symlink_to(tmp_path / to)
    found = picture_files([str(tmp_path / 'in')], str(tmp_path / 'out'))
    assert set(found) == {tmp_path / 'in' / 'folder.jpg' / 'a.png', tmp_path / 'in' / 'linked' / 'b.png'}


@pytest.mark.parametrize('out', ['.', 'in/..'])
def test_pictures_may_go_above_the_images(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / 'in' / 'a.jpg')
    assert picture_files(['in'], out) == {tmp_path / 'in' / 'a.jpg': tmp_path / 'a.jpg'}


def test_no_file_is_overwritten_least_of_all_the_image(tmp_path):
    images = [tmp_path / f'{name}.jpg' for name in 'abc']
    touch(*images, tmp_path / 'out' / 'b.jpg')
    names = list(map(str, images))
    with pytest.raises(ValueError, match=r"1 of the 3 pictures .* not overwritten, the first is '.*/out/b\.jpg'"):
        picture_files(names, str(tmp_path / 'out'))
    with pytest.raises(ValueError, match=r"3 of the 3 pictures .* not overwritten, the first is '.*/a\.jpg'"):
        picture_files(names, str(tmp_path))


def test_images_that_cannot_be_read_are_named_when_the_others_are_painted(image, tmp_path):
    content = Path(image).read_bytes()
    text, gone = tmp_path / 'text.jpg', tmp_path / 'gone.jpg'
    text.write_text('no image')
    cut = tmp_path / 'cut.jpg'
    cv2.imwrite(str(cut), cv2.imread(image))
    cut.write_bytes(cut.read_bytes()[:-9])
    good = tmp_path / 'good.png'
    good.write_bytes(content)

    files = {path: tmp_path / 'out' / path.name for path in (text, gone, cut, good)}
    with pytest.raises(ValueError, match=r"text\.jpg' cannot be decoded.* 2 more cannot be read either; painted: 1"):
        paint(lambda path: np.full((4, 4, 3), (255, 0, 0), np.uint8), files)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['good.png']
    assert (cv2.imread(str(tmp_path / 'out' / 'good.png')) == (0, 0, 255)).all()  # red, as painters give RGB


def test_predictions_that_nobody_can_paint_are_named(image, tmp_path):
    config, _ = model('mmpretrain')
    head = dict(type='mmpretrain.LinearClsHead', num_classes=3)
    tasks = dict(type='mmpretrain.MultiTaskHead', task_heads=dict(kind=head, color=head), in_channels=64)
    config.model.head = tasks
    config.test_dataloader.dataset.pipeline[-1] = dict(type='PackMultiTaskInputs', multi_task_fields=())
    checkpoint = save(tmp_path / 'tasks.pth', MODELS.build(config.model).state_dict(), meta=META)
    painter = build_painter(config, checkpoint, 'cpu')
    files = picture_files([image], tmp_path / 'painted')
    with pytest.raises(ValueError, match='a MultiTaskHead predicts color, kind, and only classes'):
        paint(painter, files)


def test_two_images_that_would_have_one_picture_are_an_error(tmp_path):
    touch(tmp_path / 'a.bmp', tmp_path / 'a.bmp.png')
    with pytest.raises(
        ValueError, match=r"pictures of '.*a.bmp' and '.*a.bmp.png' would both be 'a.bmp.png'; rename one"
    ):
        picture_files([str(tmp_path)], str(tmp_path / 'out'))


def test_a_file_is_no_folder_for_the_pictures(image, tmp_path):
    (tmp_path / 'painted').touch()
    with pytest.raises(ValueError, match=r"--out-dir '.*painted' is a file; name a folder"):
        picture_files([str(image)], str(tmp_path / 'painted'))
