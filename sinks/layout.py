"""The columns of a CSV: which key of a message goes where, and how."""

from __future__ import annotations

from collections.abc import Callable
from operator import call, itemgetter
from typing import Any

from datastalker.message import FIELDS, Field, Message
from datastalker.text import one_line
from sinks.cells import (
    Cells,
    Convert,
    Memo,
    Time,
    any_cell,
    as_json,
    bytes_hex,
    quoted,
    ssid_hex,
)

TIME, EXTRA, END = "time", "extra", "\r\n"

Shape = tuple[list[Convert], Callable[[list[str]], tuple[str, ...]], str, list[str], bool]
"""For messages that have the same keys: a converter for each value, what picks the cells in the
order of the columns, the row that takes them, unknown keys, whether the SSID's bytes are asked for."""
_SHAPES = 1024


class Layout:
    """Which key of a message goes to which column, and how."""

    def __init__(self, kind: str, columns: list[str] | None, added: tuple[Field, ...]) -> None:
        fields = dict(FIELDS.get(kind, {}))
        if not fields:
            fields = {"timestamp": Field("timestamp", "integer", "")}
        elif kind == "frame":
            fields.update((field.name, field) for field in added)
        self.columns = columns or [TIME, *fields, EXTRA]
        self.header = ",".join(quoted(one_line(name)) for name in self.columns) + END
        place = {name: index for index, name in enumerate(self.columns)}
        self.time, self.extra = place.pop(TIME, None), place.pop(EXTRA, None)
        self.ssid_hex = place.get("ssid_hex")
        cells = Cells()
        self.cells: dict[str, tuple[int, Convert]] = {
            name: (index, cells.converter(name, fields[name].type if name in fields else ""))
            for name, index in place.items()
        }
        self.shapes: dict[tuple[str, ...], Shape] = {}
        self.clock = Time()
        self.hex = Memo(ssid_hex if "ssid" in place else bytes_hex)

    def line(self, message: Message) -> str:
        """The row of a message, its line's end included."""
        shape = self.shapes.get(tuple(message))
        if shape is None:
            shape = self._shape(message)
        converters, pick, row, unknown, ssid = shape
        try:
            cells = [*map(call, converters, message.values())]
        except Exception:  # a value of another type than its field's
            cells = [self._careful(key, value) for key, value in message.items()]
        cells += (
            self.clock(message.get("timestamp")),
            quoted(as_json({key: message[key] for key in unknown})) if unknown else "",
            self.hex[str(message["ssid"])] if ssid else "",
        )
        return (row % pick(cells) or '""') + END

    def _careful(self, key: str, value: Any) -> str:
        try:
            return self.cells[key][1](value)
        except Exception:
            return any_cell(value)

    def _shape(self, message: Message) -> Shape:
        """How the rows of all messages with these keys, in this order, are put together."""
        keys = list(message)
        found = {
            index: at for at, key in enumerate(keys) if (index := self._column(key)) is not None
        }
        # A null is no value: `extra` leaves it out, and the SSID is asked for its bytes.
        unknown = [
            k for k in keys if k not in self.cells and k != "type" and message[k] is not None
        ]
        ssid = "ssid" in keys and self.ssid_hex is not None and self.ssid_hex not in found
        for index, at in ((self.time, 0), (self.extra, 1), (self.ssid_hex if ssid else None, 2)):
            if index is not None:
                found[index] = len(keys) + at
        shape: Shape = (
            [self.cells[key][1] if key in self.cells else _nothing for key in keys],
            _picker([found[index] for index in sorted(found)]),
            ",".join("%s" if index in found else "" for index in range(len(self.columns))),
            unknown,
            ssid,
        )
        if all(value is not None for value in message.values()):
            if len(self.shapes) >= _SHAPES:
                self.shapes.clear()
            self.shapes[tuple(keys)] = shape
        return shape

    def _column(self, key: str) -> int | None:
        cell = self.cells.get(key)
        return None if cell is None else cell[0]


def _picker(places: list[int]) -> Callable[[list[str]], tuple[str, ...]]:
    """The cells at these places, as a tuple also where it is one or none."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda cells: tuple(cells[place] for place in places)


def _nothing(value: Any) -> str:
    return ""
