"""What comes to topics from now on. No group is joined and nothing committed: nobody is disturbed.

Frames are read from one topic, the first that carries them, so every sensor's copies are seen; where
a stage hides something, the first behind it. Beside it all topics of events, and the sensors' own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from datastalker.broker import connect
from datastalker.errors import BrokerError, ConfigError, Problem, WireError
from datastalker.history import History
from datastalker.message import Message
from datastalker.record import Decoder, Record
from datastalker.segments import sensors_topic
from datastalker.top.feed import Update
from datastalker.top.stages import Totals
from datastalker.topics import FRAME
from datastalker.wire import framing_of

if TYPE_CHECKING:
    from datastalker.config import Config

log = logging.getLogger("datastalker.top")

_SAY_SECONDS = 1.0
_NEAR_SECONDS = 600
_MADE_SECONDS = 3.0  # until a broker knows of a topic that was made just now


def topics_of(config: Config) -> list[str]:
    """Those that are read, frames first. Empty: it has no cut."""
    frames, events = "", list[str]()
    for step in config.steps:
        if step.topics is None:
            if getattr(step.cls, "hides", False):
                frames = ""
            continue
        carrying = step.topics.get(FRAME, "")
        frames = frames or carrying
        events += [name for kind, name in step.topics.items() if kind != FRAME != name]
    others = [name for name in events if not _carries_frames(config, name)]
    own = [sensors_topic(config).name] if frames or others else []
    return list(dict.fromkeys([*filter(None, [frames]), *others, *own]))


def _carries_frames(config: Config, name: str) -> bool:
    return any((step.topics or {}).get(FRAME) == name for step in config.steps)


class TopicsFeed:
    """The messages of a configuration's topics, from the latest on."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError where it has no topic."""
        self._names = topics_of(config)
        if not self._names:
            text = "it has no topic to look at; leave --topics out to run its pipeline here"
            raise ConfigError([Problem(config.file, 0, 0, text)])
        self._config = config
        self._decoder = Decoder(framing_of(config.settings.get("schema_registry")))
        self._over = threading.Event()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in self._names}
        self._latest = 0
        self._history: History | None = None
        self.title = f"{', '.join(self._names)} at {config.kafka['bootstrap_servers']}"

    def open(self) -> None:
        """Raises BrokerError where the broker isn't there, or no topic."""
        until = time.monotonic() + _MADE_SECONDS
        with connect(self._config) as broker:
            there = broker.describe(self._names)
            while len(there) < len(self._names) and time.monotonic() < until:
                time.sleep(0.2)
                there = broker.describe(self._names)
        if self._names[0] not in there:
            at = self._config.kafka["bootstrap_servers"]
            text = (
                f"{self._config.file}: at {at} is no topic '{self._names[0]}': stalk topics apply"
            )
            raise BrokerError(text, retriable=False)
        for name in self._names:
            if name not in there:
                text = "topic '%s' is not there, so not looked at: stalk topics apply, then again"
                log.warning(text, name)
        self._history = History(self._config, [n for n in self._names if n in there], follow=True)

    def run(self, take: Callable[[Update], None]) -> None:
        """Raises BrokerError, RegistryError where the schema registry can't say what a message is."""
        said = 0.0
        assert self._history is not None
        with self._history as history:
            for records in history.read():
                if self._over.is_set():
                    return
                messages = self._messages(records)
                now = time.monotonic()
                rows = self._rows() if now - said >= _SAY_SECONDS else None
                said = now if rows is not None else said
                take(Update(messages, self._now(messages), rows))

    def stop(self, reason: str) -> None:
        self._over.set()

    def _messages(self, records: Iterable[Record]) -> list[Message]:
        found: list[Message] = []
        for record in records:
            counts = self._counts[record.topic]
            counts["records"] += 1
            try:
                messages = self._decoder.decode(record).messages
            except WireError:
                counts["unreadable"] += 1
                continue
            counts["messages"] += len(messages)
            found += messages
        return found

    def _now(self, messages: Iterable[Message]) -> int | None:
        """The clock's, where what comes is of now; else theirs, as of a capture that is replayed."""
        times = (message.get("timestamp") for message in messages)
        self._latest = max([self._latest, *(t for t in times if isinstance(t, int))])
        now = time.time_ns() // 1000
        return now if abs(now - self._latest) < _NEAR_SECONDS * 1_000_000 else None

    def _rows(self) -> list[Totals]:
        """A row a topic: Kafka messages in, our messages out."""
        return [
            Totals(name, counts["records"], counts["messages"], errors=counts["unreadable"])
            for name, counts in self._counts.items()
        ]
