"""`limit`: ends the run after so many messages, or so much of the data's time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from datastalker.errors import StopPipeline
from datastalker.message import Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.stats import Stats


@Pipeline.register_stage("limit")
class Limit(Stage):
    """Ends the run in order after `messages` messages or `seconds` of capture time.

    Exactly so many messages pass. What stands behind is flushed as at the end of the input.
    """

    messages: int | None = option(None, "end after this many messages", minimum=1)
    seconds: float | None = option(
        None, "end when capture time is this far from the first message's", minimum=0
    )

    example: ClassVar[dict[str, Any]] = {"messages": 1_000_000}

    def __init__(self, stats: Stats, messages: int | None, seconds: float | None) -> None:
        self.seen = 0
        self.until: float | None = None

    @classmethod
    def check_config(cls, config: dict[str, object]) -> Iterable[tuple[str, str]]:
        if config["messages"] is None and config["seconds"] is None:
            yield "", "give 'messages', 'seconds' or both"

    def handle(self, message: Message) -> Message:
        if self.seconds is not None and (time := message["timestamp"]) is not None:
            if self.until is None:
                self.until = time + self.seconds * 1e6
            elif time > self.until:
                raise StopPipeline(f"limit of {self.seconds:g} seconds reached")
        self.seen += 1
        if self.messages is not None and self.seen >= self.messages:
            # With the last one: a quiet channel may never bring another.
            passed = [message] if self.seen == self.messages else []
            raise StopPipeline(f"limit of {self.messages} messages reached", passed)
        return message
