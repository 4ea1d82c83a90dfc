"""Distills every config of ``configs.txt`` for a step and writes ``docs/upstream.md``.

``make test-upstream``. Each config has a process of its own; what was checked before stays, so that it can be stopped
and run again. ``--again`` checks anew.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import track

ROOT = Path(__file__).resolve().parents[2]
ROWS = Path(__file__).with_name('configs.txt')
SECONDS = 600  # for one config
HEAD = """# Models of the toolkits

Each row is a config that a toolkit ships. Its teacher is another config of the same folder, a larger one where there is
one. Both have random weights, inputs are small, and one step of OFD with `pairs='auto'` is trained. A row passes if

- the losses are finite;
- every connector, and at least 80 % of the backbone's learnable weights before the last place, get a gradient from the
  distillation alone;
- for each place, some output of the backbone depends on the image through that place and nothing else;
- the optimizer trains the student's weights as it trains the plain model's;
- the outputs, and at weight 0 the losses, are those of the plain model, bit for bit.

`make test-upstream` writes this page.

Most configs that do not train alone need compiled operators of mmcv, files that upstream does not ship, or a download.
Two detectors give RoIAlign boxes that the compiled operator refuses on a CPU, too. BEiT takes two views of an image,
which are not made here. Three do not pass: TridentNet's teacher, in evaluation, has one of its three branches; MAE
trains on a quarter of its tokens; all HiViTs share one list of `out_indices`, so a teacher of another depth leaves the
student without outputs (with `out_indices` written out in both configs it passes).

{summary}

| config | teacher | student's places | result |
|---|---|---|---|
"""


def main() -> None:
    """Check what is to be checked, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs' / 'upstream')
    parser.add_argument('--again', action='store_true', help='check anew what was checked before')
    parser.add_argument('--jobs', type=int, default=2, help='processes at once')
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    rows = [tuple(line.split()) for line in ROWS.read_text().splitlines() if line and not line.startswith('#')]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = pool.map(lambda row: _checked(args.work_dir, *row, again=args.again), rows)
        results = list(track(found, total=len(rows), description='configs'))
    (ROOT / 'docs' / 'upstream.md').write_text(page(results))


def _checked(work_dir: Path, student: str, teacher: str, again: bool) -> dict[str, Any]:
    file = work_dir / f'{student.replace("::", ".").replace("/", ".")}.json'
    if file.exists() and not again:
        return json.loads(file.read_text())
    command = [sys.executable, '-m', 'upstream.check', student, teacher]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        found = json.loads(run.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        found = dict(student=student, teacher=teacher, error=f'takes more than {SECONDS} s', plain=False, pairs=[])
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip().splitlines()[-1:] or [f'status {error.returncode}']
        found = dict(student=student, teacher=teacher, error=why[0], plain=False, pairs=[])
    file.write_text(json.dumps(found))
    return found


def page(results: list[dict[str, Any]]) -> str:
    """The page of some results."""
    counts = Counter('plain' if row['plain'] else 'failed' if row['error'] else 'passed' for row in results)
    summary = (
        f'Of {len(results)} configs {counts["passed"]} pass, {counts["failed"]} do not, and {counts["plain"]} do not '
        f'train alone either, in this check, on a CPU, with mmcv-lite. torch {version("torch")}, mmdet '
        f'{version("mmdet")}, mmsegmentation {version("mmsegmentation")}, mmpretrain {version("mmpretrain")}.'
    )
    return HEAD.format(summary=summary) + ''.join(map(_row, results))


def _row(row: dict[str, Any]) -> str:
    teacher = row['teacher'].rpartition('/')[2].removesuffix('.py') if row['teacher'] != row['student'] else 'the same'
    places = ', '.join(f'`{pair.split(" ")[0]}` {pair.split(" ")[1]}' for pair in row['pairs'])
    result = ('does not train alone: ' if row['plain'] else '') + (row['error'].replace('|', '\\|') or 'passed')
    return f'| `{row["student"].removesuffix(".py")}` | {teacher} | {places} | {result} |\n'


if __name__ == '__main__':
    main()
