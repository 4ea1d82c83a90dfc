import pytest
from mmengine.config import Config

from ovkd_mm.launch import draw
from ovkd_mm.launch.draw import draw_predictions


def drawn(scope: str, show_dir: str | None = 'pictures', tta: bool = False, **config) -> Config:
    settings = dict(default_scope=scope, default_hooks=dict(visualization=dict(type='Hook')))
    config = Config(settings | config)
    draw_predictions(config, show=False, show_dir=show_dir, wait_time=1.5, tta=tta)
    return config


@pytest.mark.parametrize(
    ('scope', 'settings'),
    [
        ('mmdet', dict(draw=True, test_out_dir='pictures')),
        ('mmseg', dict(draw=True, interval=1)),
        ('mmpretrain', dict(enable=True, out_dir='pictures', interval=1)),
    ],
)
def test_each_toolkits_hook_paints_every_image_into_the_folder(scope, settings):
    config = drawn(scope, visualizer=dict(type='Mine'))
    assert config.default_hooks.visualization == dict(type='Hook', show=False, wait_time=1.5, **settings)
    written = dict(save_dir='pictures', vis_backends=[dict(type='LocalVisBackend')]) if scope == 'mmseg' else {}
    assert config.visualizer == dict(type='Mine', **written)


def test_the_backends_of_the_config_stay():
    for backends in ([dict(type='TensorboardVisBackend')], [dict(type='mmseg.LocalVisBackend')]):
        found = drawn('mmseg', visualizer=dict(type='Mine', vis_backends=backends)).visualizer.vis_backends
        assert found[:1] == backends and len(found) == (2 if 'Tensor' in backends[0]['type'] else 1)


def test_an_interval_of_the_config_stays():
    hooks = dict(visualization=dict(type='Hook', interval=7))
    assert drawn('mmseg', default_hooks=hooks).default_hooks.visualization.interval == 7


def test_without_a_visualizer_the_toolkits_own_writes_pictures():
    assert drawn('mmseg').visualizer == dict(
        type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], save_dir='pictures'
    )


def test_what_cannot_be_painted_is_refused():
    with pytest.raises(ValueError, match=r'need default_hooks\.visualization'):
        drawn('mmdet', default_hooks={})
    with pytest.raises(ValueError, match='cannot paint augmented images; leave out --tta'):
        drawn('mmpretrain', tta=True)
    drawn('mmseg', tta=True)


class Folder(list):
    def get_data_info(self, index):
        return dict(img_path=self[index])


@pytest.mark.parametrize(
    ('images', 'said'),
    [
        (Folder(['a/1.png', 'b/1.png', 'b/2.png']), 'the 3 images have 2 file names'),
        (Folder(['a/1.png', 'b/2.png']), ''),
        (Folder([None, None]), ''),
        ([1, 2], ''),
    ],
)
def test_images_whose_pictures_would_replace_each_other_are_told(monkeypatch, images, said):
    logged = []
    monkeypatch.setattr(draw, 'print_log', lambda message, **_: logged.append(message))
    draw.warn_of_equal_names(images)
    assert [message.partition(',')[0] for message in logged] == ([said] if said else [])
