"""The dead-letter topic, for a person: what is in it, send it again, throw it away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from datastalker import dead_letter, segments
from datastalker.broker import connect
from datastalker.config import Config
from datastalker.errors import BrokerError
from datastalker.topics import client_settings

_SECONDS = 30.0


@dataclass(frozen=True)
class Letter:
    """A dead letter. `said`: topic, partition, offset, who, reason, time and the like."""

    place: str
    said: dict[str, str]
    record: Any

    @property
    def origin(self) -> str:
        return f"{self.said.get('topic')}[{self.said.get('partition')}]@{self.said.get('offset')}"


class Letters:
    """The dead letters of a configuration. Raises BrokerError where the broker is not there."""

    def __init__(self, config: Config) -> None:
        plan = segments.dead_letters_topic(config)
        with connect(config) as broker:
            broker.require([plan])
        self.topic = plan.name
        self._settings = client_settings(config.kafka)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **self._settings,
                "group.id": f"{self.topic}-reader",  # wanted by librdkafka; nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def ends(self) -> dict[int, tuple[int, int]]:
        """The first offset and the one behind the last, by partition."""
        with self._consumer() as consumer:
            found = consumer.list_topics(self.topic, timeout=_SECONDS).topics[self.topic]
            return {
                number: consumer.get_watermark_offsets(
                    TopicPartition(self.topic, number), timeout=_SECONDS
                )
                for number in found.partitions
            }

    def read(self, ends: dict[int, tuple[int, int]]) -> Iterator[Letter]:
        """The letters between these offsets, partition by partition."""
        with self._consumer() as consumer:
            for number, (low, high) in ends.items():
                at = low
                consumer.assign([TopicPartition(self.topic, number, low)])
                while at < high:
                    record = consumer.poll(_SECONDS)
                    if record is None:
                        raise BrokerError(f"topic '{self.topic}' does not answer", retriable=True)
                    if record.error() is not None:
                        raise KafkaException(record.error())
                    offset = record.offset()
                    assert offset is not None
                    at = offset + 1
                    if offset < high:
                        said = dead_letter.read(record.headers())  # type: ignore[arg-type]
                        yield Letter(f"{number}:{offset}", said, record)

    def retry(self, ends: dict[int, tuple[int, int]], place: str | None = None) -> int:
        """Send letters again to where they came from; gives how many.

        Whoever reads the topic gets them, also those who had no trouble with them.
        """
        errors: list[Any] = []
        producer = Producer({**self._settings, "acks": "all", "message.max.bytes": 64 << 20})
        count = 0
        for letter in self.read(ends):
            if place not in (None, letter.place) or "topic" not in letter.said:
                continue
            producer.produce(
                letter.said["topic"],
                letter.record.value(),
                letter.record.key(),
                int(letter.said["partition"]),
                on_delivery=lambda error, _: errors.append(error) if error else None,
                headers=dead_letter.headers_to_retry(letter.record.headers()),
            )
            producer.poll(0)
            count += 1
        if producer.flush(_SECONDS) or errors:
            said = errors[0].str() if errors else "no answer"
            raise BrokerError(
                f"not all could be sent again, nothing is dropped: {said}", retriable=True
            )
        return count

    def drop(self, ends: dict[int, tuple[int, int]]) -> int:
        """Delete the letters up to these offsets; gives how many."""
        wanted = {n: high - low for n, (low, high) in ends.items() if high > low}
        if wanted:
            parts = [TopicPartition(self.topic, number, ends[number][1]) for number in wanted]
            admin = AdminClient(self._settings)  # its futures end with it
            done = admin.delete_records(parts, request_timeout=_SECONDS)
            for future in done.values():
                try:
                    future.result(timeout=_SECONDS)
                except KafkaException as error:
                    text = f"topic '{self.topic}': can't be emptied: {error.args[0].str()}"
                    raise BrokerError(text, retriable=False) from None
        return sum(wanted.values())
