import functools
from operator import getitem

import pytest
from mmengine.config import Config
from toy import distiller_config

from ovkd_mm.launch.config_keys import check_keys, check_scope, override

# A sample of the 311 keys that the configs of mmdet 3.3.0, mmseg 1.2.2 and mmpretrain 1.2.0 have at the top, those that
# are most like a runner's among them.
UPSTREAM = """
    test_pipeline train_pipeline val_pipeline weak_pipeline pipeline load_pipeline view_pipeline tta_pipeline tta_model
    val_evaluator_abs val_evaluator_pres val_evaluator_BCCD val_evaluator_all_val test_evaluator_Flickr30k
    gallery_dataloader query_dataloader train_dataset val_dataset_pres train_ann conv_cfg norm_cfg options_cfg
    custom_keys runner resume_from evaluation loader dataset_type data_root img_norm_cfg backend_args vis_backends
    default_scope env_cfg auto_scale_lr custom_imports runner_type optimizer max_epochs
"""


@pytest.mark.parametrize('name', UPSTREAM.split())
def test_variables_of_upstreams_configs_are_no_mistakes(name):
    check_keys(Config({name: 1}))


@pytest.mark.parametrize(
    'name',
    [
        'mmdet::ssd/ssd300_coco.py',
        'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
        'mmpretrain::lenet/lenet5_mnist.py',
    ],
)
def test_whole_configs_of_upstream_have_no_mistakes(name):
    config = Config.fromstring(f'_base_ = {name!r}', '.py')
    check_keys(config)
    check_scope(config)


@pytest.mark.parametrize('name', ['train_dataloader2', 'val_dataloader_b', 'my_train_dataloader', 'model_cfg', 'hooks'])
def test_variants_of_a_runners_key_are_no_mistakes(name):
    check_keys(Config({name: 1}))


@pytest.mark.parametrize(
    ('typo', 'meant'),
    {
        'train_dataloder': 'train_dataloader',
        'train_datalaoder': 'train_dataloader',
        'trian_cfg': 'train_cfg',
        'test_cgf': 'test_cfg',
        'modle': 'model',
        'models': 'model',
        'load_form': 'load_from',
        'work_dirs': 'work_dir',
        'custom_hook': 'custom_hooks',
        'param_schedulers': 'param_scheduler',
        'optim_wraper': 'optim_wrapper',
        'visualiser': 'visualizer',
        'default_scop': 'default_scope',
    }.items(),
)
def test_what_is_nearly_a_runners_key_is_refused(typo, meant):
    with pytest.raises(
        ValueError, match=f"the config has '{typo}', which nothing reads; nearest: {meant}. If it is a v"
    ):
        check_keys(Config({typo: 1}))


@pytest.mark.parametrize('key', ['model.depth', 'tta_model.type', 'sync_bn', 'find_unused_parameters', 'own.width'])
def test_a_setting_of_what_somebody_reads_is_accepted(key):
    config = Config(dict(own=dict(width=1)))
    override(config, {key: 7}, 'this')
    assert functools.reduce(getitem, key.split('.'), config) == 7


def test_options_are_set_one_by_one_and_stay_as_they_were():
    options = {'own': dict(width=2), 'own.width': 3}
    config = Config(dict(own=dict(width=1)))
    override(config, options, 'this')
    assert config.own.width == 3 and options['own'] == dict(width=2)


def test_no_text_takes_the_place_of_a_number_outside_the_model():
    settings = dict(
        optim_wrapper=dict(optimizer=dict(lr=0.1), loss_scale=512.0, type='OptimWrapper'),
        default_hooks=dict(checkpoint=dict(interval=1, by_epoch=True)),
        param_scheduler=[dict(end=5)],
        log_processor=dict(window_size=10),
        model=dict(loss_weight=1.0),
    )
    for key in ('optim_wrapper.optimizer.lr', 'default_hooks.checkpoint.interval', 'param_scheduler.0.end'):
        with pytest.raises(
            ValueError, match=rf"^here: {key}='abc': the config has [\d.]+ there, so this must be a num"
        ):
            override(Config(settings), {key: 'abc'}, 'here:')
    texts = {'optim_wrapper.type': 'Other', 'model.loss_weight': 'halved', 'optim_wrapper.loss_scale': 'dynamic'}
    texts |= {'optim_wrapper.optimizer.lr': 1, 'default_hooks.checkpoint.by_epoch': 'no', 'work_dir': 'there'}
    texts['log_processor.window_size'] = 'global'
    config = Config(settings)
    override(config, texts, 'here:')
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.loss_scale) == (1, 'dynamic')


