"""The outbox: takes encoded messages, and tells of each what became of it.

A KafkaOutbox keeps what waits in memory; a SpoolOutbox (`spool_outbox`) puts a disk beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Protocol

from capture_agent.clock import steady
from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError, OutputError
from datastalker.topics import ONCE, client_settings

GIVEN_UP = "not_delivered"
"""Of a parcel that still waited when the agent ended."""
_BY_BROKER = 2  # confluent_kafka.TIMESTAMP_LOG_APPEND_TIME
TIMED_OUT = "msg_timed_out"
"""Of one that was tried for as long as it may be; librdkafka's name."""


@dataclass(slots=True)
class Parcel:
    """One Kafka message. `frames`: how many are in it; `kind`: frames, heartbeat, event, status.

    `session`, `sequence`: of a batch, by which repeats are known. `time`: when it was made,
    microseconds by the agent's clock.
    """

    topic: str
    partition: int
    value: bytes
    kind: str
    frames: int = 0
    key: bytes | None = None
    session: str = ""
    sequence: int = -1
    time: int = 0


Stamped = Callable[[float, float, int], None]
"""Of a status that has the broker's time: when it was sent by `clock.steady`, seconds until it was
confirmed, and that time, in milliseconds."""

Told = Callable[[Parcel, str | None], None]
"""What became of a parcel: None, it was delivered; else, in a word, why it never will be."""


class Outbox(Protocol):
    """Every parcel that it takes is told of once, from within `offer`, `serve` or `drop`."""

    told: Told
    full: str
    """The word for why there is no room."""

    @property
    def spooled(self) -> int:
        """Frames of this run that were taken, are not told of, and are safe on disk."""

    @property
    def waiting(self) -> int:
        """Parcels that were taken and not told of yet."""

    def offer(self, parcel: Parcel) -> bool:
        """Take a parcel. False: there is no room for it now. Raises OutputError: never again."""

    def serve(self, seconds: float = 0) -> None:
        """Tell what there is to tell; wait for it so long at most. Raises OutputError."""

    def drop(self) -> None:
        """Give up what waits, and tell so."""

    def trouble(self) -> BrokerError | None:
        """What keeps parcels waiting, as far as known."""

    def stalled_seconds(self) -> float:
        """For how long nothing was confirmed while something waited."""


class KafkaOutbox:
    """Hands parcels to librdkafka, which keeps them in memory until the broker has them.

    Idempotent and in order: a parcel is in its partition once, however often it had to be sent.
    """

    full = "queue_full"
    spooled = 0

    def __init__(
        self,
        kafka: dict[str, Any],
        file: str,
        client_id: str,
        timeout_seconds: float,
        queue_mb: float,
    ) -> None:
        """`kafka`, `file`: the configuration's settings, completed, and its name. `queue_mb`: how
        much is kept. `timeout_seconds`: for how long a parcel is tried."""
        from confluent_kafka import KafkaException, Producer

        self.told: Told = lambda parcel, reason: None
        self.stamped: Stamped = lambda sent, took, written_ms: None
        self._kafka = kafka
        self._faults = Faults(kafka, file)
        self._fatal: Any = None
        self._waiting = 0
        self._moved = 0.0
        settings = {
            **client_settings(kafka),
            **self._faults.settings,
            "error_cb": self._error,
            "client.id": client_id,
            **ONCE,
            "compression.type": kafka["compression"],
            # Parcels are batches already; and librdkafka spins for the last millisecond of a wait.
            "linger.ms": 0,
            "message.timeout.ms": int(timeout_seconds * 1000),
            "queue.buffering.max.kbytes": max(1, int(queue_mb * 1024)),
            "queue.buffering.max.messages": 1_000_000,
            "reconnect.backoff.max.ms": 2000,
        }
        try:
            self._producer = Producer(settings)
        except KafkaException as error:
            raise self._faults.refused_settings(error.args[0].str()) from None

    @property
    def waiting(self) -> int:
        return self._waiting

    def offer(self, parcel: Parcel) -> bool:
        from confluent_kafka import KafkaException

        try:
            self._producer.produce(
                parcel.topic,
                parcel.value,
                parcel.key,
                parcel.partition,
                partial(self._delivered, parcel, steady()),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._check()
            self.told(parcel, _word(error.args[0]))
            return True
        if not self._waiting:
            self._moved = monotonic()
        self._waiting += 1
        return True

    def serve(self, seconds: float = 0) -> None:
        self._producer.poll(seconds)
        self._check()

    def drop(self) -> None:
        self._producer.purge()
        self._producer.flush(5)

    def trouble(self) -> BrokerError | None:
        return self._faults.explain(0) if self._faults.heard else None

    def stalled_seconds(self) -> float:
        return monotonic() - self._moved if self._waiting else 0.0

    def _delivered(self, parcel: Parcel, sent: float, error: Any, message: Any) -> None:
        self._waiting -= 1
        if error is None:
            self._moved = monotonic()
        if error is None and parcel.kind == "status":
            kind, written_ms = message.timestamp()
            if kind == _BY_BROKER:
                self.stamped(sent, message.latency() or 0.0, written_ms)
        if error is None and self._faults.heard:
            self._faults.forget()  # it is back
        self.told(parcel, None if error is None else _word(error))

    def _error(self, error: Any) -> None:
        if error.fatal():
            self._fatal = error
        self._faults.settings["error_cb"](error)

    def _check(self) -> None:
        if self._fatal is not None:
            text = f"Kafka refuses to go on with this producer: {self._fatal.str()}"
            raise OutputError(f"{text}; start the agent again")


def _word(error: Any) -> str:
    """A KafkaError as the word under which it is counted."""
    name = str(error.name())
    return GIVEN_UP if name.startswith("_PURGE") else name.lstrip("_").lower()
