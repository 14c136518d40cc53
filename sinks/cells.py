"""Cells of a CSV: values as text that is safe to open.

A cell that begins with = + - @ is a formula to a spreadsheet, and control, bidirectional or
invisible characters change what a person sees. Such text is defused: those characters become
escapes, and a formula gets an apostrophe in front, also behind what some spreadsheets take for a
separator. Numbers stay numbers, null is an empty cell. No cell holds a line's end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from datastalker.text import one_line

Convert = Callable[[Any], str]

_FORMULA = re.compile(r"(?:^|(?<=[;|]))(?=\s*[=+\-@＝＋－＠])")
_MEMO_ENTRIES = 16_384
_MEMO_LENGTH = 256  # characters; what is longer will hardly come again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def defuse(text: str) -> str:
    """`text` as it may be shown: the very text where that is harmless."""
    return _FORMULA.sub("'", one_line(text))


def quoted(text: str) -> str:
    """`text` as RFC 4180 writes it."""
    if "," in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def bytes_hex(ssid: str) -> str:
    """The bytes of an SSID that was text."""
    return ssid.encode("utf-8", "surrogatepass").hex()


def ssid_hex(ssid: str) -> str:
    """Its bytes, where the cell does not show the very text."""
    return "" if defuse(ssid) == ssid else bytes_hex(ssid)


def as_json(value: Any) -> str:
    """Anything as ASCII JSON, keys in order."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys that JSON has no word for
        text = json.dumps(str(value))
    return text.replace(";", "\\u003b").replace("\x7f", "\\u007f")


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def any_cell(value: Any) -> str:
    """The cell of any value, whatever its column is for."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return quoted(defuse(value) if isinstance(value, str) else as_json(value))


def as_kind(kind: type, value: Any) -> Any:
    """What a column is for, if the value equals one: True and 1.0 are 1 among whole numbers."""
    try:
        same = kind(value)
        return same if same == value and hash(same) == hash(value) else value
    except Exception:  # whatever a value of a plug-in's raises
        return value


def identifier(value: Any) -> str:
    """The cell of an id: each is its own, so a memory would not help."""
    if value.isascii() and value.replace("-", "", 1).isalnum() and value[0] != "-":
        return value  # type: ignore[no-any-return]
    return any_cell(value)


def joined(value: Any) -> str:
    """A list as its items with a space between; as JSON where that would not tell them apart."""
    if not isinstance(value, (list, tuple)):
        return any_cell(value)
    items = [str(item) for item in value]
    if any(not item or " " in item or item[0] in "[\"'" or item != defuse(item) for item in items):
        return quoted(as_json(value))
    return quoted(" ".join(items))


class Memo(dict[Any, str]):
    """What a list or a mapping looks like in a cell: they repeat from row to row. Bounded."""

    def __init__(self, convert: Convert, usual: Callable[[Any], bool]) -> None:
        """`usual`: what may be remembered, and looks like all that equals it."""
        super().__init__()
        self._convert, self._usual = convert, usual

    def __missing__(self, value: Any) -> str:
        cell = self._convert(value)
        if len(cell) <= _MEMO_LENGTH and self._usual(value):
            if len(self) >= _MEMO_ENTRIES:
                self.clear()
            self[value] = cell
        return cell


def _all_text(items: Any) -> bool:
    return {*map(type, items)} <= {str}


def _all_whole(items: Any) -> bool:
    return {*map(type, items)} <= {int}


class Time:
    """Microseconds since 1970-01-01 as ISO 8601 in UTC; empty where there is no such date."""

    def __init__(self) -> None:
        self.seconds = _Seconds()

    def __call__(self, value: Any) -> str:
        if not isinstance(value, int):
            return ""
        try:
            moment = _EPOCH + timedelta(microseconds=value)
        except OverflowError:  # beyond the year 9999: the timestamp column still has it
            return ""
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


class _Seconds(dict[str, str]):
    """The digits of a second since 1970-01-01 to its date and time, up to the dot. Bounded.

    Raises ValueError and OverflowError for what a plain way has to write.
    """

    def __missing__(self, second: str) -> str:
        if not second.isdecimal():
            raise ValueError
        moment = _EPOCH + timedelta(seconds=int(second))
        if len(self) >= _MEMO_ENTRIES:
            self.clear()
        text = self[second] = f"{moment:%Y-%m-%dT%H:%M:%S}."
        return text


class Cells:
    """Converters by a field's name and type. One may raise for a value of another type than its
    field's; `any_cell` never does.
    """

    def __init__(self) -> None:
        self.time = Time()
        strings = Memo(joined, _all_text)
        # True and 1.0 are 1 here, or what was remembered of [1] would be said of [True].
        numbers = Memo(lambda items: joined([as_kind(int, i) for i in items]), _all_whole)
        maps = Memo(
            lambda items: quoted(as_json(dict(items))),
            lambda items: all(map(_all_text, items)),
        )
        self._by_type: dict[str, Convert] = {
            "integer": int.__repr__,
            "integers": lambda value: (
                numbers[tuple(value)] if isinstance(value, list) else joined(value)
            ),
            "strings": lambda value: (
                strings[tuple(value)] if isinstance(value, list) else joined(value)
            ),
            "map": lambda value: maps[tuple(value.items())],
        }

    def converter(self, name: str, type_name: str) -> Convert:
        if name == "id":
            return identifier
        return self._by_type.get(type_name, any_cell)
