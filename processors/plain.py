"""State values to JSON and back: plain data, and what Python has beside it.

JSON has neither tuples nor bytes nor keys that are no text, and a Message is more than a dict. Such
a value is written as an object with one key, the mark of what it is; a dict that looks like one is
marked as well. So whatever a stage stored comes back as it was.
"""

from __future__ import annotations

from typing import Any

from datastalker.errors import DataStalkerError
from datastalker.message import Message
from datastalker.text import a_or_an

_MARK = "__"
_ATOMS = frozenset((int, str, float, bool, type(None)))


def pack(value: Any) -> Any:
    """What json can write. Raises DataStalkerError for what is no plain data."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [item if type(item) in _ATOMS else pack(item) for item in value]
    if kind is dict:
        return _pack_dict(value)
    if kind is tuple:
        return {"__tuple": [item if type(item) in _ATOMS else pack(item) for item in value]}
    if kind is Message:
        return {"__message": _pack_dict(value)}
    if kind in (bytes, bytearray):
        return {"__bytes": value.hex()}
    if kind in (set, frozenset):
        return {f"__{kind.__name__}": [pack(item) for item in sorted(value, key=repr)]}
    raise DataStalkerError(
        f"{a_or_an(kind.__name__)} can't be kept in a stage's state under Kafka; plain data can: "
        "dict, list, tuple, set, str, bytes, int, float, bool, None"
    )


def _pack_dict(value: dict[Any, Any]) -> Any:
    packed = {}
    for key, item in value.items():
        if type(key) is not str or key.startswith(_MARK):
            return {"__dict": [[pack(k), pack(v)] for k, v in value.items()]}
        packed[key] = item if type(item) in _ATOMS else pack(item)
    return packed


def unpack(value: Any) -> Any:
    """What `pack` was given."""
    kind = type(value)
    if kind is list:
        return [item if type(item) in _ATOMS else unpack(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        ((mark, held),) = value.items()
        if mark in _MARKS:
            return _MARKS[mark](held)
    return {key: unpack(item) for key, item in value.items()}


_MARKS: dict[str, Any] = {
    "__tuple": lambda held: tuple(map(unpack, held)),
    "__message": lambda held: Message(unpack(held)),
    "__bytes": bytes.fromhex,
    "__set": lambda held: set(map(unpack, held)),
    "__frozenset": lambda held: frozenset(map(unpack, held)),
    "__dict": lambda held: {unpack(key): unpack(item) for key, item in held},
}
