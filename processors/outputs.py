"""What comes out of a partition's pipeline, as Kafka messages.

Made again from the same input they are the same, in the same order: a consumer goes by their
origin. Frames of one input batch are one batch for each output partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from datastalker.delivery import Origin
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.segments import Segment
from datastalker.topics import (
    FRAME,
    TopicPlan,
    partition_field,
    partition_of,
    partition_of_value,
)
from datastalker.wire import BatchEncoder, Framing, encode_event, schema_name

_MOST_FRAMES = 2_000
"""Frames of a batch: what `merge` held for long may come at once, and a Kafka message is bounded."""

_MOST_BYTES = 800_000
"""Of frames in a batch, before compression: a broker takes a million unless told more."""

_MOST_NUMBERS = 8_192

Failed = Callable[[Message, WireError], None]


@dataclass(slots=True)
class Head:
    """What an input says of itself, handed on with what is made from it."""

    origin: Origin
    sent_at: int
    clock_offset_ms: float | None
    heartbeat: bool


@dataclass(slots=True)
class Output:
    """A Kafka message to be sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class Outputs:
    """Encodes what a segment hands on. One for each partition, since encoders remember."""

    def __init__(self, segment: Segment, framing: Framing) -> None:
        """Raises RegistryError where the registry isn't there."""
        self._targets, self._framing = segment.target, framing
        self._frames: TopicPlan | None = segment.target.get(FRAME)
        if self._frames is not None:
            self._field = partition_field(self._frames.key)
            self._numbers: dict[Any, int] = {}  # by the value of the key: hashing costs 2 µs
            prefix = framing.prefix("frame_batch", self._frames.name)
            self._encoder = BatchEncoder("", "", prefix=prefix, to_pass_on=True)
        for kind, plan in segment.target.items():
            if kind != FRAME:
                framing.prefix(schema_name(kind), plan.name)  # registered now, not with the first

    def encode(
        self, messages: Iterable[Message], head: Head, now: int, failed: Failed
    ) -> list[Output]:
        """The Kafka messages for what came out; `now` is what time it is for who reads them.

        `failed` is told of each message that can't be written. A type that no topic carries is
        left out, as in a run in one process.
        """
        frames: dict[int, list[tuple[int, bytes]]] = {}
        events: dict[tuple[str, int], list[tuple[tuple[int, str], bytes | None, bytes]]] = {}
        for message in messages:
            kind = message.get("type", "message")
            try:
                if kind != FRAME:
                    if kind in self._targets:
                        self._event(message, self._targets[kind], events)
                elif self._frames is not None:
                    value = self._field(message)
                    number = self._numbers.get(value, -1) if type(value) is str else -1
                    if number < 0:
                        number = self._number(value, self._frames.partitions)
                    raw = self._encoder.frame(message)
                    frames.setdefault(number, []).append((message.get("timestamp") or 0, raw))
            except WireError as error:
                failed(message, error)
        return [*self._batches(frames, head, now), *_numbered(events, head.origin)]

    def _number(self, value: Any, partitions: int) -> int:
        if len(self._numbers) >= _MOST_NUMBERS:
            self._numbers.clear()
        number = partition_of_value(value, partitions)
        if type(value) is str:
            self._numbers[value] = number
        return number

    def _event(
        self,
        message: Message,
        plan: TopicPlan,
        events: dict[tuple[str, int], list[tuple[tuple[int, str], bytes | None, bytes]]],
    ) -> None:
        key = message.get("key") or message.get("id")
        raw = None if key is None else str(key).encode("utf-8", "replace")
        number = 0 if raw is None else partition_of(raw, plan.partitions)
        time = message.get("timestamp")
        order = (time if isinstance(time, int) else 0, str(message.get("id")))
        value = encode_event(message, self._framing, plan.name)
        events.setdefault((plan.name, number), []).append((order, raw, value))

    def _batches(
        self, frames: dict[int, list[tuple[int, bytes]]], head: Head, now: int
    ) -> Iterable[Output]:
        plan = self._frames
        if plan is None:
            return
        for number in range(plan.partitions) if head.heartbeat else sorted(frames):
            mine = frames.get(number, [])
            for n, part in enumerate(_parts(mine)):
                value = self._encoder.batch(
                    part,
                    sequence=n,
                    sent_at=head.sent_at,
                    now=now,
                    clock_offset_ms=head.clock_offset_ms,
                )
                headers = head.origin._replace(n=n).to_headers()
                yield Output(plan.name, number, None, value, headers)


def _parts(frames: list[tuple[int, bytes]]) -> Iterable[list[bytes]]:
    """Frames, with their times, in batches that a broker takes."""
    size = sum(len(raw) for _, raw in frames)
    if len(frames) <= _MOST_FRAMES and size <= _MOST_BYTES:
        yield [raw for _, raw in frames]
        return
    part: list[bytes] = []
    size = 0
    for _, raw in sorted(frames):  # the same cuts, in whatever order they came
        if part and (len(part) >= _MOST_FRAMES or size + len(raw) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    yield part


def _numbered(
    events: dict[tuple[str, int], list[tuple[tuple[int, str], bytes | None, bytes]]],
    origin: Origin,
) -> Iterable[Output]:
    for (topic, number), made in events.items():
        made.sort(key=lambda event: event[0])  # so that `n` is the same when it is made again
        for n, (_, key, value) in enumerate(made):
            yield Output(topic, number, key, value, origin._replace(n=n).to_headers())
