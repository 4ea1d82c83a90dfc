"""The pairs for a CPU and their places; the studies of them and of the paper's pairs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from voc_folder import write_voc

from ovkd_mm.compare.run import teacher_training, trainings_of
from ovkd_mm.compare.study import read_study
from ovkd_mm.config_files import buildable, without_pretrained

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STUDIES = sorted((CONFIGS / 'reproduce').glob('*.yml'))
BLOCKS = [f'backbone.timm_model.blocks.{block}' for block in (1, 2, 4, 6)]
HEAD = [('decode_head.bottleneck',) * 2 + ((13, 13),), ('decode_head.decoder',) * 2 + ((49, 49),)]
WRN = [(f'backbone.layer{group}',) * 2 + ((64 >> group, 64 >> group),) for group in (1, 2, 3)]
SSD = [(24, 24), (12, 12), (6, 6)]
SEG = [(49, 49), (25, 25), (13, 13), (13, 13)]
PLACES = {
    'ofd_wrn16-2_wrn10-1_cifar10-folder-5e': WRN,
    'ofd_wrn16-2_wrn16-1_cifar10-folder-5e': WRN,
    'ofd_ssd192_lite2-mobilenet-v1_voc-animals': [
        (f'backbone.layer{stage}', block, size) for stage, block, size in zip((3, 4, 5), BLOCKS[1:], SSD, strict=True)
    ],
    'ofd_ssdlite192_lite2-lite0_voc-animals': list(zip(BLOCKS[1:], BLOCKS[1:], SSD, strict=True)),
    'ofd_deeplabv3plus193_lite2-r18_voc-animals': [
        (f'backbone.layer{stage}', block, size) for stage, block, size in zip((1, 2, 3, 4), BLOCKS, SEG, strict=True)
    ]
    + HEAD,
    'ofd_deeplabv3plus193_lite2-lite0_voc-animals': [*zip(BLOCKS, BLOCKS, SEG, strict=True), *HEAD],
}


def test_every_distillation_is_here():
    assert sorted(PLACES) == sorted(path.stem for path in (CONFIGS / 'small').glob('ofd_*.py'))


def with_its_teacher(path: Path) -> tuple[Config, Config]:
    config = Config.fromfile(path)
    return config, Config.fromfile(config.model.teacher.model)


@pytest.mark.parametrize('name', PLACES)
def test_each_distillation_reads_the_places_of_the_readme(name):
    if 'lite' in name:
        pytest.importorskip('timm')
    config, teacher = (buildable(one, name) for one in with_its_teacher(CONFIGS / 'small' / f'{name}.py'))
    init_default_scope(config.default_scope)
    config.model.teacher.update(model=teacher.model, checkpoint=None, allow_random=True)
    distiller = MODELS.build(without_pretrained(config.model))
    found = [(pair.student_place.name, pair.teacher_place.name, pair.student_place.size) for pair in distiller.pairs]
    assert found == PLACES[name]
    assert [auto.share for auto in distiller.pairs.auto_weights] == ([] if 'cifar' in name else [3.0])


@pytest.mark.parametrize('name', ['ssd192_lite2_voc-animals', 'ofd_ssdlite192_lite2-lite0_voc-animals'])
@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader', 'test_dataloader'])
def test_the_detectors_metric_names_their_own_classes(name, loader, tmp_path):
    """With the type ``VOC2012`` mmdet's metric would print the first of VOC's names."""
    for split in ('train', 'val'):
        write_voc(tmp_path / 'VOC2012', {split: [('cat', 5, 5, 40, 40), ('chair', 1, 1, 9, 9)]}, split=split)
    config = Config.fromfile(CONFIGS / 'small' / f'{name}.py')
    init_default_scope(config.default_scope)
    dataset = DATASETS.build(dict(config[loader].dataset, data_root=str(tmp_path)))
    assert dataset.metainfo['classes'] == ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
    assert dataset.metainfo['dataset_type'] is None
    assert [one['bbox_label'] for one in dataset.get_data_info(0)['instances']] == [0]


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_each_study_has_configs_for_its_teacher_and_its_runs(path, tmp_path):
    study = read_study(path)
    assert study.seeds == (0, 1, 2)
    named = Config.fromfile(study.config).model.teacher
    untaught = replace(study, options={'model.teacher.checkpoint': None})
    alone, *others = trainings_of(untaught, tmp_path)
    assert alone.label == 'alone' and alone.config.model.type != 'ovkd_mm.FeatureDistiller'
    assert all(one.label.startswith('alone') or one.config.model.type == 'ovkd_mm.FeatureDistiller' for one in others)
    if study.teacher:
        assert Path(named.model).stem == study.teacher.config.stem
        assert Path(named.checkpoint).parent.name == study.teacher.config.stem
        teacher = teacher_training(study.teacher, tmp_path)
        assert teacher.config.val_dataloader == alone.config.val_dataloader
        length = teacher.config.train_cfg.get('max_iters') or teacher.config.train_cfg.max_epochs
        assert Path(named.checkpoint).stem.endswith(f'_{length}')
    else:
        assert '::' in named.model and '://' in named.checkpoint


@pytest.mark.parametrize(
    ('asked', 'row'),
    [
        ('ROW=cifar100-c', 'cifar100-c'),
        ('ROW=cifar100-c SCALE=small', 'cifar10-wrn10-1'),
        ('ROW=ssd300-vgg16-mobilenet-v1 SCALE=small', 'voc-animals-ssd-mobilenet-v1'),
        ('ROW=deeplabv3plus-r18 SCALE=small', 'voc-animals-deeplabv3plus-r18'),
    ],
)
def test_make_reproduces_a_row_or_a_small_one_like_it(asked, row):
    command = ['make', '-n', 'reproduce', *asked.split()]
    said = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True, check=True).stdout
    assert f'tools/compare.py configs/reproduce/{row}.yml --work-dir work_dirs/reproduce/{row} ' in said
    assert (CONFIGS / 'reproduce' / f'{row}.yml').is_file()


def test_another_scale_does_not_train_a_row_of_the_paper():
    command = ['make', '-n', 'reproduce', 'ROW=cifar100-c', 'SCALE=smal']
    said = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True, check=False)
    assert said.returncode and 'SCALE=smal: there is only SCALE=small' in said.stderr
