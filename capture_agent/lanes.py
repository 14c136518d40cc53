"""Lanes: the frames of each partition of a topic, while they wait until there are enough for a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from datastalker.message import Message
from datastalker.topics import TopicPlan, partition_field, partition_of_value

_MAX_ADDRESSES = 1 << 14


class Lane:
    """One partition. `sequence`: of its next batch. `since`: when its first frame came."""

    __slots__ = ("frames", "number", "sequence", "since")

    def __init__(self, number: int) -> None:
        self.number = number
        self.sequence = 0
        self.frames: list[Message] = []
        self.since = 0.0

    def take(self, count: int | None = None) -> list[Message]:
        """The first `count`, or all."""
        batch = self.frames[:count]
        del self.frames[:count]
        self.since = 0.0
        return batch


class _Ways(dict[Any, Callable[[Message], None]]):
    """By the value of the topic's key: where to put a frame with it. Remembered, bounded."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes

    def __missing__(self, value: Any) -> Callable[[Message], None]:
        if len(self) >= _MAX_ADDRESSES:
            self.clear()
        lane = self._lanes[partition_of_value(value, len(self._lanes))]
        put = self[value] = lane.frames.append
        return put


class Lanes:
    """All partitions of a topic. Each of these gives what is to be sent now."""

    def __init__(self, plan: TopicPlan | None, size: int) -> None:
        """`plan`: None, there are no lanes. `size`: frames of a batch."""
        self._lanes = [Lane(number) for number in range(plan.partitions if plan else 0)]
        self._ways = _Ways(self._lanes)
        self._size, self._key = size, plan.key if plan else "ta"
        self._field = partition_field(self._key)

    def put(self, frames: list[Message]) -> Iterator[tuple[Lane, list[Message]]]:
        """Take frames; the batches that are full."""
        ways = self._ways
        if len(self._lanes) == 1:
            self._lanes[0].frames += frames
        elif self._key == "ta":
            for frame in frames:
                ways[frame.get("ta") or frame.get("ra")](frame)
        else:
            field = self._field
            for frame in frames:
                ways[field(frame)](frame)
        now = time.monotonic()
        for lane in self._lanes:
            while len(lane.frames) >= self._size:
                yield lane, lane.take(self._size)
            if lane.frames and not lane.since:
                lane.since = now

    def lingering(self, seconds: float) -> Iterator[tuple[Lane, list[Message]]]:
        """What has waited for longer than that."""
        since = time.monotonic() - seconds
        for lane in self._lanes:
            if lane.frames and lane.since <= since:
                yield lane, lane.take()

    def rest(self) -> Iterator[tuple[Lane, list[Message]]]:
        """What waits in each, be it nothing."""
        for lane in self._lanes:
            yield lane, lane.take()
