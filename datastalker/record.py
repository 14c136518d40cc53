"""A Kafka message as it is, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from datastalker.message import Message
from datastalker.wire import Batch, BatchDecoder, Framing, SingleObject, decode_event

Place = tuple[str, int]
"""A topic and the number of a partition."""


class Record(NamedTuple):
    """A Kafka message as it is. `time`: milliseconds since 1970, None where it has none."""

    topic: str
    partition: int
    offset: int
    time: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass
class Decoded:
    """What a record holds: a batch of frames, or one message. Neither: it is a tombstone."""

    messages: list[Message] = field(default_factory=list)
    batch: Batch | None = None

    @property
    def now(self) -> int:
        """What time it is by the data, microseconds; 0: it does not say."""
        if self.batch is not None:
            return self.batch.now
        times = (message.get("timestamp") for message in self.messages)
        return max((time for time in times if isinstance(time, int)), default=0)


class Decoder:
    """Records of any topic of ours to messages: the bytes tell what they are."""

    def __init__(self, framing: Framing | None = None) -> None:
        self._framing = framing or SingleObject()
        self._batches = BatchDecoder(self._framing)

    def decode(self, record: Record) -> Decoded:
        """Raises WireError where it is none of ours; RegistryError where the registry can't say."""
        if record.value is None:
            return Decoded()
        writer, _ = self._framing.writer(record.value)
        if writer.name == "frame_batch":
            batch = self._batches.decode(record.value)
            return Decoded(batch.messages, batch)
        return Decoded([decode_event(record.value, self._framing)])
