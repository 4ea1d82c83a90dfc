"""What users get wrong, by the command lines, and the part of the answer that tells the fix."""

import os
import pickle
import re
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import toy
from command_line import ROOT
from mmdet.engine.hooks import NumClassCheckHook
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS
from PIL import Image
from voc_folder import write_voc, write_voc_masks

from ovkd_mm.launch.mistakes import mistake


@DATASETS.register_module(force=True)
class MistakenToys(toy.ToyImages):
    def __init__(self, broken=False):
        super().__init__()
        self.broken = broken

    def __getitem__(self, index):
        if self.broken:
            raise ValueError('a fault that no code of ours tells of')
        return super().__getitem__(index)


def loader(**dataset) -> dict:
    return dict(
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=2,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
    )


def config(folder: Path) -> Config:
    """A toy that distills itself; every path is below the folder."""
    return Config(
        dict(
            model=toy.distiller_config(),
            train_dataloader=loader(type='MistakenToys'),
            test_dataloader=loader(type='MistakenToys'),
            test_cfg=dict(),
            test_evaluator=[],
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[],
            work_dir=str(folder / 'work'),
        )
    )


# What users write who mistype, or who have nothing of what a toolkit's config needs.
CONFIGS = dict(
    train_dataloder="_base_ = './toy.py'\ntrain_dataloder = dict(batch_size=4)",
    trian_cfg="_base_ = './plain.py'\ntrian_cfg = dict(max_epochs=4)",
    custom_hook="_base_ = './toy.py'\ncustom_hook = []",
    studnet="_base_ = './toy.py'\nmodel = dict(studnet=dict(type='ToyClassifier'))",
    method="_base_ = ['./toy.py', '../_base_/methods/ofdd.py']",
    named_method="_base_ = ['./toy.py', 'ovkd_mm::_base_/methods/ofdd.py']",
    named_base="_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar.py'",
    nameless_base="_base_ = 'mmdet::ssd300_coco.py'",
    no_package="_base_ = 'mmdett::ssd/ssd300_coco.py'",
    cifar="_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'",
    fcn="_base_ = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py'\nmodel = dict(pretrained=None)",
    ssd="_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'",
    bare="_base_ = './toy.py'\noptim_wrapper = None\ntrain_dataloader = None",
    late="_base_ = './plain.py'\nparam_scheduler = [dict(type='LinearLR', end=1), dict(type='ConstantLR', begin=20)]",
    folders="""_base_ = './plain.py'
train_dataloader = dict(
    dataset=dict(_delete_=True, type='mmpretrain.CustomDataset', data_root='hollow', pipeline=[]))""",
    coarse="""model = dict(
    type='mmpretrain.ImageClassifier', backbone=dict(type='mmpretrain.ResNet', depth=18, strides=(2, 2, 2, 2)))""",
)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """What a user has: data, weights and configs, good ones and bad ones."""
    home = tmp_path_factory.mktemp('home')
    config(home).dump(home / 'toy.py')
    plain = config(home)
    plain.model = dict(type='ToyClassifier')
    plain.dump(home / 'plain.py')
    voc = dict(type='ovkd_mm.VOCDataset', data_root=str(home / 'voc'), pipeline=[dict(type='LoadImageFromFile')])
    boxes = config(home)
    boxes.train_dataloader = loader(**voc, ann_file='ImageSets/Main/train.txt')
    boxes.train_dataloader.num_workers = 0
    boxes.dump(home / 'boxes.py')
    masks = config(home)
    masks.train_dataloader = loader(
        type='ovkd_mm.PascalVOCDataset',
        data_root=str(home / 'seg'),
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='ovkd_mm.LoadMask', imdecode_backend='pillow')],
    )
    masks.dump(home / 'masks.py')
    mmsegs = dict(
        type='mmseg.BaseSegDataset', data_root=str(home / 'seg'), ann_file='ImageSets/Segmentation/values.txt'
    )
    mmsegs |= dict(data_prefix=masks.train_dataloader.dataset.data_prefix, metainfo=dict(classes=['sky', 'road']))
    steps = ('mmcv.LoadImageFromFile', 'mmseg.LoadAnnotations', 'mmseg.PackSegInputs')
    labels = config(home)
    labels.train_dataloader = loader(**mmsegs, pipeline=[dict(type=step) for step in steps])
    labels.train_dataloader.collate_fn = dict(type='pseudo_collate')
    labels.dump(home / 'labels.py')
    images = dict(type='mmpretrain.CustomDataset', ann_file=str(home / 'images.txt'), data_prefix=str(home))
    steps = ('mmcv.LoadImageFromFile', 'mmpretrain.PackInputs')
    labels.train_dataloader.dataset = dict(**images, classes=['cat'], pipeline=[dict(type=step) for step in steps])
    labels.dump(home / 'images.py')
    (home / 'images.txt').write_text('picture.png 0\npicture.png 7\n')

    write_voc(home / 'voc', {'a': [('cat', 5, 5, 60, 50)], 'b': [('dog', 5, 5, 60, 50)]})
    lists = home / 'voc/ImageSets/Main'
    for name, xml in dict(
        torn='<annotation>', alien=None, flat=None, bare='<annotation><object/></annotation>'
    ).items():
        thing = [('unicorn', 5, 5, 60, 50)] if name == 'alien' else [('cat', 30, 5, 10, 50)]
        write_voc(home / 'voc', {name: thing}, split=name)
        if xml:
            (home / f'voc/Annotations/{name}.xml').write_text(xml)
    for name in ('cut', 'gone'):
        write_voc(home / 'voc', {name: [('cat', 5, 5, 60, 50)]}, split=name)
    picture = home / 'voc/JPEGImages/cut.jpg'
    picture.write_bytes(picture.read_bytes()[:900])
    (home / 'voc/JPEGImages/gone.jpg').unlink()
    (lists / 'absent.txt').write_text('nobody\n')
    (lists / 'empty.txt').write_text('\n')
    (lists / 'columns.txt').write_text('a  1\n')
    (lists / 'latin.txt').write_bytes('a\nStraße\n'.encode('latin-1'))

    good = np.zeros((60, 80), np.uint8)
    for name in ('train', 'color', 'size', 'values', 'missing', 'torn'):
        write_voc_masks(home / 'seg', {name: good}, split=name)
    folder = home / 'seg/SegmentationClass'
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(folder / 'color.png')
    Image.fromarray(np.zeros((60, 79), np.uint8)).save(folder / 'size.png')
    Image.fromarray(np.full((60, 80), 77, np.uint8)).save(folder / 'values.png')
    (folder / 'missing.png').unlink()
    (folder / 'torn.png').write_bytes((folder / 'torn.png').read_bytes()[:40])

    torch.manual_seed(0)
    for name, model in dict(
        teacher=dict(type='ToyClassifier', width=6),
        student=dict(type='ToyClassifier'),
        other=dict(type='ToyClassifier', width=8),
    ).items():
        torch.save(dict(state_dict=MODELS.build(model).state_dict()), home / f'{name}.pth')
    (home / 'hollow').mkdir()
    (home / 'run').mkdir()  # what a training leaves
    torch.save(torch.load(home / 'other.pth', weights_only=True), home / 'run/other.pth')
    (home / 'run/last_checkpoint').write_text('run/other.pth')
    Config(dict(model=dict(type='ToyClassifier', width=8))).dump(home / 'run/own.py')
    (home / 'torn.pth').write_bytes((home / 'teacher.pth').read_bytes()[:-500])
    torch.save(dict(state_dict={'net.weight': torch.ones(2)}), home / 'another.pth')
    torch.save([1, 2], home / 'list.pth')
    (home / 'text.pth').write_text('weights')

    class Hostile:
        def __reduce__(self):
            return os.system, (f'touch {home}/owned',)

    with (home / 'hostile.pth').open('wb') as file:
        pickle.dump(dict(state_dict=Hostile()), file)
    (home / 'syntax.py').write_text('model = dict(')
    (home / 'base.py').write_text("_base_ = './no_such_base.py'")
    (home / 'raises.py').write_text('model = undefined')
    (home / 'empty.py').write_text('seed = 1')
    (home / 'import.py').write_text("custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)")
    for name, text in CONFIGS.items():
        (home / f'{name}.py').write_text(text)
    lacking = config(home)
    del lacking.model.pairs[1]['teacher']
    lacking.dump(home / 'pair_lacks.py')
    (home / 'file').touch()
    (home / 'taken.pth').touch()
    (home / 'study.yml').write_text('config: toy.py\nmethds: [kd]\n')
    (home / 'twice.yml').write_text('config: toy.py\nmethods: [kd, kd]\n')
    cv2.imwrite(str(home / 'picture.png'), good)
    return home


