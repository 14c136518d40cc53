"""A consumer as member of its group: which partitions it has, from where, and what is committed.

A member that can't go on keeps polling with its partitions paused: so it stays in the group, and
what it holds in memory does not grow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError, RetryLater
from datastalker.topics import client_settings
from sinks.records import Place

log = logging.getLogger("datastalker.sink")

_SECONDS = 10.0

Settings = dict[str, Any]

_SETTINGS: Settings = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 2_000,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,  # what is fetched ahead, in all
    "queued.min.messages": 1_000,
}


class Membership:
    """The consumer of one sink."""

    def __init__(self, kafka: Settings, file: str, group: str, instance: str | None) -> None:
        """`instance`: a name that a restarted process has again, and no other: it then gets its
        partitions back at once."""
        self.group = group
        self.faults = Faults(kafka, file)
        self.settings = {**client_settings(kafka), **self.faults.settings}
        static = {} if instance is None else {"group.instance.id": f"{group}-{instance}"}
        self._instance = instance
        self._consumer = Consumer(
            {**self.settings, **_SETTINGS, **static, "group.id": group, "client.id": group}
        )
        self.places: set[Place] = set()
        self.at_end: set[Place] = set()
        self.held: set[Place] = set()
        self.paused = False

    def join(
        self,
        topics: Iterable[str],
        assigned: Callable[[list[Place]], None],
        revoked: Callable[[set[Place], bool], None],
    ) -> None:
        """Become a member. `revoked` is told whether another may have the partitions already."""

        def on_assign(_: Any, given: list[TopicPartition]) -> None:
            places = [(part.topic, part.partition) for part in given]
            self.places.update(places)
            log.info("partitions given: %s", _named(places) or "none")
            assigned(places)

        def on_revoke(_: Any, taken: list[TopicPartition], lost: bool = False) -> None:
            places = {(part.topic, part.partition) for part in taken}
            log.info("partitions taken away: %s", _named(places) or "none")
            for kept in (self.places, self.at_end, self.held):
                kept -= places
            revoked(places, lost)

        self._consumer.subscribe(
            list(topics),
            on_assign=on_assign,
            on_revoke=on_revoke,
            on_lost=lambda consumer, taken: on_revoke(consumer, taken, True),
        )

    def start(self, offsets: dict[Place, int | None]) -> None:
        """Begin to read partitions: from an offset, or where it was committed (None)."""
        fresh = [TopicPartition(*where) for where in offsets if where not in self.held]
        if fresh:
            self._consumer.incremental_assign(fresh)
        waiting = []
        for (topic, partition), offset in offsets.items():
            if (topic, partition) in self.held:
                at = OFFSET_BEGINNING if offset is None else offset
                waiting.append(TopicPartition(topic, partition, at))
        if waiting:
            again = [TopicPartition(part.topic, part.partition) for part in waiting]
            self._consumer.incremental_unassign(again)
            self._consumer.incremental_assign(waiting)
            self._consumer.resume(again)
            self.held -= {(part.topic, part.partition) for part in waiting}
        if self.paused:
            self._consumer.pause([TopicPartition(*where) for where in offsets])

    def hold(self, places: Iterable[Place]) -> None:
        """Accept partitions without reading them yet; `start` does, from an offset."""
        parts = [TopicPartition(*where) for where in places]
        if parts:
            self._consumer.incremental_assign(parts)
            self._consumer.pause(parts)
            self.held.update((part.topic, part.partition) for part in parts)

    def committed(self, where: Place) -> tuple[int | None, str | None]:
        """The offset and metadata of the group's last commit. Raises RetryLater."""
        try:
            (found,) = self._consumer.committed([TopicPartition(*where)], timeout=_SECONDS)
        except KafkaException as error:
            said = error.args[0].str()
            raise RetryLater(f"Kafka does not tell what was committed: {said}", 1.0) from error
        if found.error is not None:
            raise RetryLater(f"Kafka does not tell what was committed: {found.error}", 1.0)
        return (None if found.offset < 0 else found.offset), found.metadata

    def fetch(self, count: int, seconds: float) -> list[Any]:
        """The next Kafka messages. Raises BrokerError where no more will come."""
        try:
            found = self._consumer.consume(count, seconds)
        except KafkaException as raised:
            raise self._fatal(raised.args[0]) from raised
        records = []
        for record in found:
            error = record.error()
            where = (record.topic(), record.partition())
            if error is None:
                self.at_end.discard(where)
                if where in self.places - self.held:
                    records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                if where in self.places - self.held:
                    self.at_end.add(where)
            elif error.fatal() or error.code() in _HOPELESS:
                raise self._fatal(error)
            else:
                log.warning("Kafka: %s", error.str())
        return records

    def _fatal(self, error: Any) -> BrokerError:
        if error.code() in (KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID):
            text = f"another process runs with --instance {self._instance}: give each its own"
            return BrokerError(text, retriable=False)
        return self.faults.refused(error, self.group, "reading")

    def pause(self) -> None:
        """Read no more for now; `fetch` keeps the membership alive."""
        if not self.paused and self.places:
            self._consumer.pause([TopicPartition(*where) for where in self.places])
        self.paused = True

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        parts = [TopicPartition(*where) for where in self.places - self.held]
        if parts:
            self._consumer.resume(parts)

    def commit(self, offsets: dict[Place, tuple[int, str]]) -> None:
        """Commit offsets with metadata. What can't be committed is read again by who comes next,
        so it is told and no more."""
        parts = [
            TopicPartition(topic, partition, offset, metadata=metadata)
            for (topic, partition), (offset, metadata) in offsets.items()
        ]
        try:
            self._consumer.commit(offsets=parts, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets not committed, these messages may be read again: %s", error)

    def lags(self) -> dict[Place, int]:
        """Messages that are there and were not read, by partition, as far as that is known."""
        found: dict[Place, int] = {}
        try:
            positions = self._consumer.position([TopicPartition(*w) for w in self.places])
            for part in positions:
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(part.topic, part.partition), cached=True
                )
                at = low if part.offset == OFFSET_INVALID else part.offset
                found[part.topic, part.partition] = max(0, high - max(at, 0))
        except (KafkaException, TypeError):
            return {}
        return found

    def leave(self) -> None:
        """End the membership; others get the partitions."""
        self._consumer.close()


_HOPELESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
}


def _named(places: Iterable[Place]) -> str:
    return ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(places))
