"""What a table of a live view is: columns and rows, sorted and filtered, as many as there is room for.

A row's cells are plain values; how they look is `cell_text`. Nothing here knows a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datastalker.message import Message
from datastalker.moment import utc
from datastalker.text import one_line
from datastalker.top.air import Air
from datastalker.top.stages import Stages


@dataclass(frozen=True, slots=True)
class Column:
    """`key`: its name in a condition. `kind`: text, number, rate, ago, time, bytes.

    `width` in columns of a terminal; the one with `grows` gets what is left. `rank`: the higher
    ones go first where there is no room. `names`: it tells one row from another, so others are left
    out before it is cut.
    """

    title: str
    key: str
    kind: str = "text"
    width: int = 8
    rank: int = 1
    grows: bool = False
    names: bool = False

    @property
    def right(self) -> bool:
        return self.kind != "text" and self.kind != "time"


@dataclass(frozen=True, slots=True)
class Row:
    """`key` tells it from others, `address` is whose page it opens, if any."""

    key: Any
    cells: tuple[Any, ...]
    address: str = ""


Rows = Callable[[Air, Stages], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class View:
    """One table: how it is called, its columns, where its rows come from, its first order."""

    name: str
    columns: tuple[Column, ...]
    rows: Rows
    sort: str
    reverse: bool = False


@dataclass(slots=True)
class Query:
    """What is asked of a table. `sort`: a column's key, empty for the rows' own order."""

    sort: str = ""
    reverse: bool = False
    matches: Callable[[Message, str], bool] | None = field(default=None)


def select(view: View, query: Query, air: Air, stages: Stages) -> list[Row]:
    """The rows of a table as asked for. An empty cell comes last, in either order."""
    rows = list(view.rows(air, stages))
    if query.matches is not None:
        keys = [column.key for column in view.columns]
        rows = [row for row in rows if query.matches(*_said(keys, row))]
    index = next((i for i, c in enumerate(view.columns) if c.key == query.sort), None)
    if index is None:
        return rows[::-1] if query.reverse else rows
    full = [row for row in rows if row.cells[index] not in (None, "")]
    empty = [row for row in rows if row.cells[index] in (None, "")]
    full.sort(key=lambda row: _order(row.cells[index]), reverse=query.reverse)
    return full + empty


def _order(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _said(keys: Sequence[str], row: Row) -> tuple[Message, str]:
    cells = {k: v for k, v in zip(keys, row.cells, strict=True) if v is not None}
    return Message(cells), " ".join(map(str, cells.values()))


def cell_text(column: Column, value: Any, now: int) -> str:
    """A cell as text of one line; hostile characters are escaped."""
    if value is None:
        return ""
    if column.kind == "number":
        return f"{value:,.0f}"
    if column.kind == "rate":
        return f"{value:,.1f}" if 0.05 <= value < 100 else f"{value:,.0f}"
    if column.kind == "ago":
        return ago(max(0, now - value)) if value else ""
    if column.kind == "time":
        return clock_time(value)
    if column.kind == "bytes":
        return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value / 1e3:,.1f} kB"
    if isinstance(value, bool):
        return "yes" if value else ""
    return one_line(str(value))


def ago(microseconds: int) -> str:
    """A length of time in two to four characters."""
    seconds = microseconds // 1_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def clock_time(microseconds: int) -> str:
    """UTC; empty for what no calendar has."""
    return utc(microseconds, "%H:%M:%S")


def fit(
    columns: Sequence[Column], width: int, needed: Mapping[int, int], gap: int = 1
) -> list[tuple[int, int]]:
    """(index, width) of the columns that fit; the least needed ones are left out.

    `needed`: the width that the cells of a column take which is not to be cut.
    """
    widths = [max(column.width, needed.get(i, 0)) for i, column in enumerate(columns)]
    shown = list(range(len(columns)))

    def taken() -> int:
        return sum(widths[i] for i in shown) + gap * (len(shown) - 1)

    def leave_out(which: Iterable[int]) -> None:
        for i in sorted(which, key=lambda i: (columns[i].rank, i), reverse=True):
            if taken() > width and len(shown) > 1:
                shown.remove(i)

    leave_out([i for i in shown if not columns[i].names])
    if taken() > width:
        widths = [column.width for column in columns]
    leave_out([*shown])
    spare = max(0, width - taken())
    growing = next((i for i in shown if columns[i].grows), None)
    return [(i, min(widths[i], width) + (spare if i == growing else 0)) for i in shown]
