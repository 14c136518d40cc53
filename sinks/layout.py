"""The columns of a CSV: which key of a message goes where, and how."""

from __future__ import annotations

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
        self.empty = [""] * len(self.columns)
        self.clock = Time()
        self.hex = Memo(ssid_hex if "ssid" in place else bytes_hex)

    def line(self, message: Message) -> str:
        row = self.empty.copy()
        find = self.cells.get
        unknown: dict[str, Any] = {}
        for key, value in message.items():
            cell = find(key)
            if cell is not None:
                index, convert = cell
                try:
                    row[index] = convert(value)
                except Exception:  # of another type than its field's
                    row[index] = any_cell(value)
            elif key != "type" and value is not None:
                unknown[key] = value
        if self.time is not None:
            row[self.time] = self.clock(message.get("timestamp"))
        if unknown and self.extra is not None:
            row[self.extra] = quoted(as_json(unknown))
        if self.ssid_hex is not None and not row[self.ssid_hex] and message.get("ssid"):
            row[self.ssid_hex] = self.hex[str(message["ssid"])]
        # A row of one empty cell would be an empty line, which readers skip.
        return (",".join(row) or '""') + END
