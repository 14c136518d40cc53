"""`strip`: removes keys from messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from datastalker.message import Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage


@Pipeline.register_stage("strip")
class Strip(Stage):
    """Removes the keys that are listed or begin with a prefix. A message always keeps its type."""

    keys: list[str] = option([], "remove these keys")
    keys_startswith: str | None = option(None, "remove the keys that begin with this, such as _")

    example: ClassVar[dict[str, Any]] = {"keys_startswith": "_"}

    @classmethod
    def check_config(cls, config: dict[str, object]) -> Iterable[tuple[str, str]]:
        if not config["keys"] and not config["keys_startswith"]:
            yield "", "give 'keys', 'keys_startswith' or both"

    def handle(self, message: Message) -> Message:
        for key in self.keys:
            if key in message and key != "type":
                del message[key]
        if self.keys_startswith:
            for key in [key for key in message if key.startswith(self.keys_startswith)]:
                if key != "type":
                    del message[key]
        return message
