"""The columns of a CSV: which key of a message goes where, and how.

Values repeat together: who sends to whom, what the radio header said. So neighbouring columns are
one group, and what a group looks like is remembered by its values; only what differs from row to
row is written anew. For messages that have the same keys, in the same order, that is a function of
their values, made once such messages were seen a few times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from datastalker.message import FIELDS, Field, Message
from datastalker.text import one_line
from sinks.cells import (
    Cells,
    Convert,
    any_cell,
    as_json,
    as_kind,
    bytes_hex,
    quoted,
    ssid_hex,
)

TIME, EXTRA, END = "time", "extra", "\r\n"

Values = tuple[Any, ...]
Line = Callable[[Iterable[Any]], str]
"""From a message's values, in their order, to its row."""

_OFTEN = 8
"""So often keys must have come before a function is made of them: that takes as long as many rows."""
_SHAPES = 1024
_SEEN = 4096
_GROUPS = 32_768
_LONGEST = 1024  # characters of a group; what is longer will hardly come again
_TYPES = {"integer": int, "boolean": bool, "text": str, "kind": str, "address": str}
_VARIES = {
    "id", "timestamp", "seq", "duration", "length", "tsf", "frame_number", "first_seen",
    "last_seen", "sightings",
}  # fmt: skip


class Cell(NamedTuple):
    """Where the value of a cell stands in a message, and how it is written.

    `repeats`: the type of values that come again; None for what differs from row to row.
    """

    name: str
    at: int
    convert: Convert
    repeats: type | None = None


class Layout:
    """Which key of a message goes to which column, and how."""

    def __init__(self, kind: str, columns: list[str] | None, added: tuple[Field, ...]) -> None:
        self._contract = FIELDS.get(kind, {})
        self._fields = dict(self._contract) or {"timestamp": Field("timestamp", "integer", "")}
        if kind == "frame":
            self._fields.update((field.name, field) for field in added)
        self.columns = columns or [TIME, *self._fields, EXTRA]
        self.header = ",".join(quoted(one_line(name)) for name in self.columns) + END
        self._known = {*self.columns, "type"} - {TIME, EXTRA}
        self._hex = _hex_beside if "ssid" in self.columns else _hex_of
        self._cells = Cells()
        self._lines: dict[tuple[str, ...], Line] = {}
        self._seen: dict[tuple[str, ...], int] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._remembered = 0

    def line(self, message: Message) -> str:
        """The row of a message, its line's end included."""
        return self.lines([message])[0]

    def lines(self, messages: Iterable[Message]) -> list[str]:
        """The rows of messages."""
        rows: list[str] = []
        append, find = rows.append, self._lines.get
        for message in messages:
            line = find(tuple(message)) or self._often(message)
            try:
                append(line(message.values()))
            except Exception:  # a value of another type than its field's
                append(self._plain(message))
        return rows

    def _plain(self, message: Message) -> str:
        """The row of a message with any values, one cell after the other."""
        values = tuple(message.values())
        row = ",".join(_written(cell, values) for cell in self._find(message))
        return (row or '""') + END  # the only column, and empty: still a row

    def _often(self, message: Message) -> Line:
        """The function for messages with these keys, if they come often; else one that raises."""
        keys = tuple(message)
        count = self._seen.get(keys, 0) + 1
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[keys] = count
        # A null is an empty cell, but other keys beside it may depend on it.
        if count < _OFTEN or len(self.columns) == 1 or not keys or None in message.values():
            return _seldom
        if len(self._lines) >= _SHAPES:
            self._lines.clear()
            self._groups.clear()
            self._remembered = 0
        line = self._lines[keys] = self._make(message)
        return line

    def _make(self, message: Message) -> Line:
        """A function from values to the row. It is made of our own names and numbers alone."""
        parts: list[str] = []
        given: dict[str, Any] = {"seconds": self._cells.time.seconds}
        numbers: list[str] = []
        cells = [*self._find(message)]
        while cells:
            cell = cells.pop(0)
            name = f"c{len(parts)}"
            if cell is None:
                parts.append("")
            elif cell.name == TIME:
                parts.append("{second}{time[-6:]}Z")
            elif cell.repeats:
                group: list[Cell | None] = [cell]
                while cells and (cells[0] is None or cells[0].repeats):
                    group.append(cells.pop(0))
                values = ",".join(f"v{one.at}" for one in group if one is not None)
                given[name] = self._group(tuple(group))
                parts.append(f"{{{name}[{values}]}}")
            elif cell.convert is int.__repr__:
                numbers.append(f"v{cell.at}")
                parts.append("{time}" if cell.name == "timestamp" else f"{{v{cell.at}}}")
            else:
                given[name] = cell.convert
                parts.append(f"{{{name}({'tuple(v)' if cell.name == EXTRA else f'v{cell.at}'})}}")
        code = ["def line(v):", "".join(f"v{at}," for at in range(len(message))) + " = v"]
        if "timestamp" in message:
            time = f"v{[*message].index('timestamp')}"
            numbers.append(time)
            code += [f'time = f"{{{time}}}"', "second = seconds[time[:-6]]"]
        if numbers:
            classes = " is ".join(f"{number}.__class__" for number in numbers)
            code += [f"if not {classes} is int:", " raise TypeError"]
        code.append(f'return f"{",".join(parts)}\\r\\n"')
        exec("\n ".join(code), given)
        line: Line = given["line"]
        return line

    def _find(self, message: Message) -> Iterable[Cell | None]:
        """What stands in each column; None: nothing."""
        place = {key: at for at, key in enumerate(message)}
        for name in self.columns:
            if name == TIME:
                time = place.get("timestamp")
                yield None if time is None else Cell(TIME, time, self._cells.time)
            elif name == EXTRA:
                unknown = {key: at for key, at in place.items() if key not in self._known}
                yield Cell(EXTRA, -1, _extra(unknown)) if unknown else None
            elif name in place:
                yield self._cell(name, place[name])
            elif name == "ssid_hex" and "ssid" in place:
                yield Cell("ssid to hex", place["ssid"], self._hex, str)
            else:
                yield None

    def _cell(self, name: str, at: int) -> Cell:
        kind = self._fields[name].type if name in self._fields else ""
        repeats = _TYPES.get(kind)
        if name in _VARIES or (repeats is int and name not in self._contract):
            repeats = None
        return Cell(name, at, self._cells.converter(name, kind), repeats)

    def _group(self, cells: tuple[Cell | None, ...]) -> _Group:
        names = tuple(cell.name if cell is not None else "" for cell in cells)
        group = self._groups.get(names)
        if group is None:
            group = self._groups[names] = _Group(self, cells)
        return group

    def remember(self) -> None:
        """A group is about to remember one more; when there are too many, all are forgotten."""
        self._remembered += 1
        if self._remembered > _GROUPS:
            for group in self._groups.values():
                group.clear()
            self._remembered = 1


