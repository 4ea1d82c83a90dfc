"""What the pages in docs/ promise."""

import re

import pytest
from command_line import ROOT
from student_page import PAGE, PREDICT, TEST

PROMISED = sorted(set(re.findall(r'`(tests/[^`]+)`', (ROOT / 'docs' / 'security.md').read_text())))


@pytest.mark.parametrize('test', PROMISED)
def test_each_row_of_the_security_page_names_a_test_that_there_is(test):
    file, _, name = test.partition('::')
    assert re.search(rf'^def {name or "test_"}', (ROOT / file).read_text(), re.MULTILINE)


def test_the_security_page_names_tests_in_all_rows_but_the_configs():
    rows = [line for line in (ROOT / 'docs' / 'security.md').read_text().splitlines() if line.startswith('| ')][2:]
    assert len(rows) > 10
    for row in rows:
        assert '`tests/' in row or row.startswith('| config |')


def test_the_page_on_using_the_student_holds_no_code_that_no_end_to_end_test_runs():
    tests = ''.join(file.read_text() for file in (ROOT / 'tests' / 'test_tools').glob('test_*_end_to_end.py'))
    run = set(re.findall(r"use_student\(.*'(\w+Inferencer)'", tests))
    blocks = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
    assert {name for block in blocks for name in re.findall(r'import (?:.*, )?(\w+Inferencer)', block)} == run
    assert len(blocks) == len(run) == 3
    assert (TEST[0], PREDICT[0]) == ('test', 'predict')
    assert PAGE.count('```bash') == 1
