"""`print`: shows messages on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from datastalker import standard_output
from datastalker.errors import OutputError, StopPipeline
from datastalker.message import FIELDS, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.text import one_line


@Pipeline.register_stage("print")
class Print(Stage):
    """Shows each message that passes, as text for people or as JSON lines for programs.

    JSON has every key of the contract in its order, null where the message has none, then the
    keys that stages added; it is pure ASCII, so whatever an SSID holds, a terminal shows it as it
    is. Text leaves nulls out.
    """

    format: Literal["text", "json"] = option("text", "text for people, json for programs")
    prefix: str = option("", "put before each line")

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        line = _json if self.format == "json" else _text
        text = "".join([f"{self.prefix}{line(message)}\n" for message in messages])
        encoding = sys.stdout.encoding or "utf-8"
        try:
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
        except BrokenPipeError:  # `stalk run | head`: who reads has had enough; sinks get the rest
            standard_output.give_up()
            raise StopPipeline("nobody reads the output any more", messages) from None
        except OSError as error:
            standard_output.give_up()
            raise OutputError(f"standard output can't be written: {error.strerror}") from None
        return messages


def _json(message: Message) -> str:
    names = FIELDS.get(message.type, {})
    ordered: dict[str, Any] = {"type": message.type}
    ordered.update((name, message.get(name)) for name in names)
    ordered.update(message)
    return json.dumps(ordered, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """Values that JSON has no word for: bytes as hex, sets sorted, the rest as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def _text(message: Message) -> str:
    parts = [message.type]
    names = FIELDS.get(message.type, {})
    keys = [name for name in names if name in message]
    keys += [key for key in message if key not in names and key != "type"]
    for key in keys:
        value = message[key]
        if value is not None:
            parts.append(f"{key}={one_line(repr(value) if isinstance(value, str) else str(value))}")
    return " ".join(parts)
