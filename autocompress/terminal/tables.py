"""Tables on standard output: framed in a terminal, plain aligned text elsewhere."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, str]


def show_table(rows: Sequence[Row], *, title: str = "") -> None:
    """Write rows to standard output, under the keys of the first one; nothing for no rows."""
    if not rows:
        return
    if sys.stdout.isatty():
        Console(file=sys.stdout).print(_framed(rows, title))
    else:
        sys.stdout.write((f"{title}\n" if title else "") + aligned(rows) + "\n")


def show_sections(sections: Mapping[str, Sequence[Row]]) -> None:
    """Write the tables that have rows, each after an empty line and under its title."""
    for title, rows in sections.items():
        if rows:
            show_line()
            show_table(rows, title=title)


def show_line(text: str = "") -> None:
    """Write one line to standard output, as it is."""
    sys.stdout.write(text + "\n")


def show_json(data: Any) -> None:
    """Write plain data to standard output as one JSON document."""
    show_line(json.dumps(data, indent=2))


def aligned(rows: Sequence[Row]) -> str:
    """Return rows as lines of text with aligned columns; numbers to the right."""
    keys = list(rows[0])
    cells = [keys, *([row.get(key, "") for key in keys] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    right = [_is_numeric(rows, key) for key in keys]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def _framed(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    keys = list(rows[0])
    for key in keys:
        numeric = _is_numeric(rows, key)
        table.add_column(Text(key), justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        table.add_row(*(Text(row.get(key, "")) for key in keys))
    return table


def _is_numeric(rows: Sequence[Row], key: str) -> bool:
    cells = [row.get(key, "") for row in rows]
    return any(cell[:1].isdigit() for cell in cells) and all(
        cell[:1].isdigit() or cell[:1] in ("-", "") for cell in cells
    )
