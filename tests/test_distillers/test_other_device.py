"""A distiller on a device that is not the CPU, without a GPU."""

import json
from pathlib import Path

import pytest
from pretend_gpu import HERE
from toy import METHOD, distiller_config
from warm_start import start

from ovkd_mm.method_files import method_names

pytestmark = pytest.mark.skipif(not HERE, reason='this torch has no devices made in Python')
# The scores of whole images have no positions; two differ from ofd.py in the weight alone.
LEFT_OUT = ('cwd_logits', 'ofd_cifar', 'ofd_imagenet')
LOGITS = [dict(student='fc', teacher='fc')]
TEACHER = distiller_config()['teacher']
CONFIGS = {
    **{name: dict(method=name, logits=LOGITS) for name in method_names() if name not in LEFT_OUT},
    'several methods': dict(method=['ofd_auto', 'dkd'], logits=LOGITS),
    'other means and channels': dict(
        teacher=TEACHER | dict(model=TEACHER['model'] | dict(mean=(1, 2, 3), std=(4, 5, 6), bgr_to_rgb=True))
    ),
    'bfloat16 teacher': dict(teacher=TEACHER | dict(dtype='bfloat16')),
}
MISTAKE = dict(method=METHOD | dict(loss=dict(type='LeftBehindLoss')))


@pytest.fixture(scope='module')
def losses(tmp_path_factory) -> dict[str, list | str]:
    """For each config the losses on the CPU and on the pretended device, or an error."""
    folder = tmp_path_factory.mktemp('other_device')
    configs = {name: distiller_config(**changes) for name, changes in (CONFIGS | {'mistake': MISTAKE}).items()}
    configs['cache'] = distiller_config(teacher=TEACHER | dict(norm_mode='running', cache=str(folder / 'cache')))
    (folder / 'configs.json').write_text(json.dumps(configs))
    run = start(Path(__file__).parents[1] / 'pretend_gpu.py', [str(folder / 'configs.json')], folder, folder / 'log')
    run.join()
    printed = (folder / 'log').read_text()
    assert run.exitcode == 0, printed[-3000:]
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize('name', [*CONFIGS, 'cache'])
def test_losses_equal_those_on_the_cpu(losses, name):
    here, elsewhere = losses[name]
    assert len(here) == 2
    for ours, theirs in zip(here, elsewhere, strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if 'loss' in key:
                assert ours[key] == pytest.approx(theirs[key], rel=1e-3), key


def test_a_tensor_left_on_the_cpu_is_an_error(losses):
    assert 'one of (1,) is on a CPU' in losses['mistake']