def test_a_setting_of_what_nobody_reads_is_refused():
    with pytest.raises(ValueError, match=r'^this modle.depth: neither the config nor .*; nearest: model'):
        override(Config(dict(own=1)), {'modle.depth': 1}, 'this')


@pytest.mark.parametrize(
    ('key', 'fix'),
    {
        'method.loss.loss_weight': 'model.method.loss.loss_weight',
        'method': 'model.method',
        'distiller.input_shape': 'model.input_shape',
        'places.resnet': 'model.pairs',
        'head_pairs.ours': 'model.pairs',
        'pairs.0.weight': 'model.pairs.0.weight',
    }.items(),
)
def test_a_setting_of_what_the_distillation_has_copied_is_refused(key, fix):
    model = dict(type='ovkd_mm.FeatureDistiller', method=dict(loss=dict(loss_weight=1)), pairs=[dict(weight=1)])
    config = Config(dict(model=model, method=model['method'], pairs=model['pairs']))
    with pytest.raises(ValueError, match=rf'^this {key}: .*; set {fix}$'):
        override(config, {key: 0}, 'this')


@pytest.mark.parametrize('scope', ['mmdet', 'mmengine', 'mmrotate', 'mine', None])
def test_a_scope_of_ones_own_is_accepted(scope):
    check_scope(Config(dict(default_scope=scope)))


def test_a_mistyped_toolkit_is_refused():
    with pytest.raises(ValueError, match="default_scope='mmpretrian': there is no such toolkit; nearest: mmpretrain"):
        check_scope(Config(dict(default_scope='mmpretrian')))


def test_a_share_takes_the_place_of_a_number_and_of_another_share():
    config = Config(dict(model=dict(method=dict(loss=dict(loss_weight=1e-3)))))
    for share in (0.5, 2.0):
        override(config, {'model.method.loss.loss_weight.share': share}, '--cfg-options')
        assert config.model.method.loss.loss_weight == dict(share=share)


def test_a_setting_of_a_method_goes_into_one_that_is_named_by_its_file():
    config = Config(dict(model=dict(method='kd')))
    override(
        config, {'model.method.loss.temperature': 2.0, 'model.method.loss.loss_weight.share': 0.5}, '--cfg-options'
    )
    loss = config.model.method.loss
    assert (loss.type, loss.temperature, loss.loss_weight) == ('ovkd_mm.KDLoss', 2.0, dict(share=0.5))
    config = Config(dict(model=dict(method=['ofd', 'kd'])))
    override(config, {'model.method.1.loss.temperature': 2.0}, '--cfg-options')
    assert config.model.method[1].loss.temperature == 2.0
    assert config.model.method[0].loss.type == 'ovkd_mm.PartialL2Loss'
    override(config, {'model.method': 'at'}, '--cfg-options')
    assert config.model.method == 'at'


@pytest.mark.parametrize('method', ['dkd', 'dist'])
def test_a_share_is_set_where_a_method_sets_no_weight(method):
    config = Config(dict(model=distiller_config(method=method)))
    override(config, {'model.method.loss.loss_weight.share': 0.5}, 'this')
    assert config.model.method.loss.loss_weight == dict(share=0.5)


def test_a_setting_of_one_of_several_without_its_index_is_told_so():
    config = Config(dict(model=dict(distiller_config(), method=['ofd', 'kd'])))
    message = r'^x model\.method\.loss\.loss_weight=auto: model\.method is a list of 2: name one by its index, such as'
    with pytest.raises(ValueError, match=rf'{message} model\.method\.0\.loss\.loss_weight$'):
        override(config, {'model.method.loss.loss_weight': 'auto'}, 'x')
    override(config, {'model.method.0.loss.loss_weight': 'auto'}, 'x')
    assert config.model.method[0].loss.loss_weight == 'auto'
