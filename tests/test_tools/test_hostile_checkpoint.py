"""Resume on the command line from a checkpoint that means harm."""

from pathlib import Path

import torch
from command_line import ROOT
from mmengine.config import Config
from toy import distiller_config
from warm_start import start


def test_the_config_inside_a_resumed_file_is_not_run(tmp_path):
    config = Config(
        dict(
            custom_imports=dict(imports=['toy'], allow_failed_imports=False),
            model=distiller_config(),
            train_dataloader=dict(
                dataset=dict(type='ToyImages'),
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_size=4,
                num_workers=0,
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )
    config.dump(tmp_path / 'config.py')
    run_train(tmp_path)
    checkpoint = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)
    checkpoint['meta']['config'] = '__import__("os").system("touch PWNED")'
    torch.save(checkpoint, tmp_path / 'hostile.pth')

    log = run_train(tmp_path, '--resume', tmp_path / 'hostile.pth', '--cfg-options', 'train_cfg.max_epochs=2')
    assert not (tmp_path / 'PWNED').exists()
    assert 'resumed epoch: 1, iter: 2' in log
    assert 'hostile.pth: the config that it carries (meta.config) is read, never run' in log
    assert (tmp_path / 'work' / 'epoch_2.pth').exists()


def run_train(folder: Path, *args: object) -> str:
    arguments = ['config.py', '--work-dir', 'work', *map(str, args)]
    modules = [ROOT / 'tests', Path(__file__).parent]
    run = start(ROOT / 'tools' / 'train.py', arguments, folder, folder / 'log', modules)
    run.join()
    printed = (folder / 'log').read_text()
    assert run.exitcode == 0, printed[-3000:]
    return printed
