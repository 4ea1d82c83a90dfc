"""One run of a study: trained in a child process, with a note of where it stands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..checkpoints.atomic_save import draft_of, write_whole
from ..checkpoints.resume import saved_checkpoints
from ..config_files import PACKAGE
from ..report.history import read_history
from ..what_differs import what_differs
from .configs import as_json

__all__ = ['NOTE', 'TRAIN', 'Training', 'metrics_of']

TRAIN = PACKAGE / '.mim' / 'tools' / 'train.py'  # a checkout has a link there

NOTE = 'run.json'
TEACHER_FILES = ('model', 'checkpoint')  # keys of model.teacher that name files, of which there is a digest
PROGRESS = re.compile(r'((?:Epoch|Iter)\(train\)\s+(?:\[[^\]]*\])+).*?eta: (.+?)\s{2}')
TAIL = 64 * 1024  # bytes of a log that are read to find its last lines


@dataclass
class Training:
    """One entry with one seed.

    Its folder holds ``run.json``, which says how far it came and with what config; ``train.log``, what the training
    printed; and what mmengine writes. The config lies beside the folder.

    Attributes:
        label: The entry's.
        seed: The seed.
        config: What is trained.
        folder: Its work dir.
        teacher: Digest of the teacher's files, which notices changed content under the same name.
    """

    label: str
    seed: int
    config: Config
    folder: Path
    teacher: str | None = None
    note: dict = field(init=False)

    def __post_init__(self) -> None:
        file = self.folder / NOTE
        try:
            self.note = json.loads(file.read_text()) if file.is_file() else {}
        except ValueError as error:
            raise ValueError(f'{file} cannot be read ({error}); delete its folder to train anew') from error

    @property
    def name(self) -> str:
        """What to call it."""
        return f'{self.label}, seed {self.seed}'

    @property
    def file(self) -> Path:
        """The config's file."""
        return self.folder.with_name(f'{self.folder.name}.py')  # not with_suffix: a name such as 'share-0.5' has a dot

    @property
    def checkpoint(self) -> str | None:
        """The last one that was saved."""
        found = saved_checkpoints(Config(dict(self.config, work_dir=str(self.folder))))
        return str(found[0].resolve()) if found else None

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.folder / 'train.log'

    @property
    def state(self) -> str:
        """``'not run'``, ``'started'``, ``'failed'`` or ``'finished'``."""
        return self.note.get('state', 'not run')

    @property
    def recipe(self) -> dict:
        """What it is trained with."""
        return dict(config=as_json(self.config), teacher=self.teacher)

    def check(self, metric: str | None = None) -> None:
        """See that what the folder holds is of this config, and has the metric if it is finished.

        Raises:
            ValueError: If it is of another, of something else or without the metric.
        """
        advice = 'delete the folder to train anew, or name another --work-dir'
        if not self.note:
            files = self.folder.iterdir() if self.folder.is_dir() else ()
            if any(not file.name.startswith(draft_of(NOTE)) for file in files):
                raise ValueError(f'{self.folder} holds something else than a run of a study; {advice}')
        elif differing := self._differing():
            what = ', '.join(key.removeprefix('config.') for key in differing)
            if differing == ['teacher']:
                what = "the content of the teacher's checkpoint or config"
            raise ValueError(f'{self.folder} holds a run of another config, which differs in: {what}; {advice}')
        elif self.state == 'finished' and (reason := self._lack(metric)):
            raise ValueError(f'{self.folder} is finished, but {reason}')

    def _differing(self) -> list[str]:
        """The keys by which the folder's run differs; a teacher whose files were merely moved does not count."""
        differing = what_differs(self.note['recipe'], self.recipe)
        teacher = (self.config.get('model') or {}).get('teacher') or {}
        if 'teacher' in differing:
            return differing
        moved = {
            f'config.model.teacher.{key}' for key, name in teacher.items() if key in TEACHER_FILES and _is_file(name)
        }
        return [key for key in differing if key not in moved]

    def check_finished(self) -> None:
        """See that it is finished, where what comes next needs it.

        Raises:
            ValueError: If it is not. The message says why, and where all of it stands.
        """
        if self.state != 'finished':
            raise ValueError(f'{self.name} failed: {self.note["reason"]} (all of it in {self.log})')

    def run(self, tool: Path, facts: dict, metric: str | None, progress: Callable[[str], None], lock: int) -> None:
        """Train, or resume, until the end or a failure.

        Args:
            tool: :data:`TRAIN`, or one that is called like it.
            facts: What to note beside.
            metric: Key of the validation metric that must be there at the end; None for any.
            progress: Is told from time to time how far it is.
            lock: File descriptor that the child holds open, too.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.dump(self.file)
        self._write(state='started', recipe=self.recipe, reason=None, **facts)
        begin, started = self.log.stat().st_size if self.log.exists() else 0, time.monotonic()
        command = [sys.executable, str(tool), str(self.file), '--work-dir', str(self.folder), '--resume']
        with self.log.open('ab') as log:
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, pass_fds=[lock])
        try:
            self._wait(child, progress)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            minutes = self.note.get('minutes', 0) + (time.monotonic() - started) / 60
            self._write(minutes=round(minutes, 2))  # and the peak so far: they are of all attempts
        reason = self._failure(child.returncode, metric, _tail(self.log, begin))
        self._write(state='failed' if reason else 'finished', reason=reason)

    def _wait(self, child: subprocess.Popen, progress: Callable[[str], None]) -> None:
        """Wait for the child, and note its peak resident memory in MiB, 0 where the system does not tell."""
        self.note.setdefault('peak_rss_mib', 0)
        while child.poll() is None:
            self.note['peak_rss_mib'] = max(self.note['peak_rss_mib'], _peak_rss(child.pid))
            if found := PROGRESS.findall(_tail(self.log)):
                progress(f'{found[-1][0]}, {found[-1][1]} to go')
            time.sleep(0.2)

    def _failure(self, code: int, metric: str | None, log: str) -> str | None:
        """Why the training did not succeed, in a line."""
        if code < 0:
            hint = ', which the system sends when memory runs out' if -code == signal.SIGKILL else ''
            return f'ended by {signal.Signals(-code).name}{hint}'
        if code > 0:
            lines = [line.strip() for line in log.splitlines() if line.strip()] or [f'exit status {code}']
            errors = [line for line in lines if re.match(r'error\b.*: |[\w.]*(Error|Exception|Interrupt|Exit)\b', line)]
            return (errors or lines)[-1]
        return self._lack(metric)

    def _lack(self, metric: str | None) -> str | None:
        """What the log lacks of a finished run's, in a line."""
        last = (read_history(self.folder) or [{}])[-1]
        if 'loss' in last or not last:
            return 'no validation is logged after the last iteration'
        if metric is not None and metric not in last:
            return f'the validation has no metric {metric!r}; it has {", ".join(metrics_of(last))}'
        return None

    def _write(self, **changes: object) -> None:
        self.note |= changes
        write_whole(self.folder / NOTE, json.dumps(self.note, indent=1))


def _is_file(name: object) -> bool:
    return isinstance(name, str) and Path(name).expanduser().is_file()


def metrics_of(entry: dict) -> list[str]:
    """The keys of a validation's log line that are metrics."""
    return [key for key in entry if key not in ('step', 'time', 'data_time', 'memory')]


def _peak_rss(process: int) -> int:
    """Peak resident memory in MiB so far, from Linux's /proc; wait4's figure would include the parent's at the fork."""
    try:
        found = re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{process}/status').read_text())
    except OSError:
        return 0
    return int(found[1]) // 2**10 if found else 0


def _tail(file: Path, begin: int = 0) -> str:
    """The end of a file, from ``begin`` on at most."""
    with file.open('rb') as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(begin, size - TAIL))
        return log.read().decode(errors='replace')
