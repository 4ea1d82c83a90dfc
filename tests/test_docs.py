"""What the pages in docs/ promise."""

import re

import pytest
from command_line import ROOT

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
