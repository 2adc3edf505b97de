import io
import re
import sys

import pytest

from autocompress.cli.front import front_columns
from autocompress.cli.tables import (
    Column,
    aligned,
    columns_of,
    fitted,
    say,
    show_columns,
    show_line,
    show_table,
)

from made_up_runs import FIVE, ONE, THREE, made_up_run

ROWS = [
    {"trial": "baseline", "latency": "12.5 ms", "recipe": ""},
    {"trial": "3", "latency": "1.20 ms", "recipe": "[bold]fold"},
]


@pytest.fixture
def terminal(monkeypatch):
    """Standard output as a terminal; called with its width."""

    def terminal(width):
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
        return stream

    return terminal


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    assert aligned(columns_of(ROWS)) == (
        "trial     latency  recipe\nbaseline  12.5 ms\n3         1.20 ms  [bold]fold"
    )
    assert aligned(columns_of([{"n": "5"}, {"n": "10"}])) == " n\n 5\n10"


def test_a_terminal_gets_a_rule_and_texts_as_they_are(terminal):
    stream = terminal(80)
    show_table(ROWS, title="the front")
    assert "[bold]fold" in stream.getvalue()
    assert "───" in stream.getvalue()


def test_no_rows_are_no_table(capsys):
    show_table([], title="nothing")
    assert capsys.readouterr().out == ""


def test_where_there_is_no_room_the_last_ranks_go_first():
    columns = [
        Column(title="trial", cells=["1"]),
        Column(title="ratio", cells=["0.50x"], rank=1),
        Column(title="interval", cells=["0.48 to 0.52"], rank=2),
        Column(title="recipe", cells=["a" * 40], rank=3, cut=True),
    ]

    def titles(width):
        return [column.title for column in fitted(columns, width)]

    assert titles(100) == ["trial", "ratio", "interval", "recipe"]
    assert fitted(columns, 100) == columns
    assert fitted(columns, 50)[-1].cells == ["a" * 19 + "..."]
    assert titles(43) == ["trial", "ratio", "interval"]
    assert titles(20) == ["trial", "ratio"]
    assert titles(3) == ["trial"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("objectives", [ONE, THREE, FIVE], ids=len)
def test_a_front_fits_its_terminal(terminal, tmp_path, objectives, width):
    run = made_up_run(tmp_path / "run", complete=24, objectives=objectives)
    columns = front_columns(run, run.front())
    stream = terminal(width)
    show_columns(columns)
    lines = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 3 + len(run.front())
    assert "…" not in stream.getvalue()
    names = [metric.title for metric in run.objectives]
    if width > 60 or len(objectives) < 5:
        assert all(name in lines[0] for name in ["trial", *names, "test"])
    if width >= (200 if len(objectives) > 3 else 120):
        assert "recipe" in lines[0]


def test_names_of_others_do_not_steer_the_terminal(capsys):
    show_table([{"layer\x1b[2J": "conv\x1b]0;owned\x07", "units": "8"}], title="t\x1b")
    show_line("layer\x1b[31m\x9b1m of\ttwo\nlines")
    say("warning\x1b[0m")
    written = capsys.readouterr()
    assert not {"\x1b", "\x07", "\x9b"} & set(written.out + written.err)
    assert "conv\\x1b]0;owned\\x07" in written.out
    assert "of\ttwo\nlines" in written.out
