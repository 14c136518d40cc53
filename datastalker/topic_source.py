"""A topic as the first entry of a pipeline: what was published is read again, in one process.

It reads as nobody's group and commits nothing, so whoever works on the topic never notices.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from datastalker.history import History
from datastalker.merged import LATE_SECONDS, Merged
from datastalker.message import Message
from datastalker.position import Position
from datastalker.record import Decoder
from datastalker.stage import SourceStage
from datastalker.wire import framing_of

if TYPE_CHECKING:
    from datastalker.settings import Config, Step

log = logging.getLogger("datastalker.history")


class TopicSource(SourceStage):
    """Gives the messages of the topics of a cut, those of all partitions in the order of their time.

    `begin`, `end`, `follow`: what of them, to be set before it runs; else all that is there then.
    """

    name = "topic"
    paced = False

    def __init__(self, stats: Any, *, config: Config, step: Step) -> None:
        assert step.topics is not None
        self.stats = stats
        self.topics = list(dict.fromkeys(step.topics.values()))
        self.types = set(step.topics)
        self.config = config
        self.begin: Position | None = None
        self.end: Position | None = None
        self.follow = False
        self.now = 0
        self._history: History | None = None

    def run(self) -> Iterator[list[Message]]:
        """Raises BrokerError where the broker or a topic isn't there, RegistryError."""
        self.live = self.paced = self.follow
        history = self._open()
        decoder = Decoder(framing_of(self.config.settings.get("schema_registry")))
        merged = Merged(history, decoder, 0 if self.follow else LATE_SECONDS)
        for messages in merged.read():
            self.now = merged.now
            self.stats.set("topic/repeated", merged.repeated)
            self.stats.set("topic/unreadable", merged.unreadable)
            yield [message for message in messages if message.type in self.types]

    def _open(self) -> History:
        history = History(self.config, self.topics, self.begin, self.end, follow=self.follow)
        self._history = history
        for note in history.notes:
            log.warning("%s", note)
        return history

    def progress(self) -> tuple[int, int] | None:
        return None if self._history is None else self._history.progress()

    def close(self) -> None:
        if self._history is not None:
            self._history.close()
            self._history = None
