import copy
import functools
from pathlib import Path

import mmengine
import pytest
import readme
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from voc_folder import write_voc

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'ssd300'
README = (FOLDER / 'README.md').read_text()
TEACHERS = ('ssd300_vgg16_voc0712', 'ssd300_r50_voc0712')
STUDENTS = ('ssd300_r18_voc0712', 'ssdlite300_mobilenet-v1_voc0712')
PAPER = dict(zip(TEACHERS + STUDENTS, (26.3e6, 36.7e6, 20.0e6, 6.5e6), strict=True))
DISTILLATIONS = sorted(path.stem for path in FOLDER.glob('ofd_*.py'))
SIZES = (38, 19, 10, 5, 3, 1)


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(FOLDER / f'{name}.py')


def load(name: str) -> Config:
    return copy.deepcopy(_load(name))


def distillations_of(student: str) -> list[str]:
    return [name for name in DISTILLATIONS if load(name).model.student == load(student).model]


@pytest.fixture(scope='module')
def plain():
    """Each plain model, with the output shapes of its modules for one 300x300 image."""
    init_default_scope('mmdet')
    models = {}
    for name in PAPER:
        model = MODELS.build(load(name).model).eval()
        shapes = {}

        def note(module, _, out, shapes=shapes):
            shapes[module] = getattr(out, 'shape', None)

        hooks = [module.register_forward_hook(note) for module in model.modules()]
        with torch.no_grad():
            scores, _ = model(torch.randn(1, 3, 300, 300))
        for hook in hooks:
            hook.remove()
        shapes = {path: shapes.get(module) for path, module in model.named_modules()}
        models[name] = model, shapes, scores
    return models


@pytest.mark.parametrize('name', PAPER)
def test_the_parameters_are_the_papers_within_two_percent(plain, name):
    count = sum(parameter.numel() for parameter in plain[name][0].parameters())
    assert count == pytest.approx(PAPER[name], rel=0.02)
    metafile = {model['Name']: model for model in mmengine.load(FOLDER / 'metafile.yml')['Models']}
    rows = readme.table(README, 'config', 'backbone', 'parameters')
    assert int(rows[name][1].replace(',', '')) == count
    assert float(rows[name][2].removesuffix(' M')) * 1e6 == PAPER[name]
    distilled = distillations_of(name)
    assert len(distilled) == (2 if name in STUDENTS else 0)
    assert {metafile[config]['Metadata']['Parameters'] for config in (name, *distilled)} == {count}


@pytest.mark.parametrize('name', PAPER)
def test_the_head_sees_ssds_six_maps_and_8732_anchors(plain, name):
    model, _, scores = plain[name]
    assert [tuple(score.shape[2:]) for score in scores] == [(size, size) for size in SIZES]
    assert [score.shape[1] for score in scores] == [21 * anchors for anchors in (4, 6, 6, 6, 4, 4)]
    anchors = model.bbox_head.prior_generator.grid_priors([(size, size) for size in SIZES], device='cpu')
    assert sum(map(len, anchors)) == 8732


@pytest.mark.parametrize('name', PAPER)
def test_expand_fills_up_with_what_the_preprocessor_takes_away(name):
    config = load(name)
    expand = next(step for step in config.train_dataloader.dataset.pipeline if step['type'] == 'Expand')
    preprocessor = config.model.data_preprocessor
    assert (expand['mean'], expand['to_rgb']) == (preprocessor.mean, preprocessor.bgr_to_rgb)


@pytest.mark.parametrize('name', PAPER)
def test_batch_norms_train(plain, name):
    model = plain[name][0].train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.training and norm.weight.requires_grad for norm in norms)
    assert bool(norms) == (name != 'ssd300_vgg16_voc0712')
    model.eval()


@pytest.mark.parametrize('name', DISTILLATIONS)
def test_pairs_join_equal_sizes_as_the_readme_says(plain, name):
    config = load(name)
    _, teacher, _ = plain[Path(config.model.teacher.model).stem]
    _, student, _ = plain[next(student for student in STUDENTS if name in distillations_of(student))]
    columns = ['size', 'weight', 'VGG16 teacher', 'ResNet-50 teacher', 'ResNet-18 student', 'MobileNetV1 student']
    teacher_column = columns.index('VGG16 teacher' if 'vgg16-' in name else 'ResNet-50 teacher')
    student_column = columns.index('ResNet-18 student' if '-r18' in name else 'MobileNetV1 student')
    rows = readme.rows(README, *columns)
    assert [row[0] for row in rows] == ['75x75', '38x38', '19x19', '10x10']
    for row, pair in zip(rows, config.model.pairs, strict=True):
        size = int(row[0].split('x')[0])
        for cell, path, shapes in (
            (row[teacher_column], pair.teacher, teacher),
            (row[student_column], pair.student, student),
        ):
            assert cell.split('`')[1] == path
            assert tuple(shapes[path]) == (1, int(cell.split()[-1]), size, size)
    assert config.model.method.loss.loss_weight == 1e-5


@pytest.mark.parametrize('name', DISTILLATIONS)
def test_the_distiller_takes_each_distillation(name):
    init_default_scope('mmdet')
    config = load(name)
    config.merge_from_dict({'model.teacher.checkpoint': None, 'model.teacher.allow_random': True})
    distiller = MODELS.build(config.model)
    assert [pair.weight for pair in distiller.pairs] == [1 / 8, 1 / 4, 1 / 2, 1]