class _Group(dict[Any, str]):
    """What neighbouring columns look like, by the values in them."""

    def __init__(self, layout: Layout, cells: tuple[Cell | None, ...]) -> None:
        super().__init__()
        self._layout, self._cells = layout, cells
        self._types = [cell.repeats for cell in cells if cell is not None]

    def __missing__(self, picked: Any) -> str:
        values = picked if len(self._types) > 1 else (picked,)
        # 1, True and 1.0 are one key, and one text (`_cell`); what is unusual is not remembered.
        right = [*map(type, values)] == self._types
        given = iter(values)
        cells = ["" if cell is None else _cell(cell, next(given)) for cell in self._cells]
        text = ",".join(cells)
        if right and len(text) <= _LONGEST:
            self._layout.remember()
            self[picked] = text
        return text


def _seldom(values: Iterable[Any]) -> str:
    raise LookupError


def _written(cell: Cell | None, values: Values) -> str:
    if cell is None:
        return ""
    return cell.convert(values) if cell.name == EXTRA else _cell(cell, values[cell.at])


def _cell(cell: Cell, value: Any) -> str:
    """The cell of a value of any type: equal values look alike, so a memory changes nothing."""
    if value is None:
        return ""
    if cell.repeats is not None and type(value) is not cell.repeats:
        value = as_kind(cell.repeats, value)
        if type(value) is not cell.repeats:
            return any_cell(value)
    try:
        return cell.convert(value)
    except Exception:
        return any_cell(value)


def _extra(unknown: dict[str, int]) -> Convert:
    def write(values: Values) -> str:
        # A null is no value.
        held = {key: values[at] for key, at in unknown.items() if values[at] is not None}
        return quoted(as_json(held)) if held else ""

    return write


def _hex_beside(ssid: Any) -> str:
    return ssid_hex(str(ssid))


def _hex_of(ssid: Any) -> str:
    return bytes_hex(str(ssid))
