"""A run of a study as a training leaves it."""

import json
from pathlib import Path

from mmengine.config import Config

from ovkd_mm.compare.training import Training

CPU = dict(commit='abc', versions='torch 2', device='CPU')


def logged_run(folder: Path, label: str, seed: int, values: list[float], reason: str = '', **changes) -> Training:
    """A run that validated every ten iterations of 0.5 s, and then 0.25 s, each."""
    run = folder / label.replace(' | ', '-') / f'seed{seed}'
    (run / '20250101_000000/vis_data').mkdir(parents=True)
    lines = []
    for index, value in enumerate(values, start=1):
        time = 0.5 if index == 1 else 0.25
        lines.append(dict(step=10 * index, loss=1.0, time=time, **changes.get('logged', {})))
        lines.append({'step': 10 * index, 'mIoU': value, 'other': 3, 'time': 9.0})
    (run / '20250101_000000/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    note = dict(
        state='failed' if reason else 'finished',
        reason=reason or None,
        recipe={},
        parameters=1_234_567,
        peak_rss_mib=700 + seed,
        minutes=2.0,
        environment=changes.get('environment', CPU),
    )
    (run / 'run.json').write_text(json.dumps(note))
    return Training(label, seed, Config(dict(a=1)), run)