@pytest.mark.parametrize('name', DISTILLATIONS)
def test_the_teachers_config_is_found_from_anywhere_and_after_a_dump(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(name)
    config.dump(tmp_path / 'dumped.py')
    for again in (config, Config.fromfile(tmp_path / 'dumped.py')):
        teacher = again.model.teacher
        assert Config.fromfile(teacher.model).model == load(Path(teacher.model).stem).model
        assert Path(teacher.checkpoint).parts == ('work_dirs', Path(teacher.model).stem, 'iter_120000.pth')


def test_the_metafile_lists_every_config_once():
    models = mmengine.load(FOLDER / 'metafile.yml')['Models']
    configs = [f'configs/ssd300/{path.name}' for path in FOLDER.glob('*.py')]
    assert sorted(model['Config'] for model in models) == sorted(configs)
    assert all(model['Name'] == Path(model['Config']).stem for model in models)


def test_the_rate_warms_up_and_falls_to_a_tenth_at_80k_and_100k():
    init_default_scope('mmdet')
    config = load('ssd300_vgg16_voc0712')
    assert config.train_cfg.max_iters == 120_000
    assert config.train_dataloader.batch_size == 32
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.optim_wrapper.optimizer.lr)
    schedulers = [
        mmengine.registry.PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=optimizer))
        for cfg in config.param_scheduler
    ]
    rates = {}
    for iteration in range(120_000):
        if iteration in (0, 250, 500, 79_999, 80_000, 99_999, 100_000, 119_999):
            rates[iteration] = optimizer.param_groups[0]['lr']
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-6)
    assert rates[250] == pytest.approx(5e-4, rel=0.01)
    assert rates[500] == rates[79_999] == pytest.approx(1e-3)
    assert rates[80_000] == rates[99_999] == pytest.approx(1e-4)
    assert rates[100_000] == rates[119_999] == pytest.approx(1e-5)


@pytest.fixture
def options_for_a_folder(tmp_path):
    """The README's options for a folder of one's own, for a folder that exists."""
    options = readme.cfg_options(README, 'train_dataloader.dataset.ann_file')
    assert len(options) == 4
    return {key: value.replace('data/VOCdevkit', str(tmp_path)) for key, value in options.items()}


def test_the_readmes_options_are_all_that_a_folder_needs(options_for_a_folder, tmp_path):
    init_default_scope('mmdet')
    write_voc(tmp_path / 'VOC2012', {'a': [('cat', 5, 5, 50, 50)]}, split='train')
    write_voc(tmp_path / 'VOC2012', {'b': [('dog', 5, 5, 50, 50)], 'c': []}, split='val')
    config = load('ofd_ssd300_r50-r18_voc0712')
    config.merge_from_dict(options_for_a_folder)
    train, val = (DATASETS.build(config[key].dataset) for key in ('train_dataloader', 'val_dataloader'))
    assert train[0]['inputs'].shape == val[0]['inputs'].shape == (3, 300, 300)
    assert (len(train), len(val)) == (1, 2)
    assert Path(train[0]['data_samples'].img_path) == tmp_path / 'VOC2012' / 'JPEGImages' / 'a.jpg'


def test_the_readmes_options_leave_out_degenerate_boxes(options_for_a_folder, tmp_path):
    init_default_scope('mmdet')
    for split, image in (('train', 'a'), ('val', 'b')):
        write_voc(tmp_path / 'VOC2012', {image: [('cat', 5, 5, 50, 50), ('cat', 9, 9, 5, 5)]}, split=split)
    config = load('ssd300_r18_voc0712')
    config.merge_from_dict({**options_for_a_folder, **readme.cfg_options(README, 'skip_degenerate_boxes')})
    for loader in (config.train_dataloader, config.val_dataloader):
        assert len(DATASETS.build(loader.dataset).get_data_info(0)['instances']) == 1


def test_the_readmes_options_train_and_validate_classes_of_ones_own(options_for_a_folder, tmp_path):
    objects = [('cup', 5, 5, 50, 50), ('plate', 30, 10, 70, 50)]
    for split, images in (('train', 'ab'), ('val', 'cd')):
        write_voc(tmp_path / 'VOC2012', dict.fromkeys(images, objects), split=split)
    config = load('ssdlite300_mobilenet-v1_voc0712')
    config.merge_from_dict({**options_for_a_folder, **readme.cfg_options(README, 'metainfo.classes')})
    loader = {'num_workers': 0, 'persistent_workers': False, 'batch_size': 2}
    config.merge_from_dict(
        {
            **{f'{name}_dataloader.{key}': value for name in ('train', 'val') for key, value in loader.items()},
            'train_cfg': dict(max_iters=1, val_interval=1),
            'default_hooks.checkpoint.interval': 1,
            'model.backbone.init_cfg': None,  # no download
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': tmp_path.name,
            'test_dataloader': None,
            'test_cfg': None,
            'test_evaluator': None,
            'log_level': 'WARNING',
        }
    )
    runner = Runner.from_cfg(config)
    runner.train()
    assert {path.name for path in (tmp_path / 'work').glob('*.pth')} == {
        'iter_1.pth',
        'best_pascal_voc_mAP_iter_1.pth',
    }
    assert 0 <= runner.message_hub.get_scalar('val/pascal_voc/mAP').current() <= 1
