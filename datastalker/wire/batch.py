"""A batch of frames, as a consumer gets it."""

from __future__ import annotations

from dataclasses import dataclass, field

from datastalker.message import Message
from datastalker.wire.frames import Origin


@dataclass(slots=True)
class Batch:
    """What one Kafka message of a topic of frames holds. Without messages it is a heartbeat.

    Times are microseconds since 1970: `sent_at` by the sender's clock, which is
    `clock_offset_ms` ahead (None: it hasn't measured); `now` by the data's.
    """

    sensor: str
    session: str
    sequence: int
    sent_at: int
    clock_offset_ms: float | None
    now: int
    labels: dict[str, str]
    interface: str | None
    file: str | None
    messages: list[Message] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        return Origin(self.sensor, self.interface, self.file, self.labels)
