import io
import sys

from autocompress.terminal.tables import aligned, show_table

ROWS = [
    {"trial": "baseline", "latency": "12.5 ms", "recipe": ""},
    {"trial": "3", "latency": "1.20 ms", "recipe": "[bold]fold"},
]


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    assert aligned(ROWS) == (
        "trial     latency  recipe\nbaseline  12.5 ms\n3         1.20 ms  [bold]fold"
    )
    assert aligned([{"n": "5"}, {"n": "10"}]) == " n\n 5\n10"


def test_a_terminal_gets_a_frame_and_texts_as_they_are(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    show_table(ROWS, title="the front")
    assert "[bold]fold" in stream.getvalue()
    assert "┃" in stream.getvalue()


def test_no_rows_are_no_table(capsys):
    show_table([], title="nothing")
    assert capsys.readouterr().out == ""
