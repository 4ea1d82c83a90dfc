import copy
import functools
import tarfile
from pathlib import Path

import cv2
import mmengine
import numpy as np
import pytest
import torch
from classifiers_by_hand import ByHand, overhaul_loss
from command_line import ROOT
from image_folder import loader_options, small_wrn, write_images
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, CIFAR100_CATEGORIES
from mmpretrain.structures import DataSample
from readme import cfg_options, code_block, table
from torch import nn

CONFIGS = ROOT / 'configs'
README = (CONFIGS / 'cifar100' / 'README.md').read_text()
README_10 = (CONFIGS / 'cifar10' / 'README.md').read_text()
# The name in the README and the parameters in the authors'.
NETWORKS = {
    'wrn28-4': ('WRN28-4', 5.87e6),
    'wrn16-4': ('WRN16-4', 2.77e6),
    'wrn28-2': ('WRN28-2', 1.47e6),
    'wrn16-2': ('WRN16-2', 0.70e6),
    'resnet56': ('ResNet-56', 0.86e6),
    'pyramid200-240': ('PyramidNet-200(240)', 26.84e6),
    'pyramid110-84': ('PyramidNet-110(84)', 3.91e6),
}
# In the order of the authors' settings a to f.
PAIRS = (
    ('wrn28-4', 'wrn16-4'),
    ('wrn28-4', 'wrn28-2'),
    ('wrn28-4', 'wrn16-2'),
    ('wrn28-4', 'resnet56'),
    ('pyramid200-240', 'wrn28-4'),
    ('pyramid200-240', 'pyramid110-84'),
)
DISTILLATIONS = [
    *((f'cifar100/ofd_{teacher}_{student}_cifar100', teacher, student) for teacher, student in PAIRS),
    ('cifar10/ofd_wrn28-4_wrn16-2_cifar10', 'wrn28-4', 'wrn16-2'),
    ('cifar10/ofd_wrn28-4_wrn16-2_cifar10-folder', 'wrn28-4', 'wrn16-2'),
]
UNTRAINED = {'model.teacher.checkpoint': None, 'model.teacher.allow_random': True}


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def load(name: str) -> Config:
    return copy.deepcopy(_load(name))


def build(config: Config, **options) -> nn.Module:
    """The model, as the runner builds it."""
    init_default_scope(config.default_scope)
    config.merge_from_dict(options)
    return MODELS.build(dict(config.model, data_preprocessor=config.data_preprocessor))


@pytest.fixture(scope='module')
def metafile():
    return {
        model['Name']: model
        for folder in ('cifar10', 'cifar100')
        for model in mmengine.load(CONFIGS / folder / 'metafile.yml')['Models']
    }


@pytest.mark.parametrize('name', NETWORKS)
def test_the_parameters_are_the_papers_within_one_percent(name, metafile):
    count = sum(parameter.numel() for parameter in build(load(f'cifar100/{name}_cifar100')).parameters())
    _, paper = NETWORKS[name]
    assert count == pytest.approx(paper, rel=0.01)
    row = table(README, 'config', 'parameters')[name]
    assert (int(row[0].replace(',', '')), row[1]) == (count, f'{paper / 1e6:.2f} M')
    distilled = [f'ofd_{teacher}_{student}_cifar100' for teacher, student in PAIRS if student == name]
    assert {metafile[config]['Metadata']['Parameters'] for config in (f'{name}_cifar100', *distilled)} == {count}


@pytest.mark.parametrize('suffix', ['cifar10', 'cifar10-folder'])
@pytest.mark.parametrize('name', ['wrn28-4', 'wrn16-2'])
def test_ten_classes_change_the_classifier_alone(name, suffix, metafile):
    hundred, ten = load(f'cifar100/{name}_cifar100').model, load(f'cifar10/{name}_{suffix}').model
    assert (hundred.head.pop('num_classes'), ten.head.pop('num_classes')) == (100, 10)
    assert hundred == ten
    count = sum(parameter.numel() for parameter in build(load(f'cifar10/{name}_{suffix}')).parameters())
    for config in [f'{name}_{suffix}', f'ofd_wrn28-4_wrn16-2_{suffix}'][: 2 if name == 'wrn16-2' else 1]:
        row = table(README_10, 'config', 'parameters')[config]
        assert int(row[0].replace(',', '')) == metafile[config]['Metadata']['Parameters'] == count


