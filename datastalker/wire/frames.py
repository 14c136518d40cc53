"""Messages of type `frame` as records of the schema `frame_batch`, and back.

This is the plain statement of how one becomes the other; the encoder and the decoder do the same
by remembering, and a test holds them to it.

- An address is 6 bytes; `tsf`, unsigned 64 bit, is a signed long; what only management frames have
  is in `management`, and `wps_*` in `management.wps`. Any other key is in `extra`.
- A field of `sensor`, `interface`, `file` and `labels` that is null is the batch's.
- A message is sparse, so what is absent comes back absent: null where a field may be null, an
  empty list for a list. Where it can't be told like that (a frame without `retry`, or without the
  `sensor` that the batch has) `extra` has the key with a null; for a list that is there and empty,
  the empty list.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import schemas
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire.codec import compile_schema
from datastalker.wire.primitives import Codec

BATCH: Codec = compile_schema(schemas.current("frame_batch"))
"""The whole record: of agents and workers, and of who reads a batch slowly."""

_NAMED: dict[str, Codec] = {}
compile_schema(schemas.current("frame_batch"), _NAMED)
FRAME, MANAGEMENT, WPS = _NAMED["Frame"], _NAMED["Management"], _NAMED["Wps"]

ADDRESSES = ("ta", "ra", "sa", "da", "bssid")
LISTS = ("pairwise_ciphers", "akms", "rates_kbps", "elements", "extensions")
INHERITED = ("sensor", "interface", "file", "labels")
ABSENT: dict[str, Any] = {
    "timestamp": 0,
    "id": "",
    "length": 0,
    "kind": "RESERVED",
    **dict.fromkeys(
        ("retry", "protected", "to_ds", "from_ds", "power_mgmt", "more_data"), False
    ),
}  # fmt: skip
"""What stands for a key that a message hasn't where null can't."""

IN_FRAME = frozenset(FRAME.fields) - {"management", "extra"}
IN_MANAGEMENT = frozenset(MANAGEMENT.fields) - {"wps"}
IN_WPS = {f"wps_{name}": name for name in WPS.fields}
KNOWN = IN_FRAME | IN_MANAGEMENT | frozenset(IN_WPS) | {"type"}
"""Keys of a message that have a field of their own."""

_HEARING = frozenset(_NAMED["Hearing"].fields)
_WRITERS = {
    **{name: FRAME.fields[name].write for name in IN_FRAME},
    **{name: MANAGEMENT.fields[name].write for name in IN_MANAGEMENT},
    **{key: WPS.fields[name].write for key, name in IN_WPS.items()},
}


class Origin(NamedTuple):
    """What a batch says of all its frames that don't say it themselves."""

    sensor: str = ""
    interface: str | None = None
    file: str | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 - never changed


def to_record(message: Message, origin: Origin) -> dict[str, Any]:
    """The record of a message. Raises WireError, which names the key that can't be written."""
    if message.type != "frame":
        raise WireError(
            f"a message of type '{message.type}' is no frame: give its type a topic of its own"
        )
    record: dict[str, Any] = {}
    management: dict[str, Any] = {}
    wps: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in message.items():
        if key not in KNOWN:
            extra[key] = check_extra(key, value)
        elif value is None or key == "type":
            continue
        elif key in LISTS and _is_empty(value):
            extra[key] = []
        elif key in IN_FRAME:
            record[key] = _field(key, value)
        elif key in IN_MANAGEMENT:
            management[key] = _field(key, value)
        else:
            wps[IN_WPS[key]] = _field(key, value)
    for key, stand_in in ABSENT.items():
        if key not in record:
            record[key], extra[key] = stand_in, None
    for key, common in zip(INHERITED, origin, strict=True):
        own = record.pop(key, None)
        if own is None and common:
            extra[key] = None
        elif own != (common or None):
            record[key] = own
    if wps:
        management["wps"] = wps
    if management:
        record["management"] = management
    if extra:
        record["extra"] = extra
    return record


def from_record(record: dict[str, Any], origin: Origin) -> Message:
    """The message of a record of the current schema, as `to_record` makes them."""
    message = Message(type="frame")
    for key in IN_FRAME:
        if record[key] is not None:
            message[key] = record[key]
    for key, common in zip(INHERITED, origin, strict=True):
        if common and record[key] is None:
            message[key] = common
    for key in ADDRESSES:
        if key in message:
            message[key] = message[key].hex(":")
    management = record["management"]
    if management is not None:
        for key in IN_MANAGEMENT:
            if management[key] is not None and management[key] != []:
                message[key] = management[key]
        if "tsf" in message and message["tsf"] < 0:
            message["tsf"] += 1 << 64
        for key, name in IN_WPS.items():
            if management["wps"] is not None and management["wps"][name] is not None:
                message[key] = management["wps"][name]
    apply_extra(message, record["extra"])
    return message


def apply_extra(message: Message, extra: dict[str, Any] | None) -> None:
    """Set what `extra` holds; a null under the name of a field takes the key away."""
    for key, value in (extra or {}).items():
        if value is None and key in KNOWN:
            message.pop(key, None)
        else:
            message[key] = value


def address(value: Any) -> bytes:
    """'aa:bb:cc:dd:ee:ff' → 6 bytes."""
    raw = bytes.fromhex(value.replace(":", "")) if isinstance(value, str) else b""
    if len(raw) != 6 or raw.hex(":") != value:
        raise ValueError("an address reads aa:bb:cc:dd:ee:ff, in lower case")
    return raw


def signed(tsf: Any) -> int:
    """An unsigned number of 64 bits as the signed one of the same bits."""
    if not 0 <= tsf < 1 << 64:
        raise ValueError("it doesn't fit into 64 bits, unsigned")
    return int(tsf) - (1 << 64) if tsf >> 63 else int(tsf)


def _field(key: str, value: Any) -> Any:
    """The value as the field of that key holds it."""
    try:
        if key in ADDRESSES:
            return address(value)
        if key == "tsf":
            return signed(value)
        if key == "heard_by":
            check_hearings(value)
        _WRITERS[key](value)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise unwritable(key, value, error) from error
    return list(value) if key in LISTS else value


def check_extra(key: Any, value: Any) -> Any:
    """The value of a key without a field of its own, if `extra` can hold it."""
    try:
        _EXTRA_WRITE({key: value})
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ValueError) or not isinstance(key, str):
            raise unwritable(key, value, error) from error
        raise WireError(
            f"key '{key}' holds {_described(value)}; what a stage sets may be null, true or false, "
            "a number, text, bytes or a list of text"
        ) from error
    return list(value) if isinstance(value, (list, tuple)) else value


def unwritable(key: Any, value: Any, error: Exception) -> WireError:
    """The error that says why a key can't be written."""
    return WireError(f"key '{key}' holds {_described(value)}: {error}")


def _described(value: Any) -> str:
    shown = repr(value)
    return f"the {type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _is_empty(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, (list, tuple)) and not value


def check_hearings(value: Any) -> None:
    """Refuse what `heard_by` can't hold: keys beside its own would be lost."""
    if value is not None and not (
        isinstance(value, list)
        and all(isinstance(entry, dict) and entry.keys() == _HEARING for entry in value)
    ):
        raise TypeError("it is no list of mappings with just sensor and signal_dbm")


_EXTRA_WRITE = FRAME.fields["extra"].write
EXTRA_VALUE = compile_schema(
    next(
        field["type"][1]["values"]
        for field in schemas.current("presence")["fields"]
        if field["name"] == "extra"
    )
)
"""A value in `extra`, in all schemas."""
