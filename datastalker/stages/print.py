"""`print`: shows messages on standard output."""

from __future__ import annotations

import sys
from typing import Literal

from datastalker import standard_output
from datastalker.errors import OutputError, StopPipeline
from datastalker.message import Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.shown import as_json, as_text


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
        line = as_json if self.format == "json" else as_text
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
