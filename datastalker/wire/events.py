"""Messages of any type but `frame`: presence, alerts, sensors, a plug-in's own; one a Kafka message.

`presence` has a schema of its own, all others share `event`. As with frames: null is absent; what
has no field of its own is in `extra`; null in `extra` under the name of a field that can't be null
says that the message hasn't that key.
"""

from __future__ import annotations

from typing import Any

import schemas
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire.codec import compile_schema
from datastalker.wire.frames import check_extra, unwritable
from datastalker.wire.framing import Framing, SingleObject
from datastalker.wire.resolve import resolve

_SINGLE_OBJECT = SingleObject()


def schema_name(message_type: str) -> str:
    """Which of `schemas.NAMES` messages of a type are written with."""
    return {"frame": "frame_batch", "presence": "presence"}.get(message_type, "event")


def encode_event(message: Message, framing: Framing = _SINGLE_OBJECT, topic: str = "") -> bytes:
    """The bytes of a message that is no frame. Raises WireError, which names key and reason."""
    name = schema_name(message.type)
    if name == "frame_batch":
        raise WireError("a frame is no event: frames travel in batches")
    return framing.prefix(name, topic) + _EVENTS[name].write(message)


def decode_event(data: bytes, framing: Framing = _SINGLE_OBJECT) -> Message:
    """The message that `encode_event` wrote, with any version of its schema. Raises WireError."""
    writer, offset = framing.writer(data)
    writer.expect("presence", "event")
    assert writer.name is not None
    event = _EVENTS[writer.name]
    if not writer.is_current:
        return event.message(resolve(writer, data, offset))
    record, end = event.codec.read(data, offset)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes follow its end")
    return event.message(record)


class _Event:
    """How messages become records of one schema, and back."""

    def __init__(self, name: str) -> None:
        schema = schemas.current(name)
        self.codec = compile_schema(schema)
        self.keys = frozenset(self.codec.fields) - {"extra"} | {"type"}
        types = {field["name"]: field["type"] for field in schema["fields"]}
        stand_ins = {
            k: "" if t == "string" else 0 for k, t in types.items() if not isinstance(t, list)
        }
        self.absent: dict[str, Any] = stand_ins
        """What stands for a key that a message hasn't where null can't."""
        self.type = None if "type" in types else name

    def write(self, message: Message) -> bytes:
        record: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in message.items():
            if key not in self.keys:
                extra[key] = check_extra(key, value)
            elif key in self.codec.fields and value is not None:
                try:
                    self.codec.fields[key].write(value)
                except (TypeError, ValueError, OverflowError) as error:
                    raise unwritable(key, value, error) from error
                record[key] = value
        for key, stand_in in self.absent.items():
            if key not in record:
                record[key], extra[key] = stand_in, None
        if extra:
            record["extra"] = extra
        return self.codec.write(record)

    def message(self, record: dict[str, Any]) -> Message:
        message = Message(type=self.type) if self.type else Message()
        for key, value in record.items():
            if value is not None and key != "extra":
                message[key] = value
        for key, value in (record["extra"] or {}).items():
            if value is None and key in self.keys:
                message.pop(key, None)
            else:
                message[key] = value
        return message


_EVENTS = {name: _Event(name) for name in ("presence", "event")}