@pytest.mark.parametrize(('name', 'teacher', 'student'), DISTILLATIONS)
def test_each_distillation_builds_with_the_readmes_places_and_the_papers_weights(name, teacher, student, metafile):
    config = load(name)
    folder, suffix = name.partition('/')[0], name.rpartition('_')[2]
    assert config.model.student == load(f'{folder}/{student}_{suffix}').model
    assert Path(config.model.teacher.model) == CONFIGS / folder / f'{teacher}_{suffix}.py'
    assert config.model.teacher.checkpoint == f'work_dirs/{teacher}_{suffix}/epoch_200.pth'
    batch = 64 if 'pyramid200' in name else 128
    assert config.train_dataloader.batch_size == metafile[Path(name).stem]['Metadata']['Batch Size'] == batch

    distiller = build(config, **UNTRAINED)
    assert [pair.weight for pair in distiller.pairs] == [1 / 4, 1 / 2, 1]
    assert {pair.loss.loss_weight for pair in distiller.pairs} == {1e-3}
    rows = table(README, 'network', 'layer1, 32x32')
    for index, pair in enumerate(distiller.pairs):
        for place, network in ((pair.teacher_place, teacher), (pair.student_place, student)):
            assert place.name == f'backbone.layer{index + 1}'
            assert place.size == (32 >> index, 32 >> index)
            norm = place.norm.removeprefix('backbone.')
            assert rows[NETWORKS[network][0]][index] == f'`{norm}`, {place.channels}'


def test_the_readme_lists_the_authors_settings_in_their_order():
    rows = table(README, 'config', 'teacher', 'student')
    alone = table(README, 'config', 'parameters')
    assert list(rows) == [f'ofd_{teacher}_{student}' for teacher, student in PAIRS]
    for (teacher, student), row in zip(PAIRS, rows.values(), strict=True):
        assert row[:2] == [NETWORKS[teacher][0], NETWORKS[student][0]]
        assert row[4] == alone[student][3]


@pytest.mark.parametrize('folder', ['cifar10', 'cifar100'])
def test_the_metafile_lists_every_config_once_and_the_index_imports_it(folder):
    models = mmengine.load(CONFIGS / folder / 'metafile.yml')['Models']
    configs = [f'configs/{folder}/{path.name}' for path in (CONFIGS / folder).glob('*.py')]
    assert sorted(model['Config'] for model in models) == sorted(configs)
    assert all(model['Name'] == Path(model['Config']).stem for model in models)
    assert f'configs/{folder}/metafile.yml' in mmengine.load(ROOT / 'model-index.yml')['Import']


# What reaches the runner


def small_run(name: str, folder: Path, tmp_path: Path, **options) -> Runner:
    config = load(name)
    model = 'model.student' if 'ofd' in name else 'model'
    work_dir = tmp_path / 'work'
    config.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'experiment_name': f'{tmp_path.name}',
            'log_level': 'WARNING',
            'randomness.seed': 0,
            **loader_options(folder, batch_size=16),
            **small_wrn(model),
            **options,
        }
    )
    return Runner.from_cfg(config)


