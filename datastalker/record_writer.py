"""Kafka messages as they are, into a topic: what replay and import share.

    writer = RecordWriter(config, "trial.frames")
    writer.write(record)
    writer.flush()                      # the broker has all of it

Unlike an agent it has no spool and drops nothing: who gives more than the broker takes waits, and
where the broker is silent for long it ends with an error.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from datastalker.broker_faults import Faults
from datastalker.record import Record
from datastalker.topics import ONCE, client_settings

if TYPE_CHECKING:
    from datastalker.config import Config

_SILENT_SECONDS = 30.0
_TURN_SECONDS = 0.1
_WAITING_KB = 32_768
"""What waits for the broker in memory at most."""


class RecordWriter:
    """Puts Kafka messages into a topic, each into its partition. `confirmed`: how many the broker
    has."""

    def __init__(self, config: Config, topic: str, *, keep_time: bool = False) -> None:
        """`keep_time`: they say that they were published when they were; else now."""
        from confluent_kafka import Producer

        self.topic = topic
        self.confirmed = 0
        self._keep_time = keep_time
        self._faults = Faults(config.kafka, config.file)
        self._error: Any = None
        self._heard = monotonic()
        self._producer = Producer(
            {
                **client_settings(config.kafka),
                **self._faults.settings,
                **ONCE,
                "message.max.bytes": 64 << 20,  # the topic's own limit decides
                "queue.buffering.max.kbytes": _WAITING_KB,
                "compression.type": config.kafka["compression"],
                "linger.ms": 5,
            }
        )

    def write(self, record: Record) -> None:
        """Waits where much is on its way. Raises BrokerError, also for what was written before."""
        from confluent_kafka import KafkaException

        settings: dict[str, Any] = {"on_delivery": self._told, "headers": record.headers}
        if self._keep_time and record.time is not None:
            settings["timestamp"] = record.time
        if not len(self._producer):
            self._heard = monotonic()  # nothing was awaited
        while True:
            try:
                self._producer.produce(
                    self.topic, record.value, record.key, record.partition, **settings
                )
                break
            except BufferError:
                self._wait()
            except KafkaException as raised:
                raise self._faults.refused(raised.args[0], self.topic, "publishing") from None
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Wait until the broker has all. Raises BrokerError."""
        while len(self._producer):
            self._wait()
        self._check()

    def _wait(self) -> None:
        """In short turns: a signal is heard between them."""
        self._producer.poll(_TURN_SECONDS)
        self._check()
        if monotonic() - self._heard > _SILENT_SECONDS:
            raise self._faults.explain(_SILENT_SECONDS)

    def _told(self, error: Any, _: Any) -> None:
        self._heard = monotonic()
        if error is None:
            self.confirmed += 1
            self._faults.forget()
        else:
            self._error = self._error or error

    def _check(self) -> None:
        if self._error is not None:
            raise self._faults.refused(self._error, self.topic, "publishing")