def no_network(*args, **kwargs):
    raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')


@pytest.fixture
def tool(home, monkeypatch, capsys):
    """Run a tool in this process, as a user at home does; returns its status and what it said on stderr."""
    monkeypatch.chdir(home)
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_PROCID', 'OMPI_COMM_WORLD_LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('TORCH_HOME', str(home / 'torch'))
    monkeypatch.setattr(socket, 'getaddrinfo', no_network)

    def run(line: str) -> tuple[object, str]:
        name, *flags = line.split()
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *flags])
        try:
            runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        finally:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            for logger in MMLogger._instance_dict.values():  # they would write to this test's streams
                for handler in logger.handlers:
                    handler.close()
            MMLogger._instance_dict.clear()
        return 0, capsys.readouterr().err

    return run


TOY = 'train toy.py --cfg-options experiment_name={id} '
PLAIN = 'train plain.py --cfg-options experiment_name={id} '
BOXES = 'train boxes.py --cfg-options experiment_name={id} train_dataloader.dataset.'
MASKS = 'train masks.py --cfg-options experiment_name={id} train_dataloader.dataset.'
CIFAR, FCN, SSD = (f'train {name}.py --cfg-options experiment_name={{id}} ' for name in ('cifar', 'fcn', 'ssd'))
PRETRAINED = PLAIN + 'model.init_cfg.type=Pretrained model.init_cfg.checkpoint='
MAIN, SEG = 'ImageSets/Main', 'ImageSets/Segmentation'
MISTAKES = {
    'config': [
        ('train nowhere.py', "the config 'nowhere.py' does not exist; looked for in /.*home"),
        ('test nowhere.py x.pth', "the config 'nowhere.py' does not exist; looked for in /.*home"),
        ('export_student nowhere.py x.pth out.pth', "the config 'nowhere.py' does not exist; looked for in /.*home"),
        ('compare --config nowhere.py --methods kd', "config='nowhere.py' does not exist; looked for in /.*home"),
        ('train syntax.py', "'syntax.py' cannot be read: SyntaxError"),
        ('train base.py', "its _base_ '/.*/no_such_base.py' does not exist; looked for in /.*home"),
        ('train raises.py', "name 'undefined' is not defined"),
        ('train empty.py', "'empty.py' has no model; it has seed"),
        ('train import.py', 'no_such_module'),
        (TOY + 'model.type=ovkd_mm.FetureDistiller', "model.type='ovkd_mm.FetureDistiller': there is no such model; nearest: ovkd_mm.FeatureDistiller"),
        (TOY + 'train_dataloader.dataset.type=MistakenToy', "train_dataloader.dataset.type='MistakenToy': there is no such dataset; nearest: MistakenToys"),
        (TOY + 'model.method.loss.type=ovkd_mm.PartialL2', 'nearest: ovkd_mm.PartialL2Loss'),
        (TOY + 'optim_wrapper.optimizer.type=SGDD', "optim_wrapper.optimizer.type='SGDD': .*nearest: SGD"),
        (TOY + 'model.techer.checkpoint=teacher.pth', "model.techer=.*FeatureDistiller has no setting 'techer'; nearest: teacher"),
        (TOY + 'model.student.widht=8', "model.student.widht=8: ToyClassifier has no setting 'widht'; nearest: width"),
        (TOY + 'model.teacher.chekpoint=teacher.pth', "teacher has no setting 'chekpoint'; nearest: checkpoint"),
        (TOY + 'model.method.student_transform.type=ovkd_mm.Conv1', 'nearest: ovkd_mm.Conv1x1'),
    ],
    'data': [
        (BOXES + 'data_root=nowhere', "data_root='nowhere' .* is not a folder"),
        (BOXES + f'ann_file={MAIN}/typo.txt', r'typo\.txt. does not exist. Point data_root and ann_file of train_dataloader'),
        (BOXES + f'ann_file={MAIN}/empty.txt', r'empty\.txt. is empty'),
        (BOXES + f'ann_file={MAIN}/absent.txt', r"nobody\.xml. does not exist, but its id 'nobody' is in a split list"),
        (BOXES + f'ann_file={MAIN}/torn.txt', r'torn\.xml. is not well-formed XML'),
        (BOXES + f'ann_file={MAIN}/bare.txt', r'bare\.xml. is not a VOC annotation. Each <object> needs'),
        (BOXES + f'ann_file={MAIN}/alien.txt', "'unicorn' is not among the classes .*metainfo=dict"),
        (BOXES + f'ann_file={MAIN}/flat.txt', r'flat\.xml.*has xmax 10, less than xmin 30.*skip_degenerate_boxes=True of train_dataloader'),
        (BOXES + f'ann_file={MAIN}/columns.txt', r"'a  1' has a space in it.*first column alone"),
        (BOXES + f'ann_file={MAIN}/latin.txt', r'latin\.txt. is not UTF-8 text \(line 2\)'),
        ('train images.py --cfg-options experiment_name={id}', r"picture\.png. has the label 7, .* CustomDataset has the one class 0"),
        (BOXES + f'ann_file={MAIN}/cut.txt', r'cut\.jpg. is cut off'),
        (BOXES + f'ann_file={MAIN}/gone.txt', r'gone\.jpg'),
        (BOXES + f'ann_file={MAIN}/cut.txt train_dataloader.num_workers=1', r'cut\.jpg. is cut off'),
        (BOXES + 'metainfo.classes=cat', "metainfo.classes must be a list of names"),
        ('demo --data nowhere', 'nowhere is not a folder'),
        ('demo --data seg', 'is not in VOC format: it needs JPEGImages, Annotations and ImageSets/Main'),
    ],
    'masks': [
        (MASKS + f'ann_file={SEG}/color.txt', r'color\.png. is not a map of class indices.*palette PNG'),
        (MASKS + f'ann_file={SEG}/size.txt', r'size\.png. is 79x60, but its image'),
        (MASKS + f'ann_file={SEG}/values.txt', r'values\.png. holds 77 .*21 classes are 0 to 20'),
        (MASKS + f'ann_file={SEG}/values.txt train_dataloader.dataset.own_masks=True', 'If 77 is void, set ignore_index=77 of the data set'),
        (MASKS + 'ignore_index=[11]', r'ignore_index of train_dataloader\.dataset must be one whole number, got \[11\]'),
        ('train labels.py --cfg-options experiment_name={id}', r'values\.png. has the label 77 .*2 classes 0 to 1; 255 is void\. If 77'),
        (MASKS + f'ann_file={SEG}/values.txt train_dataloader.num_workers=1', r'values\.png. holds 77 .*21 classes are'),
        (MASKS + f'ann_file={SEG}/missing.txt', r'missing\.png.*seg_map_path .*train_dataloader'),
        (MASKS + f'ann_file={SEG}/torn.txt', r'torn\.png. cannot be decoded'),
        (MASKS + 'reduce_zero_label=True', 'Set reduce_zero_label=False'),
        (MASKS + 'data_prefix.seg_map_path=Masks', "Masks. does not exist. Set data_prefix.seg_map_path"),
    ],
    'teacher': [
        (TOY + 'model.teacher.allow_random=False', 'teacher.checkpoint is not set.*--cfg-options model.teacher.checkpoint'),
        (TOY + 'model.teacher.checkpoint=nowhere.pth', "teacher.checkpoint: .*'nowhere.pth' does not exist"),
        (TOY + 'model.teacher.checkpoint=torn.pth', "'torn.pth' cannot be read as a checkpoint"),
        (TOY + 'model.teacher.checkpoint=other.pth', r"teacher.checkpoint='other.pth' does not fit.*\d+ of \d+"),
        (TOY + 'model.teacher.checkpoint=run/other.pth', r'trained with: --cfg-options model\.teacher\.model=run/own\.py'),
        (TOY + 'model.teacher.checkpoint=hostile.pth', "'hostile.pth'"),
        (TOY + 'model.teacher.norm_mode=batsch', "teacher.norm_mode must be 'batch' or 'running', got 'batsch'"),
        (TOY + 'model.teacher.model=nowhere.py', "teacher.model='nowhere.py' does not exist; looked for in /.*home"),
        (TOY + 'model.teacher.model=plan.py', "teacher.model='plan.py' does not exist; .*nearest: plain.py"),
        (TOY + 'model.teacher.model=mmdet::ssd/ssd300_coc.py', 'does not exist; looked for in .*nearest: mmdet::ssd/ssd300_coco.py'),
        (TOY + 'model.teacher.model=mmdet::ssd300_coco.py', 'does not exist; looked for in .*nearest: mmdet::ssd/ssd300_coco.py'),
        (TOY + 'model.teacher.model=mmdett::ssd/ssd300_coco.py', "'mmdett::.*' names no package with configs; nearest: mmdet"),
        (TOY + 'model.teacher.model=ovkd_mm::ssd300/ssd300_vgg16_voc712.py', 'nearest: ovkd_mm::ssd300/ssd300_vgg16_voc0712.py'),
        (TOY + 'model.teacher.model=base.py', "teacher.model='base.py' cannot be read: its _base_ '/.*/no_such_base.py' does not"),
        (TOY + 'model.teacher=teacher.pth', "teacher must be a dict with some of model, checkpoint, .* got 'teacher.pth'"),
        (TOY + 'model.teacher.model=empty.py', "teacher.model='empty.py' has no key 'model'"),
    ],
    'checkpoint': [
        ('test plain.py nowhere.pth', "'nowhere.pth' does not exist; check the path"),
        ('test plain.py other.pth', r'does not fit the model ToyClassifier: \d+ of \d+'),
        ('test plain.py text.pth', "'text.pth' cannot be read as a checkpoint"),
        ('test plain.py hostile.pth', "'hostile.pth'"),
        ('train toy.py --resume nowhere.pth', "'nowhere.pth' does not exist; check the path"),
        (TOY + 'load_from=another.pth', "load_from='another.pth': none of its weights .* net.weight, "),
        ('train toy.py --resume torn.pth', "'torn.pth' cannot be read as a checkpoint"),
        ('train toy.py --resume teacher.pth', 'lacks|does not fit'),
        ('export_student toy.py nowhere.pth out.pth', "'nowhere.pth' does not exist; check the path"),
        ('export_student toy.py other.pth out.pth', 'does not fit the model.*use the config that the checkpoint was'),
        ('export_student toy.py list.pth out.pth', 'holds a list, not a checkpoint'),
    ],
    'predict': [
        ('predict nowhere.py x.pth picture.png --out-dir out', "the config 'nowhere.py' does not exist; looked for in /.*home"),
        ('predict student.pth plain.py picture.png --out-dir out', "'plain.py' is a config where the checkpoint belongs"),
        ('predict plain.py student.pth nowhere.png --out-dir out', "the image 'nowhere.png' does not exist"),
        ('predict plain.py student.pth voc/ImageSets --out-dir out', "the folder 'voc/ImageSets' holds no image"),
        ('predict plain.py student.pth picture.png --out-dir .', '1 of the 1 pictures are there already and are not overwritten'),
        ('predict plain.py student.pth picture.png --out-dir out', 'default_scope=None of the config'),
        ('predict plain.py student.pth picture.png --out-dir out --device gpu', '--device gpu: '),
        ('predict plain.py student.pth picture.png', 'required: --out-dir'),
    ],
    'pairs': [
        (TOY + 'model.pairs.0.student=backbone.layr1', r"pairs\[0\].student: place 'backbone.layr1' .*backbone.layer1"),
        (TOY + 'model.pairs.0.teacher=backbone.layer2', 'unequal spatial size.*resize=True'),
        (TOY + 'model.pairs.0.wieght=2', r"pairs\[0\] has no setting 'wieght'; nearest: weight"),
        (TOY + 'model.pairs.0.studnet=backbone.layer1', r"pairs\[0\] has no setting 'studnet'; nearest: student"),
        (TOY + 'model.pairs=3', "pairs must be 'auto' or a list of dicts, got 3"),
        ('train pair_lacks.py', r'pairs\[1\] \(with the method\) lacks teacher; a pair has student and teacher'),
        (TOY + 'model.pairs=atuo', "pairs must be 'auto' or a list of dicts, got 'atuo'"),
        (TOY + 'model.method.position.type=ovkd_mm.Logits model.logits=[]', 'logits is empty, so nothing would be distilled'),
        (TOY + 'model.pairs.7.weight=1', '--cfg-options model.pairs.7.weight=1: the config has no place for it'),
    ],
    'hooks': [('train hooked_plain.py', 'DistillScheduleHook needs a FeatureDistiller, got ToyClassifier')],
    'options': [
        ('train toy.py --cfg-options trian_cfg.max_epochs=2', "has 'trian_cfg'; nearest: train_cfg"),
        ('train toy.py --cfg-options model', "'model' is not KEY=VALUE"),
        (TOY + "custom_hooks=[dict(type='EMAHook'),dict(type='EarlyStoppingHook',monitor='mIoU')]", r'custom_hooks=\[dict\(.* has a dict, which a flag cannot hold: set its keys \(a\.b=1\), or write a config'),
        (TOY + "model.method.loss.loss_weight={{'share':0.5}}", 'has a dict, which a flag cannot hold'),
        ('train toy.py --auto-scale-lr', r'auto_scale_lr=dict\(base_batch_size=...\)'),
        ('train toy.py --auto-scale-lr --cfg-options auto_scale_lr=None', r'error: .*auto_scale_lr=dict\(base_batch_size=...\)'),
        ('train toy.py --auto-scale-lr --cfg-options auto_scale_lr.base_batch_size=4 param_scheduler.type=OneCycleLR', 'error: .*eta_max'),
        ('train toy.py --launcher torch', 'invalid choice'),
        ('train toy.py --work-dir file/below', "work_dir='file/below' cannot be written.*--work-dir"),
        ('test plain.py student.pth --out result.json', '--out must end with .pkl'),
        ('test plain.py student.pth --show-dir pictures', 'need default_hooks.visualization in the config'),
        ('test plain.py student.pth --tta', '--tta needs tta_model and tta_pipeline'),
        ('export_student toy.py student.pth taken.pth', 'taken.pth exists and is not overwritten'),
        ('export_student toy.py student.pth out.pt', "OUT must end with .pth, got 'out.pt'"),
        ('export_student plain.py student.pth out.pth', "model.type is 'ToyClassifier', not ovkd_mm.FeatureDistiller"),
        ('compare study.yml', "a study has the keys .*got .'methds'"),
        ('compare twice.yml', "'kd' twice"),
        ('compare none.yml', "the study 'none.yml' does not exist; looked for in /.*home"),
        ('compare twic.yml', "the study 'twic.yml' does not exist; looked for in /.*home.*; nearest: twice.yml"),
        ('compare configs/ablation/positon.yml', r'nearest: /\S+/configs/ablation/position.yml'),
        ('compare --config toy.py --methods kdd --work-dir new', "unknown method 'kdd'; nearest: kd"),
        ('compare --config toy.py --methods kd --seeds -1', 'argument --seeds: must be a whole number from 0 up'),
        ('compare --config plain.py --methods kd --work-dir new', 'distills nothing'),
        ('compare --methods kd', 'config is missing: .*--config'),
    ],
    'toolkit_refusals': [
        ('train late.py --cfg-options experiment_name={id}', r"error: param_scheduler\.1\.begin=20 must be less than its end, 1, the training's where none is set: lower it, or train longer \(train_cfg\)"),
        ('train folders.py --cfg-options experiment_name={id}', 'error: train_dataloader.dataset: Found 0 files'),
        ('train folders.py --cfg-options experiment_name={id} train_dataloader.dataset.data_root=nix', "error: train_dataloader.dataset: .*nix.*No such file"),
    ],
    'model_keys': [
        (TOY + 'model.studnet.type=ToyClassifier', "model.studnet=.*FeatureDistiller has no setting 'studnet'; nearest: student"),
        ('train studnet.py', "model.studnet=.*FeatureDistiller has no setting 'studnet'; nearest: student"),
        (TOY + 'model.inputshape=(16,16)', "model.inputshape=.* nearest: input_shape"),
        (TOY + 'model.method.weigth=3', "method has no setting 'weigth'; nearest: weight"),
        (TOY + 'model.method.lss.type=ovkd_mm.L2Loss', "method has no setting 'lss'; nearest: loss"),
        (TOY + 'model.method=7', 'method must be a dict of parts or the name of a file of methods, got 7'),
        (TOY + 'model.method=fitnet', "unknown method 'fitnet'; nearest: fitnets"),
        (TOY + 'model.method.loss.weight=3', "model.method.loss.weight=3: PartialL2Loss has no setting 'weight'; nearest: loss_weight"),
        (TOY + 'model.method.position.tpye=x', "model.method.position.tpye='x': PreReLU has no setting 'tpye'"),
        (TOY + 'model.channel_order=rbg', "channel_order must be 'rgb' or 'bgr', got 'rbg'"),
    ],
    'runner_keys': [
        ('train train_dataloder.py', "the config has 'train_dataloder', which nothing reads; nearest: train_dataloader"),
        ('test trian_cfg.py student.pth', "the config has 'trian_cfg', which nothing reads; nearest: train_cfg"),
        ('export_student custom_hook.py student.pth out.pth', "has 'custom_hook', which nothing reads; nearest: custom_hooks"),
        ('compare --config train_dataloder.py --methods kd', "the config has 'train_dataloder', which nothing reads"),
        ('compare --config toy.py --methods kd --cfg-options train_dataloder.batch_size=2', "kd: train_dataloder.batch_size: neither the config nor a runner has 'train_dataloder'; nearest: train_dataloader"),
        (TOY + 'train_dataloder.batch_size=2', "neither the config nor a runner has 'train_dataloder'; nearest: train_dataloader"),
        (TOY + 'method.loss.loss_weight=0', 'the model has taken over method, .* set model.method.loss.loss_weight'),
        (TOY + 'nothing_like_it=2', "neither the config nor a runner has 'nothing_like_it'"),
        (TOY + 'load_form=x.pth', "has 'load_form'; nearest: load_from"),
        (TOY + 'default_scope=mmdett', "default_scope='mmdett': there is no such toolkit; nearest: mmdet"),
        (TOY + 'train_dataloader.batchsize=2', "train_dataloader.batchsize=2: DataLoader has no setting 'batchsize'; nearest: batch_size"),
        (TOY + 'train_dataloader.dataset.borken=True', "train_dataloader.dataset.borken=True: MistakenToys has no setting 'borken'; nearest: broken"),
        (TOY + 'train_dataloader.sampler.suffle=True', "train_dataloader.sampler.suffle=True: .*nearest: shuffle"),
        (TOY + 'train_cfg.max_epoch=2', "train_cfg.max_epoch=2: EpochBasedTrainLoop has no setting 'max_epoch'; nearest: max_epochs"),
        (TOY + 'optim_wrapper.optimizer.lrr=2', 'optim_wrapper.optimizer.lrr=2: SGD has no setting .lrr.; nearest: lr'),
        (TOY + 'optim_wrapper.clipgrad.max_norm=2', 'optim_wrapper.clipgrad=.*nearest: clip_grad'),
        (TOY + 'default_hooks.chekpoint.interval=2', r"default_hooks.chekpoint=\{'interval': 2\} has no 'type'; nearest: checkpoint"),
        (TOY + 'default_hooks.checkpoint.intervall=2', "default_hooks.checkpoint.intervall=2: CheckpointHook has no setting 'intervall'; nearest: interval"),
        (TOY + 'randomness.sed=3', "randomness.sed=3: Runner.set_randomness has no setting 'sed'; nearest: seed"),
    ],
    'toolkit_keys': [
        (CIFAR + 'model.backbnoe.depth=18', "model.backbnoe=.*ImageClassifier has no setting 'backbnoe'; nearest: backbone"),
        (CIFAR + 'model.backbone.dept=18', "model.backbone.dept=18: ResNet_CIFAR has no setting 'dept'; nearest: depth"),
        (CIFAR + 'model.head.num_clases=3', "model.head.num_clases=3: LinearClsHead has no setting 'num_clases'; nearest: num_classes"),
        (CIFAR + 'model.head.type=LinearClsHed', "model.head.type='LinearClsHed': there is no such model; nearest: LinearClsHead"),
        (CIFAR + 'data_preprocessor.numclasses=3', 'data_preprocessor.numclasses=3: .*nearest: num_classes'),
        (CIFAR + 'train_dataloader.dataset.splits=train', "train_dataloader.dataset.splits='train': CIFAR10 has no setting 'splits'; nearest: split"),
        (CIFAR + 'visualizer.vis_backend=3', 'visualizer.vis_backend=3: .*nearest: vis_backends'),
        (FCN + 'model.backbnoe.depth=18', "model.backbnoe=.*EncoderDecoder has no setting 'backbnoe'; nearest: backbone"),
        (FCN + 'model.decode_head.num_clases=3', "model.decode_head.num_clases=3: FCNHead has no setting 'num_clases'; nearest: num_classes"),
        (FCN + 'model.decode_head.loss_decode.lossweight=3', 'model.decode_head.loss_decode.lossweight=3: .*nearest: loss_weight'),
        (FCN + 'train_dataloader.dataset.dta_root=x', "train_dataloader.dataset.dta_root='x': CityscapesDataset has no setting 'dta_root'; nearest: data_root"),
        (SSD + 'model.bbox_head.num_clases=3', "model.bbox_head.num_clases=3: SSDHead has no setting 'num_clases'; nearest: num_classes"),
        (SSD + 'train_dataloader.dataset.dataset.ann_fil=x', "train_dataloader.dataset.dataset.ann_fil='x': CocoDataset has no setting 'ann_fil'; nearest: ann_file"),
    ],
    'paths': [
        ('train toy', "the config 'toy' does not exist; looked for in /.*home.*; nearest: toy.py"),
        ('train pln.py', 'nearest: plain.py'),
        ('train seg', "the config 'seg' is a folder, not a config"),
        ('train configs/ssd300/ssd300_vgg16_voc0712.py', r'looked for in /.*home.*/configs/ssd300; nearest: /\S+/configs/ssd300/ssd300_vgg16_voc0712.py'),
        ('train configs/ssd/ssd300_vgg_voc0712.py', r'nearest: /\S+/configs/ssd300/ssd300_vgg16_voc0712.py'),
        ('train mmdet::ssd/ssd300_coco.py', "is a name, not a file: write one with _base_ = 'mmdet::ssd/ssd300_coco.py'"),
        ('train method.py', r"its _base_ '/\S+/_base_/methods/ofdd.py' does not exist; looked for in /\S+/_base_/methods; nearest: /\S+/configs/_base_/methods/ofd.py"),
        ('train named_method.py', "its _base_ 'ovkd_mm::_base_/methods/ofdd.py' does not exist; .* nearest: ovkd_mm::_base_/methods/ofd.py"),
        ('train named_base.py', "its _base_ 'mmpretrain::resnet/resnet18_8xb16_cifar.py' does not exist; .* nearest: .*mmpretrain::resnet/resnet18_8xb16_cifar10.py"),
        ('train nameless_base.py', "its _base_ 'mmdet::ssd300_coco.py' does not exist; .* nearest: mmdet::ssd/ssd300_coco.py"),
        ('train no_package.py', "its _base_ 'mmdett::ssd/ssd300_coco.py' names no package with configs; nearest: mmdet"),
        ('compare --config method.py --methods kd', 'nearest: /.*/ofd.py'),
        ('export_student student.pth toy.py out.pth', "'toy.py' is a config where the checkpoint belongs"),
        ('test student.pth plain.py', "'plain.py' is a config where the checkpoint belongs"),
        ('train student.pth', "the config 'student.pth' is not a config, .* the config comes before the checkpoint"),
    ],
    'network': [
        (TOY + 'model.teacher.checkpoint=https://example.org/x.pth', r'model.teacher.checkpoint=https://example.org/x.pth cannot be downloaded \(.*\): name a file that has it, --cfg-options model.teacher.checkpoint=FILE'),
        (TOY + 'load_from=https://example.org/x.pth', 'load_from=https://example.org/x.pth cannot be downloaded'),
        ('train toy.py --resume https://example.org/x.pth', r'error: https://example.org/x.pth cannot be downloaded \(.*\): name a file that has it instead'),
        ('test plain.py https://example.org/x.pth', r'error: https://example.org/x.pth cannot be downloaded \(.*\): name a file that has it instead'),
        (PRETRAINED + 'torchvision://resnet18', r'model.init_cfg.checkpoint=torchvision://resnet18 \(https://download.pytorch.org/.*\) cannot be downloaded .* random weights, --cfg-options model.init_cfg=None'),
        (PRETRAINED + 'open-mmlab://resnet50_v1c', r'model.init_cfg.checkpoint=open-mmlab://resnet50_v1c \(https://download.openmmlab.com/.*\) cannot be downloaded .* random weights, --cfg-options model.init_cfg=None'),
        (PRETRAINED + 'torchvision://resnet500', 'model.init_cfg.checkpoint=torchvision://resnet500: there are no such weights; nearest: resnet50'),
        (PRETRAINED + 'open-mmlab://resnet50_v1z', 'open-mmlab://resnet50_v1z: there are no such weights; nearest: resnet50_v1c'),
        ('train cifar.py --cfg-options experiment_name={id}', r'error: https?://www.cs.toronto.edu/\S+ cannot be downloaded'),
    ],
    'positions': [
        ('train toy.py --cfg-options train_cfg=None', 'train_cfg is not set, without which nothing can be trained'),
        ('positions nowhere.py', "the config 'nowhere.py' does not exist; looked for in /.*home"),
        ('positions mmdet::ssd/ssd30_coco.py', "does not exist; .*nearest: mmdet::ssd/ssd300_coco.py"),
        ('positions empty.py', "the config 'empty.py' has no model; it has seed"),
        ('positions plain.py nowhere.py --input-shape 64 64', "teacher.model='nowhere.py' does not exist"),
        ('positions plain.py', "'plain.py' does not say how large its training inputs are; set --input-shape H W"),
        ('positions plain.py --input-shape 0 64', "--input-shape: must be a whole number from 1 up, got '0'"),
        ('positions plain.py run/own.py --input-shape 64 64 --method odf', "unknown method 'odf'; nearest: ofd"),
        ('positions plain.py coarse.py --input-shape 64 64', r"no spatial size common to the student \(\[\(32, 32\), \(16, 16\)\]\) and the teacher \(\[\(8, 8\)"),
        ('positions plain.py run/own.py --input-shape 64 64 --write toy.py', "'toy.py' exists and is not overwritten; choose another --write"),
        ('positions plain.py run/own.py --input-shape 64 64 --write new.txt', "--write must end with .py, got 'new.txt'"),
        ('positions plain.py run/own.py --input-shape 64 64 --write away/new.py', "there is no folder 'away'"),
        ('positions plain.py run/own.py --input-shape 64 64 --svg', '--svg without a file goes beside the one of --write'),
        ('positions plain.py --input-shape 64 64 --svg new.svg', '--svg needs a TEACHER_CONFIG after CONFIG'),
        ('positions toy.py --write new.py', '--write needs the plain config of a student; CONFIG is a distillation already'),
        ('benchmark toy.py --cfg-options model.input_shape=300', r'error: input_shape must be \(H, W\) in pixels, such as \(300, 300\); got 300'),
        ('benchmark bare.py --data --batch-size 2', 'error: --data: the config has no train_dataloader'),
        ('positions toy.py plain.py', "the config 'toy.py' has a teacher of its own, so 'plain.py' cannot be it"),
        ('positions plain.py --input-shape 64 64 --checkpoint other.pth', '--checkpoint other.pth does not fit the model ToyClassifier'),
    ],
    'environment': [
        ('train toy.py --amp', '--amp needs a GPU, and this is to run on cpu; leave it out'),
        ('train toy.py --launcher pytorch', 'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT in the environment, which torchrun'),
        ('train toy.py --launcher slurm', 'SLURM_PROCID.*srun sets'),
        ('test plain.py student.pth --launcher mpi', 'OMPI_COMM_WORLD_LOCAL_RANK'),
    ],
}  # fmt: skip
HOOK = 'custom_hooks.0.'
for options, message in {
    'type=ovkd_mm.ConnectorWarmupHook': 'ConnectorWarmupHook needs either epochs or iters',
    'type=ovkd_mm.ConnectorWarmupHook epochs=1 iters=1': 'ConnectorWarmupHook needs either epochs or iters',
    'type=ovkd_mm.ConnectorWarmupHook epochs=-1': 'ConnectorWarmupHook.epochs must be a whole number from 0 up, got -1',
    'type=ovkd_mm.DistillScheduleHook schedule=cosin': 'schedule must be one of constant, linear, cosine',
    'type=ovkd_mm.DistillScheduleHook stop_at=0': 'DistillScheduleHook.stop_at must be a number above 0',
    'type=ovkd_mm.FeatureVisualizationHook interval=0': 'FeatureVisualizationHook.interval must be a whole number above 0',
    'type=ovkd_mm.ConectorWarmupHook': 'nearest: ovkd_mm.ConnectorWarmupHook',
    'type=ovkd_mm.ConnectorWarmupHook epoch=1': "custom_hooks.0.epoch=1: ConnectorWarmupHook has no setting 'epoch'; nearest: epochs",
}.items():  # fmt: skip
    settings = ' '.join(HOOK + option for option in options.split())
    MISTAKES['hooks'].append(('train hooked.py --cfg-options experiment_name={id} ' + settings, message))