def test_the_optimizer_has_the_authors_settings_for_student_and_connectors_at_every_epoch(tmp_path):
    folder = write_images(tmp_path / 'images', ('cup', 'plate'), 1)
    options = {**UNTRAINED, 'train_dataloader.batch_size': load('cifar10/wrn16-2_cifar10').train_dataloader.batch_size}
    runner = small_run('cifar10/ofd_wrn28-4_wrn16-2_cifar10-folder', folder, tmp_path, **options)
    assert isinstance(runner.train_loop, mmengine.runner.EpochBasedTrainLoop)
    assert runner.max_epochs == 200
    assert runner.train_dataloader.batch_size == 128
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    optimizer = runner.optim_wrapper.optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    trained = {id(parameter) for parameter in group['params']}
    assert trained == {id(parameter) for parameter in runner.model.parameters()}
    assert {id(parameter) for pair in runner.model.pairs for parameter in pair.parameters()} < trained
    assert (group['momentum'], group['weight_decay'], group['nesterov'], group['dampening']) == (0.9, 5e-4, True, 0)
    (scheduler,) = runner.build_param_scheduler(runner.param_schedulers)
    rates = []
    for _ in range(200):
        rates.append(group['lr'])
        scheduler.step()
    assert rates == pytest.approx([0.1] * 100 + [0.01] * 50 + [0.001] * 50)


@pytest.mark.parametrize('name', NETWORKS)
def test_every_network_has_the_same_schedule(name):
    first, other = load('cifar100/wrn28-4_cifar100'), load(f'cifar100/{name}_cifar100')
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'data_preprocessor', 'default_hooks'):
        assert other[key] == first[key]
    assert other.train_dataloader.dataset == first.train_dataloader.dataset
    assert other.train_dataloader.batch_size == (64 if 'pyramid200' in name else 128)
    assert other.val_dataloader.dataset.split == other.test_dataloader.dataset.split == 'test'


# Data


def images_for_the_model(name: str, sample: dict) -> torch.Tensor:
    config = load(name)
    init_default_scope(config.default_scope)
    packed = Compose(config.test_dataloader.dataset.pipeline)(sample)
    preprocessor = MODELS.build(dict(config.data_preprocessor, type='ClsDataPreprocessor'))
    return preprocessor(dict(inputs=packed['inputs'][None], data_samples=[packed['data_samples']]))['inputs'][0]


def test_an_image_reaches_the_model_alike_from_cifars_archive_and_from_a_file(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), rgb[..., ::-1])
    from_archive = images_for_the_model('cifar10/wrn16-2_cifar10', dict(img=rgb, gt_label=3))
    from_file = images_for_the_model(
        'cifar10/wrn16-2_cifar10-folder', dict(img_path=str(tmp_path / 'image.png'), gt_label=3)
    )
    # The authors' normalization.
    by_hand = (rgb / 255 - np.array([125.3, 123.0, 113.9]) / 255) / (np.array([63.0, 62.1, 66.7]) / 255)
    torch.testing.assert_close(from_archive.double(), torch.from_numpy(by_hand).permute(2, 0, 1), rtol=1e-5, atol=1e-5)
    assert torch.equal(from_archive, from_file)


def test_training_images_are_crops_of_the_reflected_image_half_of_them_flipped():
    config = load('cifar100/wrn28-4_cifar100')
    init_default_scope(config.default_scope)
    pipeline = Compose(config.train_dataloader.dataset.pipeline)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode='reflect')
    crops = {
        view[y : y + 32, x : x + 32].tobytes(): (y, x, flipped)
        for flipped, view in enumerate((padded, padded[:, ::-1]))
        for y in range(9)
        for x in range(9)
    }
    seen = []
    for _ in range(600):
        inputs = pipeline(dict(img=image, gt_label=0))['inputs'].permute(1, 2, 0)
        seen.append(crops.get(inputs.numpy().tobytes()))
    assert None not in seen
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(9))
    assert 240 < sum(flipped for _, _, flipped in seen) < 360


def test_folders_named_as_the_classes_give_cifars_own_labels():
    """The READMEs say so; mmpretrain numbers folders in alphabetical order."""
    assert sorted(CIFAR10_CATEGORIES) == list(CIFAR10_CATEGORIES)
    assert sorted(CIFAR100_CATEGORIES) == list(CIFAR100_CATEGORIES)


