"""What ``make reproduce`` writes into the pages."""

import importlib.util
import json
import re
import shutil

import pytest
from command_line import ROOT

ROW = 'cifar100-c'


@pytest.fixture(scope='module')
def reproduced():
    spec = importlib.util.spec_from_file_location('_reproduced', ROOT / 'docs' / '_reproduced.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path):
    """Configs and pages, copied."""
    for name in ('configs', 'docs'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('results', '__pycache__'))
    return tmp_path


@pytest.fixture
def study(tmp_path):
    def write(*methods) -> object:
        work_dir = tmp_path / 'work'
        work_dir.mkdir(exist_ok=True)
        entries = [
            dict(label=label, method=method, final=dict(mean=mean, std=std), seeds=seeds)
            for label, method, mean, std, seeds in methods
        ]
        (work_dir / 'results.json').write_text(json.dumps(dict(methods=entries)))
        (work_dir / 'table.md').write_text('# A table\n')
        return work_dir

    return write


METHODS = [
    ('teacher', 'teacher', 79.0, None, 1),
    ('alone', 'none', 72.5, 0.25, 3),
    ('alone, half the rate', 'none', 73.0, 0.5, 3),
    ('OFD', None, 75.5, 0.125, 3),
    ('OFD, ten times it', 'ofd_cifar', 76.0, 0.1, 3),
    ('KD', 'kd', 74.0, 0.2, 3),
    ('OFD and KD', 'ofd_cifar+kd', 75.25, 0.2, 2),
    ('AT', 'at', None, None, 0),
]


def line_of(project, row=ROW) -> str:
    return next(line for line in (project / 'docs/results.md').read_text().splitlines() if f'`{row}`' in line)


def readme_line(project, config: str) -> str:
    lines = (project / 'configs/cifar100/README.md').read_text().splitlines()
    return next(line for line in lines if f']({config})' in line)


def test_the_table_has_the_best_rate_the_first_ofd_and_the_best_of_the_rest(reproduced, project, study):
    reproduced.main(project, ROW, study(*METHODS))
    assert line_of(project) == (
        f'| [`{ROW}`](results/{ROW}.md) | 73.00 ± 0.50 (alone, half the rate); the paper: 72.68 '
        '| 75.50 ± 0.12; the paper: 75.92 | 74.00 ± 0.20 (KD) | 3 |'
    )
    assert (project / f'docs/results/{ROW}.md').read_text() == '# A table\n'


def test_the_readme_has_errors_of_student_teacher_and_distillation(reproduced, project, study):
    reproduced.main(project, ROW, study(*METHODS))
    page = f'](../../docs/results/{ROW}.md)'
    assert f'| [27.00 ± 0.50{page} | 27.32 |' in readme_line(project, 'wrn16-2_cifar100.py')
    assert f'| [21.00{page} | 21.09 |' in readme_line(project, 'wrn28-4_cifar100.py')
    assert f'| [24.50 ± 0.12{page} | 24.08 | 27.32 |' in readme_line(project, 'ofd_wrn28-4_wrn16-2_cifar100.py')
    assert '| not run |' in readme_line(project, 'wrn16-4_cifar100.py')


def test_a_second_call_replaces_its_own_figures_and_keeps_those_of_other_rows(reproduced, project, study):
    reproduced.main(project, 'cifar100-a', study(('alone', 'none', 70.0, None, 1)))
    others = line_of(project, 'cifar100-a')
    reproduced.main(project, ROW, study(*METHODS))
    reproduced.main(project, ROW, study(('alone', 'none', 72.0, None, 2)))
    assert line_of(project) == (
        f'| [`{ROW}`](results/{ROW}.md) | 72.00; the paper: 72.68 | not run; the paper: 75.92 | not run | 2 |'
    )
    assert line_of(project, 'cifar100-a') == others
    assert '| [28.00](' in readme_line(project, 'wrn16-2_cifar100.py')


def test_a_page_of_more_runs_is_not_replaced_by_a_slice(reproduced, project, study, capsys):
    reproduced.main(project, ROW, study(*METHODS))
    before = line_of(project)
    page = project / f'docs/results/{ROW}.md'
    header = '| method | accuracy/top1 | best | seeds | published |\n| --- | ---: | ---: | --- | --- |\n'
    page.write_text(f'{header}| KD | 74.00 | 74.10 | 3 | - |\n| AT | 72 | 72 | 1 of 3; seed 1 not run | 70 |\n')
    text = page.read_text()
    reproduced.main(project, ROW, study(('KD', 'kd', 10.0, None, 3)))
    assert (line_of(project), page.read_text()) == (before, text)
    assert 'tells of 4 runs' in capsys.readouterr().out
    reproduced.main(project, ROW, study(('KD', 'kd', 10.0, None, 4)))
    assert line_of(project) != before and page.read_text() == '# A table\n'


def test_the_committed_pages_tell_their_runs(reproduced):
    assert all(reproduced._runs_of(page) > 0 for page in (ROOT / 'docs/results').glob('*.md'))


def test_parts_of_one_keep_four_places(reproduced, project, study):
    row = 'voc-animals-ssd-lite0'
    reproduced.main(project, row, study(('alone', 'none', 0.25, 0.01, 3)))
    assert '| 0.2500 ± 0.0100 | not run | not run | 3 |' in line_of(project, row)


def test_the_committed_table_has_a_line_for_each_row(reproduced):
    table = (ROOT / 'docs/results.md').read_text().partition(reproduced.BEGIN)[2].partition(reproduced.END)[0]
    named = re.findall(r'^\| \[?`([\w-]+)`', table, re.MULTILINE)
    assert named == sorted(study.stem for study in (ROOT / 'configs/reproduce').glob('*.yml'))


def test_a_page_without_a_place_for_the_table_is_an_error(reproduced, project, study):
    (project / 'docs/results.md').write_text('# Results\n')
    with pytest.raises(ValueError, match='rows of configs/reproduce'):
        reproduced.main(project, ROW, study(*METHODS))
