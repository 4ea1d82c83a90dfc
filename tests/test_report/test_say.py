import io

from rich.console import Console

from ovkd_mm.report.say import say


def test_brackets_are_no_markup_and_long_lines_stay_whole():
    out = io.StringIO()
    say(Console(file=out, width=20, highlight=False), f'[1/2] {"word " * 9}[red]end')
    assert out.getvalue() == f'[1/2] {"word " * 9}[red]end\n'