def test_the_readmes_options_train_and_validate_on_a_folder_of_ones_own(tmp_path):
    folder = write_images(tmp_path / 'images', ('cup', 'plate'), 8)
    options = cfg_options(README_10, 'train_dataloader.dataset.data_root')
    assert len(options) == 3
    options = {key: str(folder) if value == 'data/mine' else value for key, value in options.items()}
    trial = cfg_options(README_10, 'model.backbone.depth')
    assert {**options, **trial}.keys() - loader_options(folder, 4).keys() == small_wrn().keys()
    schedule = {'train_cfg': dict(max_epochs=4, val_interval=4), 'train_dataloader.batch_size': 4}
    runner = small_run('cifar10/wrn28-4_cifar10-folder', folder, tmp_path, **options, **trial, **schedule)
    runner.train()
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('cup', 'plate')
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() == 100
    # The last three epochs and the best.
    assert {path.name for path in (tmp_path / 'work').glob('*.pth')} == {
        *(f'epoch_{epoch}.pth' for epoch in (2, 3, 4)),
        'best_accuracy_top1_epoch_4.pth',
    }


def test_the_readmes_options_read_lists_of_images_and_labels(tmp_path):
    folder = write_images(tmp_path / 'images', ('a', 'b'), 2)
    for split in ('train', 'test'):
        (folder / f'{split}.txt').write_text('b/0.png 0\na/0.png 1\n')
    config = Config.fromfile(CONFIGS / 'cifar10/wrn28-4_cifar10-folder.py')
    config.merge_from_dict(cfg_options(README_10, 'train_dataloader.dataset.data_root', {'data/mine': str(folder)}))
    config.merge_from_dict(cfg_options(README_10, 'train_dataloader.dataset.ann_file'))
    init_default_scope(config.default_scope)
    for loader in (config.train_dataloader, config.val_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert [dataset[i]['data_samples'].gt_label.item() for i in range(2)] == [0, 1]
        assert len(dataset.metainfo['classes']) == config.model.head.num_classes


def test_the_readmes_config_reads_folders_for_cifar_100(tmp_path):
    source = code_block(README, 'python', 'CustomDataset')
    assert "'./configs/" in source
    path = tmp_path / 'folder.py'
    path.write_text(source.replace("'./configs/", f"'{CONFIGS}/").replace('data/cifar100_folder', f'{tmp_path}/images'))
    write_images(tmp_path / 'images', CIFAR100_CATEGORIES, 1)
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    for key, split in (('train_dataloader', 'train'), ('val_dataloader', 'test'), ('test_dataloader', 'test')):
        dataset = DATASETS.build(config[key].dataset)
        assert dataset.metainfo['classes'] == CIFAR100_CATEGORIES
        assert dataset[0]['inputs'].shape == (3, 32, 32)
        assert Path(dataset[0]['data_samples'].img_path).parts[-3] == split
        assert config[key].batch_size == 128
    assert config.data_preprocessor == load('cifar100/wrn28-4_cifar100').data_preprocessor | dict(to_rgb=True)


@pytest.fixture
def two_real_classes(tmp_path) -> Path:
    """The first images of CIFAR-10's airplanes and automobiles, 64 to train on and 32 to test on of each."""
    path = ROOT.parent / 'shared' / 'data' / 'cifar10_jpeg' / 'cifar10_jpeg.tar.xz'
    if not path.exists():
        pytest.skip(f'no real images at {path}')
    wanted = {'airplane': 96, 'automobile': 96}
    with tarfile.open(path) as tar:
        for member in tar:
            name = Path(member.name)
            if member.isfile() and wanted.get(name.parent.name):
                wanted[name.parent.name] -= 1
                split = 'train' if wanted[name.parent.name] >= 32 else 'test'
                target = tmp_path / 'images' / split / name.parent.name / name.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
            if not any(wanted.values()):
                break
    return tmp_path / 'images'


def test_a_small_network_learns_real_images(two_real_classes, tmp_path):
    runner = small_run(
        'cifar10/wrn16-2_cifar10-folder',
        two_real_classes,
        tmp_path,
        **{'train_cfg': dict(max_epochs=10, val_interval=10), 'optim_wrapper.optimizer.lr': 0.05},
    )
    runner.train()
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('airplane', 'automobile')
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() > 65


# The reference numbers


class Arrays(BaseModel):
    """A model whose feature before the i-th ReLU is the i-th array, whatever its input.

    Each array goes through a batch norm with given scale and shift, in reverse before it and forward in it, so that the
    tap finds the array and the margin finds the batch norm.
    """

    def __init__(self, features, gammas=None, betas=None):
        super().__init__(data_preprocessor=ImgDataPreprocessor())
        self.fc = nn.Linear(1, 1)
        self.groups = nn.ModuleList()
        for index, feature in enumerate(features):
            norm = nn.BatchNorm2d(feature.shape[1], eps=0)
            if gammas is not None:
                norm.weight.data, norm.bias.data = gammas[index].clone(), betas[index].clone()
            self.groups.append(nn.Sequential(norm, nn.ReLU(inplace=True)))
            before = (feature - norm.bias.data[:, None, None]) / norm.weight.data[:, None, None]
            self.register_parameter(f'array{index}', nn.Parameter(before))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for index, group in enumerate(self.groups):
            # In evaluation mode whatever the model's, its statistics being 0 and 1.
            out = group.eval()(getattr(self, f'array{index}') + 0 * inputs.sum())
        return dict(loss=0 * out.sum()) if mode == 'loss' else out


def test_through_the_config_the_authors_four_taps_give_the_authors_loss_and_gradients(golden, tmp_path, monkeypatch):
    """Arrays of the reference numbers as the features of two models, by the config's own method.

    Compared are the sum of the four taps and the gradients at the student's features and the connectors' convolutions.
    The authors' sum is neither divided by the batch size nor weighted; their training script does both.
    """
    taps = [{key: golden[f'pair_{tap}_{key}'] for key in ('teacher', 'student', 'gamma', 'beta')} for tap in range(4)]
    teacher = Arrays(*([tap[key] for tap in taps] for key in ('teacher', 'gamma', 'beta')))
    student = Arrays([tap['student'] for tap in taps])
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    monkeypatch.setitem(MODELS.module_dict, 'GivenTeacher', lambda **_: teacher)
    monkeypatch.setitem(MODELS.module_dict, 'GivenStudent', lambda **_: student)
    config = load('cifar100/ofd_wrn28-4_wrn16-2_cifar100')
    distiller = MODELS.build(
        dict(
            type='ovkd_mm.FeatureDistiller',
            student=dict(type='GivenStudent'),
            teacher=dict(
                model=dict(type='GivenTeacher'), checkpoint=str(tmp_path / 'teacher.pth'), norm_mode='running'
            ),
            method=config.model.method,
            pairs=[
                dict(student=f'groups.{tap}', teacher=f'groups.{tap}', weight=weight)
                for tap, weight in enumerate((1 / 8, 1 / 4, 1 / 2, 1))
            ],
            input_shape=config.model.input_shape,
        )
    ).train()
    for tap, pair in enumerate(distiller.pairs):
        pair.student_transform.conv.weight.data.copy_(golden[f'pair_{tap}_conv'])
    total, _ = distiller.parse_losses(distiller(torch.randn(3, 3, 32, 32), mode='loss'))
    total.backward()
    scale = 3 / 1e-3  # images and the method's weight
    assert total.item() * scale == pytest.approx(golden['pair_loss_sum'].item(), rel=1e-5)
    for tap, pair in enumerate(distiller.pairs):
        for ours, key in (
            (getattr(student, f'array{tap}').grad, 'student_grad'),
            (pair.student_transform.conv.weight.grad, 'conv_grad'),
        ):
            theirs = golden[f'pair_{tap}_{key}']
            torch.testing.assert_close(ours * scale, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_the_naive_recipe_gives_the_authors_sum(golden):
    """What the next test relies on: loops and definitions, on the arrays of the reference numbers."""
    names = ('student', 'conv', 'teacher', 'gamma', 'beta')
    total = sum(overhaul_loss(*(golden[f'pair_{tap}_{name}'] for name in names)) / 2 ** (3 - tap) for tap in range(4))
    assert total == pytest.approx(golden['pair_loss_sum'].item(), rel=1e-5)


def fill(model: nn.Module, numbers: torch.Tensor) -> None:
    """Set all weights of ``model`` from one array, scaled so that the signal lives through the layers."""
    start = 0
    for name, parameter in model.named_parameters():
        values = numbers[torch.arange(start, start + parameter.numel()) % len(numbers)].reshape(parameter.shape)
        start += parameter.numel()
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.5 * values + (1 if name.endswith('weight') else 0))


def test_a_wide_resnet_pair_with_weights_from_arrays_gives_the_recipes_total(golden, tmp_path):
    """A WRN10-2 teaches a WRN10-1 by the config; all weights and the images are numbers of the reference arrays.

    Compared is the total loss with networks, connectors, margins, partial L2, pooling, classifier and cross entropy
    written out by hand in float64 (``classifiers_by_hand.py``), whose distillation part gives the authors' sum above.
    """
    numbers = torch.cat([golden[f'pair_{tap}_{side}'].flatten() for tap in range(4) for side in ('teacher', 'student')])
    plain = tmp_path / 'teacher.py'
    plain.write_text(
        f"_base_ = '{CONFIGS}/cifar100/wrn28-4_cifar100.py'\n"
        'model = dict(backbone=dict(depth=10, width=2), head=dict(in_channels=128))'
    )
    teacher = build(Config.fromfile(plain))
    fill(teacher, numbers)
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    distiller = build(
        load('cifar100/ofd_wrn28-4_wrn16-2_cifar100'),
        **{
            'model.student.backbone': dict(depth=10, width=1),
            'model.student.head': dict(in_channels=64),
            'model.teacher': dict(model=str(plain), checkpoint=str(tmp_path / 'teacher.pth')),
        },
    ).train()
    fill(distiller.student, numbers.flip(0))
    for tap, pair in enumerate(distiller.pairs):
        fill(pair.student_transform.conv, golden[f'pair_{tap}_conv'].flatten())
    images = numbers[: 2 * 3 * 16 * 16].reshape(2, 3, 16, 16)
    labels = torch.tensor([7, 42])
    samples = [DataSample().set_gt_label(label) for label in labels]

    student_state = {key: value.clone() for key, value in distiller.student.state_dict().items()}
    features, output = ByHand(student_state, True, 'backbone.').wide_resnet(images.double(), 10, 1)
    teacher_features, _ = ByHand(teacher.state_dict(), True, 'backbone.').wide_resnet(images.double(), 10, 2)
    norms = ('layer2.0.bn1', 'layer3.0.bn1', 'bn')
    expected = []
    for pair, student, theirs, norm, weight in zip(
        distiller.pairs, features, teacher_features, norms, (1 / 4, 1 / 2, 1), strict=True
    ):
        gamma, beta = (teacher.state_dict()[f'backbone.{norm}.{key}'] for key in ('weight', 'bias'))
        summed = overhaul_loss(student, pair.student_transform.conv.weight.detach(), theirs, gamma, beta)
        expected.append(weight * 1e-3 * summed / len(images))
    fc, bias = (student_state[f'head.fc.{key}'].double() for key in ('weight', 'bias'))
    scores = output.mean((2, 3)) @ fc.T + bias
    task = (scores.exp().sum(1).log() - scores[[0, 1], labels]).mean().item()

    losses = distiller(images, samples, mode='loss')
    total, _ = distiller.parse_losses(losses)
    assert losses['loss'].item() == pytest.approx(task, rel=1e-4)
    assert [losses[f'loss_distill_{tap}'].item() for tap in range(3)] == pytest.approx(expected, rel=1e-4)
    assert total.item() == pytest.approx(task + sum(expected), rel=1e-4)
    assert min(expected) > 0.1
