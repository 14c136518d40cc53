"""Tables for a terminal: aligned columns, hostile text made harmless, colour only where wanted."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import IO, Any

import click

from datastalker.text import one_line

_WIDEST = 40
_NARROWEST = 6
_READABLE = 10
"""A column that may be left out is, rather than cut to less."""
_GAP = "  "


def terminal_width(stream: IO[str]) -> int | None:
    """Columns of the terminal that `stream` is; None: it is none, a line may be as long as it is."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
    except (OSError, ValueError):
        return None


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where it was cut."""
    if columns(text) <= width:
        return text
    kept, used = "", 1  # the ellipsis takes one
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept += character
    return kept + "…" if width > 0 else ""


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    stream: IO[str] | None = None,
    whole: Collection[str] = (),
    least: Iterable[str] = (),
) -> str:
    """Rows under a header; numbers right, text left, null empty, long text cut.

    It fits the terminal that `stream` is, standard output by default: columns named in `least` are
    left out, the first of them first, and text is cut further, the widest column first; the columns
    named in `whole` last, and where there is no terminal not at all. Numbers are never cut.
    """
    values = [list(row) for row in rows]
    limits = [None if name in whole else _WIDEST for name in header]
    body = [[*map(_cell, row, limits)] for row in values]
    right = [
        all(row[index] is None or isinstance(row[index], (int, float)) for row in values)
        for index in range(len(header))
    ]
    widths = [max([columns(h), *(columns(row[i]) for row in body)]) for i, h in enumerate(header)]
    width = terminal_width(stream or sys.stdout)
    shown = list(range(len(header)))
    if width is not None:
        least = list(least)
        floors = [
            size if number or name in whole else min(size, _READABLE if least else _NARROWEST)
            for name, size, number in zip(header, widths, right, strict=True)
        ]
        for name in least:
            if _taken(floors[index] for index in shown) > width:
                shown.remove(header.index(name))
        texts = [index for index in shown if not right[index]]
        for last in (False, True):
            _shrink(widths, shown, [i for i in texts if (header[i] in whole) is last], width)

    def line(cells: Sequence[str]) -> str:
        return _GAP.join(_padded(cells[i], widths[i], right[i]) for i in shown).rstrip()

    return "\n".join([click.style(line(header), bold=True), *map(line, body)])


def _taken(widths: Iterable[int]) -> int:
    return sum(size + len(_GAP) for size in widths) - len(_GAP)


def _shrink(widths: list[int], shown: list[int], which: list[int], width: int) -> None:
    """Make these columns narrower, the widest first, until all that are shown fit."""
    while _taken(widths[index] for index in shown) > width:
        widest = max(which, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _padded(cell: str, width: int, right: bool) -> str:
    cell = cut(cell, width)
    space = " " * (width - columns(cell))
    return space + cell if right else cell + space


def _cell(value: Any, limit: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    text = one_line(str(value))
    return text if limit is None else cut(text, limit)
