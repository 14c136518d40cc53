"""Messages as lines, for programs and for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from datastalker.message import FIELDS, Message
from datastalker.text import one_line


def as_json(message: Message) -> str:
    """As JSON: every key of the contract in its order, null where the message has none, then the
    others; pure ASCII."""
    names = FIELDS.get(message.type, {})
    ordered: dict[str, Any] = {"type": message.type}
    ordered.update((name, message.get(name)) for name in names)
    ordered.update(message)
    return json.dumps(ordered, separators=(",", ":"), default=plain)


def plain(value: Any) -> Any:
    """Values that JSON has no word for: bytes as hex, sets sorted, the rest as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def as_text(message: Message) -> str:
    """As a line for people, without nulls; what a terminal would obey is escaped."""
    parts = [message.type]
    names = FIELDS.get(message.type, {})
    keys = [name for name in names if name in message]
    keys += [key for key in message if key not in names and key != "type"]
    for key in keys:
        value = message[key]
        if value is not None:
            parts.append(_said(str(key), value))
    return " ".join(parts)


_FIRST = ("event", "key", "text", "ta", "ra", "ssid", "signal_dbm", "channel", "seq", "sensor")
_ELSEWHERE = {"type", "timestamp", "kind"}


def as_line(message: Message) -> str:
    """As a line for people who watch: when, what, then what one looks for first."""
    parts = [_time(message.get("timestamp")), one_line(str(message.get("kind") or message.type))]
    keys = [key for key in _FIRST if key in message]
    keys += [key for key in message if key not in _FIRST and key not in _ELSEWHERE]
    return " ".join(
        [*parts, *(_said(key, message[key]) for key in keys if message[key] is not None)]
    )


def _time(microseconds: Any) -> str:
    try:
        return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%H:%M:%S.%f}"[:-3]
    except (TypeError, ValueError, OverflowError, OSError):
        return "??:??:??.???"


def _said(key: str, value: Any) -> str:
    return one_line(f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}")