CASES = [
    pytest.param(*case, id=f'{kind}-{index}') for kind, cases in MISTAKES.items() for index, case in enumerate(cases)
]


@pytest.fixture(scope='module', autouse=True)
def hooked(home):
    for name in ('toy', 'plain'):
        read = Config.fromfile(home / f'{name}.py')
        read.custom_hooks = [dict(type='ovkd_mm.DistillScheduleHook')]
        read.dump(home / ('hooked.py' if name == 'toy' else 'hooked_plain.py'))
    bare = Config.fromfile(home / 'toy.py')
    bare.custom_hooks = [dict()]
    bare.dump(home / 'hooked.py')


def test_there_are_mistakes_of_every_kind():
    assert len({line for cases in MISTAKES.values() for line, _ in cases}) == len(CASES)


@pytest.mark.parametrize(('line', 'message'), CASES)
def test_a_mistake_is_answered_with_one_message_and_status_2(tool, request, line, message):
    status, said = tool(line.format(id=request.node.callspec.id))
    assert status == 2, said
    assert re.search(message, said, re.DOTALL), said
    assert re.search(r'^(error|\w+\.py: error): ', said, re.MULTILINE)
    assert 'Traceback' not in said
    assert not Path('owned').exists()


def test_a_fault_keeps_its_traceback_whether_it_happens_here_or_in_a_loading_process(tool):
    for workers in (0, 1):
        with pytest.raises(ValueError, match='a fault that no code of ours tells of'):
            tool(
                f'train toy.py --cfg-options experiment_name=fault{workers} train_dataloader.dataset.broken=True '
                f'train_dataloader.num_workers={workers}'
            )


def test_what_is_advised_where_there_is_no_network_trains(tool):
    line = f'{PRETRAINED}torchvision://resnet18 model.init_cfg=None'
    assert tool(line.format(id='advised'))[0] == 0


def test_the_traceback_of_a_mistake_is_shown_on_request(tool):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.py'):
        tool('train nowhere.py --traceback')


def test_among_several_processes_each_says_which_it_is(tool, monkeypatch):
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert tool('train nowhere.py')[1].startswith("error (rank 3): the config 'nowhere.py'")


def test_the_shell_sees_the_message_on_stderr_and_status_2(home):
    run = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'train.py'), 'nowhere.py'],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, '')
    assert run.stderr.startswith('error: ')
    assert run.stderr.count('\n') == 1


def test_what_mmdet_refuses_in_its_check_of_a_heads_classes_is_a_mistake():
    head = torch.nn.Module()
    head.num_classes = 20
    model = torch.nn.ModuleDict(dict(bbox_head=head))
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('cat', 'dog'))))
    with pytest.raises(AssertionError) as refused:
        NumClassCheckHook().before_train_epoch(SimpleNamespace(model=model, train_dataloader=loader))
    assert re.search(r'num_classes` \(20\) .* 2\)', mistake(refused.value))
