"""Where a sink sets aside what it can't read or what its store refuses: the dead-letter topic."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import time
from typing import Any

from confluent_kafka import KafkaException, Message, Producer

from datastalker import dead_letter
from datastalker.errors import RetryLater
from datastalker.text import one_line
from datastalker.topics import ONCE

log = logging.getLogger("datastalker.sink")

_SECONDS = 10.0


class DeadLetters:
    """Sends Kafka messages on to the dead-letter topic, as they are. `flush` before the commit."""

    def __init__(self, settings: dict[str, Any], topic: str, who: str) -> None:
        """`settings`: those of librdkafka to reach the broker."""
        large = {"message.max.bytes": 64 << 20}  # what came from this broker may go to it
        self._producer = Producer({**settings, **large, **ONCE})
        self.topic, self.who = topic, who
        self._failed: list[tuple[Message, list[tuple[str, bytes]]]] = []
        self._open = 0
        self._told: set[str] = set()

    def put(
        self, record: Message, reason: str, traceback: str = "", ids: Iterable[str] = ()
    ) -> None:
        """Set a message aside."""
        topic, partition, offset = record.topic(), record.partition(), record.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        headers = dead_letter.headers(
            record.headers(),  # type: ignore[arg-type]
            topic=topic,
            partition=partition,
            offset=offset,
            who=self.who,
            reason=reason,
            time=int(time() * 1e6),
            traceback=traceback,
            ids=ids,
        )
        place = f"{topic}[{partition}]@{offset}"
        level = logging.DEBUG if reason in self._told else logging.WARNING
        if len(self._told) < 1000:
            self._told.add(reason)
        log.log(level, "%s goes to %s: %s", place, self.topic, one_line(reason)[:500])
        self._send(record, headers)

    def _send(self, record: Message, headers: list[tuple[str, bytes]]) -> None:
        def delivered(error: Any, _: Any) -> None:
            self._open -= 1
            if error is not None:
                self._failed.append((record, headers))

        self._open += 1
        try:
            self._producer.produce(
                self.topic,
                record.value(),
                record.key(),
                headers=list(headers),
                on_delivery=delivered,
            )
        except (BufferError, KafkaException):
            self._open -= 1
            self._failed.append((record, headers))

    def flush(self) -> None:
        """Wait until all are safe. Raises RetryLater while they are not; call it again."""
        again, self._failed = self._failed, []
        for record, headers in again:
            self._send(record, headers)
        if self._open:
            self._producer.flush(_SECONDS)
        if self._open or self._failed:
            raise RetryLater(f"topic '{self.topic}' does not take dead letters", 1.0, [])
