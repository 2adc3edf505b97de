"""Tables on standard output: fitted to a terminal, plain aligned text elsewhere."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, str]
_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}
_GAP = 2  # characters between two columns
_LEAST_TEXT = 16  # characters, below which a text that is cut says nothing


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: stands above it.
        cells: one for each row.
        rank: 0 always stays; where the terminal is too narrow, the highest is left out first.
        cut: whether its texts may be cut, to fit a line each.
    """

    title: str
    cells: Sequence[str]
    rank: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        """Take what steers a terminal out of names that others gave."""
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "cells", [printable(cell) for cell in self.cells])

    @property
    def width(self) -> int:
        """Characters that it takes."""
        return max(len(cell) for cell in (self.title, *self.cells))

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, which stand to the right."""
        return any(cell[:1].isdigit() for cell in self.cells) and all(
            cell[:1].isdigit() or cell[:1] in ("-", "+", "") for cell in self.cells
        )


def printable(text: str) -> str:
    """Return a text whose control characters, which could steer a terminal, are written out."""
    return text.translate(_CONTROL)


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return rows as columns, under the keys of the first one."""
    return [
        Column(title=key, cells=[row.get(key, "") for row in rows]) for key in (rows or [{}])[0]
    ]


def show_table(rows: Sequence[Row], *, title: str = "") -> None:
    """Write rows to standard output, under the keys of the first one; nothing for no rows."""
    show_columns(columns_of(rows), title=title)


def show_columns(columns: Sequence[Column], *, title: str = "") -> None:
    """Write columns to standard output; nothing for none."""
    if not columns:
        return
    if sys.stdout.isatty():
        console = Console(file=sys.stdout)
        console.print(_ruled(fitted(columns, console.width), title))
    else:
        sys.stdout.write((f"{printable(title)}\n" if title else "") + aligned(columns) + "\n")


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit side by side, texts that may be cut shortened to a line each."""
    left = list(columns)
    while True:
        room = width - sum(c.width for c in left if not c.cut) - _GAP * (len(left) - 1)
        texts = [column for column in left if column.cut]
        fits = room >= sum(min(column.width, _LEAST_TEXT) for column in texts)
        last = max((column.rank for column in left), default=0)
        if fits or last == 0:
            return [_shortened(c, room // len(texts)) if c.cut else c for c in left]
        left.remove([column for column in left if column.rank == last][-1])


def _shortened(column: Column, width: int) -> Column:
    end = max(0, width - 3)
    cells = [text if len(text) <= width else f"{text[:end].rstrip()}..." for text in column.cells]
    return replace(column, cells=cells)


def show_sections(sections: Mapping[str, Sequence[Row]]) -> None:
    """Write the tables that have rows, each after an empty line and under its title."""
    for title, rows in sections.items():
        if rows:
            show_line()
            show_table(rows, title=title)


def show_line(text: str = "") -> None:
    """Write one line to standard output, as it is."""
    sys.stdout.write(printable(text) + "\n")


def show_json(data: Any) -> None:
    """Write plain data to standard output as one JSON document."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def say(text: str) -> None:
    """Write to standard error, where it mixes with no result."""
    typer.echo(printable(text), err=True)


def aligned(columns: Sequence[Column]) -> str:
    """Return plain text in aligned columns; numbers to the right."""
    lines = zip(*([column.title, *column.cells] for column in columns), strict=True)
    return "\n".join(
        (" " * _GAP)
        .join(
            cell.rjust(column.width) if column.is_numeric else cell.ljust(column.width)
            for cell, column in zip(line, columns, strict=True)
        )
        .rstrip()
        for line in lines
    )


def _ruled(columns: Sequence[Column], title: str) -> Table:
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
    )
    for column in columns:
        justify = "right" if column.is_numeric else "left"
        table.add_column(Text(column.title), justify=justify, no_wrap=column.is_numeric)  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table
