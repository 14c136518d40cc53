"""What comes to topics from now on. No group is joined and nothing committed: nobody is disturbed.

Frames are read from one topic, the first that carries them, so every sensor's copies are seen; where
a stage hides something, the first behind it. Beside it all topics of events, and the sensors' own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError, ConfigError, Problem, WireError
from datastalker.message import Message
from datastalker.segments import sensors_topic
from datastalker.top.feed import Update
from datastalker.top.stages import Totals
from datastalker.topics import FRAME, client_settings
from datastalker.wire import BatchDecoder, decode_event, framing_of

if TYPE_CHECKING:
    from datastalker.config import Config

_AT_ONCE, _TURN_SECONDS, _SAY_SECONDS = 500, 0.25, 1.0
_NEAR_SECONDS = 600


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
        self._faults = Faults(config.kafka, config.file)
        self._framing = framing_of(config.settings.get("schema_registry"))
        self._batches = BatchDecoder(self._framing)
        self._over = threading.Event()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in self._names}
        self._latest = 0
        self._consumer: Any = None
        self.title = f"{', '.join(self._names)} at {config.kafka['bootstrap_servers']}"

    def open(self) -> None:
        """Raises BrokerError where the broker isn't there, or no topic."""
        from confluent_kafka import OFFSET_END, Consumer, TopicPartition

        with connect(self._config) as broker:
            there = broker.describe(self._names)
        if self._names[0] not in there:
            at = self._config.kafka["bootstrap_servers"]
            text = (
                f"{self._config.file}: at {at} is no topic '{self._names[0]}': stalk topics apply"
            )
            raise BrokerError(text, retriable=False)
        self._consumer = Consumer(
            {
                **client_settings(self._config.kafka),
                **self._faults.settings,
                "group.id": f"{self._config.settings['name']}-top",  # demanded; never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(name, number, OFFSET_END)
                for name, topic in there.items()
                for number in range(topic.partitions)
            ]
        )

    def run(self, take: Callable[[Update], None]) -> None:
        """Raises RegistryError where the schema registry can't say what a message is."""
        said = 0.0
        try:
            while not self._over.is_set():
                records = self._consumer.consume(_AT_ONCE, _TURN_SECONDS)
                messages = self._messages(records)
                now = time.monotonic()
                rows = self._rows() if now - said >= _SAY_SECONDS else None
                said = now if rows is not None else said
                take(Update(messages, self._now(messages), rows))
        finally:
            self._consumer.close()

    def stop(self, reason: str) -> None:
        self._over.set()

    def _messages(self, records: Iterable[Any]) -> list[Message]:
        found: list[Message] = []
        for record in records:
            error, counts = record.error(), self._counts.setdefault(record.topic() or "", Counter())
            if error is not None:
                if error.fatal():
                    raise self._faults.refused(error, record.topic() or self._names[0], "reading")
                continue  # librdkafka goes on by itself
            counts["records"] += 1
            value = record.value()
            if value is None:  # a tombstone
                continue
            try:
                messages = self._decoded(value)
            except WireError:
                counts["unreadable"] += 1
                continue
            counts["messages"] += len(messages)
            found += messages
        return found

    def _decoded(self, value: bytes) -> list[Message]:
        writer, _ = self._framing.writer(value)
        if writer.name == "frame_batch":
            return self._batches.decode(value).messages
        return [decode_event(value, self._framing)]

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
            if name
        ]
