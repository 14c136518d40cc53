"""Messages as lines, for programs and for people."""

from __future__ import annotations

import json
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
            parts.append(f"{key}={one_line(repr(value) if isinstance(value, str) else str(value))}")
    return " ".join(parts)
