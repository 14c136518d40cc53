"""Tables for a terminal: aligned columns, hostile text made harmless, colour only where wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from datastalker.text import one_line

_WIDEST = 40


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under a header; numbers right, text left, null empty, long text cut."""
    values = [list(row) for row in rows]
    body = [[_cell(value) for value in row] for row in values]
    right = [
        all(row[index] is None or isinstance(row[index], (int, float)) for row in values)
        for index in range(len(header))
    ]
    widths = [max([len(h), *(len(row[i]) for row in body)]) for i, h in enumerate(header)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([click.style(line(header), bold=True), *map(line, body)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    text = one_line(str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
