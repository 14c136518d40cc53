"""Cells of a CSV: values as text that is safe to open.

A cell that begins with = + - @ is a formula to a spreadsheet, and control, bidirectional or
invisible characters change what a person sees. Such text is defused: those characters become
escapes, and a formula gets an apostrophe in front. Numbers stay numbers, null is an empty cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from datastalker.text import one_line

Convert = Callable[[Any], Any]

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MEMO_ENTRIES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BOOLEAN: Convert = {True: "true", False: "false", None: None}.get


def defuse(text: str) -> str:
    """`text` as it may stand in a cell: the very text where that is harmless."""
    safe = one_line(text)
    return "'" + safe if safe.lstrip().startswith(_FORMULA) else safe


class Text:
    """`defuse` with a memory: names repeat from row to row. A callable, bounded."""

    def __init__(self) -> None:
        self._memo: dict[str, str] = {}

    def __call__(self, value: Any) -> str:
        try:
            return self._memo[value]
        except (KeyError, TypeError):
            pass
        text = defuse(str(value))
        if isinstance(value, str) and len(value) <= 256:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[value] = text
        return text


class Time:
    """Microseconds since 1970-01-01 as ISO 8601 in UTC; a callable that knows the last second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, value: Any) -> str | None:
        if not isinstance(value, int):
            return None
        second, micro = divmod(value, 1_000_000)
        if second != self._second:
            try:
                moment = _EPOCH + timedelta(seconds=second)
            except OverflowError:  # beyond the year 9999: the timestamp column still has it
                return None
            self._text = moment.strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second
        return f"{self._text}{micro:06d}Z"


def joined(value: Any) -> str:
    """A list as its items with a space between; an item that has one itself makes it JSON."""
    if not isinstance(value, (list, tuple)):
        return defuse(str(value))
    items = [str(item) for item in value]
    if any(" " in item or item != one_line(item) for item in items):
        return as_json(value)
    return defuse(" ".join(items))


def as_json(value: Any) -> str:
    """Anything as ASCII JSON, keys in order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def any_value(value: Any) -> Any:
    """A value of a key that no declaration names."""
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, bool) or value is None:
        return BOOLEAN(value)
    if isinstance(value, (int, float)):
        return value
    return as_json(value)


def converter(type_name: str, text: Text) -> Convert | None:
    """How a field of the contract's type becomes a cell; None: csv knows."""
    return {
        "integer": None,
        "number": None,
        "kind": None,
        "address": None,
        "boolean": BOOLEAN,
        "text": text,
        "integers": joined,
        "strings": joined,
        "map": as_json,
        "records": as_json,
    }.get(type_name, any_value)
