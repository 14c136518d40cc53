"""When an agent tells its partitions what time it is by the data, and what it tells them."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from capture_agent.publish import Publisher
from datastalker.config import Config, build_segment
from datastalker.pipeline import Pipeline
from datastalker.segments import segments
from datastalker.stage import Stage


class Heartbeats:
    """A heartbeat is as late as the last frame, less what stages of ours still hold."""

    def __init__(
        self, config: Config, pipeline: Pipeline, publisher: Publisher, partitions: int
    ) -> None:
        self._pipeline, self._publisher = pipeline, publisher
        self._seconds: float = config.agent["heartbeat_seconds"]
        self._round = config.agent["batch_frames"] * partitions
        self._held_below = _held_below(config)
        self._beaten = self._moved = monotonic()
        self._now = 0
        self._last = (0, 0)

    def by_clock(self, now: float, *, live: bool) -> None:
        """Those of a source with a pace of its own; later than its last frame if it is `live` and
        has been silent since."""
        if self._pipeline.now != self._now:
            self._now, self._moved = self._pipeline.now, now
        if now - self._beaten >= self._seconds:
            self._beaten = now
            self._beat(now - self._moved if live else 0.0)

    def by_data(self) -> None:
        """A file that is read as fast as can be: by its own time, so that they stand in the same
        places each time; and not before there were frames for a batch in each partition."""
        now, arrived = self._last
        if not now:
            self._last = self._pipeline.now, 0
            return
        due = now + self._seconds * 1e6
        if self._pipeline.now >= due and self._publisher.arrived >= arrived + self._round:
            self._last = self._pipeline.now, self._publisher.arrived
            self._beat()

    def last(self, *, live: bool) -> None:
        """Nothing is held here any more. Behind the end of a file nobody comes to move time, so it
        is as much later as workers hold what they have."""
        if self._pipeline.now:
            held = 0 if live else self._held_below
            self._publisher.heartbeat(self._pipeline.now + held)
        else:
            self._publisher.linger(0)

    def _beat(self, silent_seconds: float = 0.0) -> None:
        if self._pipeline.now:
            held = sum(entry.delay for entry in self._pipeline.entries)
            self._publisher.heartbeat(self._pipeline.now + int(silent_seconds * 1e6) - held)


def _held_below(config: Config) -> int:
    """For how many microseconds the stages of workers hold a message at most."""
    delay = 0
    for segment in segments(config)[1:]:
        holding = [
            step
            for step in segment.steps
            if step.cls is not None and issubclass(step.cls, Stage) and step.cls.holds
        ]
        pipeline = build_segment(config, replace(segment, steps=holding))
        delay += sum(entry.delay for entry in pipeline.entries)
    return delay
