"""How a worker is doing: what its agents note, what health checks and Prometheus read.

Written by Faust's event loop, read by the threads of the web server and of the watchdog: plain
attributes, no locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from time import monotonic

from datastalker.metrics import Counts, Sample, count_stages, stage_samples
from datastalker.page import Health
from datastalker.tapping import Place, places_of
from processors.partition import Partition

STARTING, RECOVERING, RUNNING = "starting", "recovering", "running"


class Status:
    """What is known of this worker."""

    def __init__(self, stall_seconds: float, recovery_seconds: float) -> None:
        self.stall_seconds, self.recovery_seconds = stall_seconds, recovery_seconds
        self.phase = STARTING
        self.since = self.progress = self.beat = monotonic()
        """When the phase began, the last message was finished, the event loop was last alive."""
        self.busy = 0
        """Messages in hand."""
        self.lag: dict[tuple[str, str, int], int] = {}
        """Messages that wait, by segment, topic and partition."""
        self.recovery_remaining = 0
        self.batches: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.partitions: dict[tuple[str, int], Partition] = {}
        self._left: dict[str, Counts] = {}
        """By segment: what partitions have counted that were given up."""

    def enter(self, phase: str) -> None:
        if phase != self.phase:
            self.phase = phase
            self.since = self.progress = monotonic()

    def finished(self, segment: str, *, repeated: bool, dead: bool) -> None:
        """A message is done with."""
        self.progress = monotonic()
        self.batches[segment] += 1
        self.repeated[segment] += repeated
        self.dead[segment] += dead

    def give_up(self, segment: str) -> None:
        """The partitions of a segment are taken away; what they counted stays counted."""
        for place in [place for place in self.partitions if place[0] == segment]:
            left = self._left.setdefault(segment, Counter())
            count_stages(segment, self.partitions.pop(place).pipeline, left)
        for waiting in [place for place in self.lag if place[0] == segment]:
            self.lag.pop(waiting, None)

    def trouble(self) -> str:
        """Why this worker can't be trusted to go on, or nothing."""
        now = monotonic()
        if now - self.beat > self.stall_seconds:
            return f"the event loop stood still for {now - self.beat:.0f} s"
        if self.phase != RUNNING:
            if now - self.since > self.recovery_seconds:
                waits = f"{self.recovery_remaining} records of state remain"
                return f"it has been {self.phase} for {now - self.since:.0f} s ({waits})"
            return ""
        waiting = sum(list(self.lag.values()))
        if (waiting or self.busy) and now - self.progress > self.stall_seconds:
            return f"nothing was finished for {now - self.progress:.0f} s, and {waiting} wait"
        return ""

    @property
    def ready(self) -> bool:
        return self.phase == RUNNING and not self.trouble()

    @property
    def health(self) -> Health:
        """For the page."""
        return Health(self.ready, self.phase, self.trouble())

    def samples(self) -> Iterator[Sample]:
        """For the page: all that is counted."""
        yield "datastalker_recovery_remaining", {}, self.recovery_remaining
        for name, counts in (
            ("datastalker_batches_total", self.batches),
            ("datastalker_batches_repeated_total", self.repeated),
            ("datastalker_dead_letters_total", self.dead),
        ):
            for segment, count in list(counts.items()):
                yield name, {"segment": segment}, count
        for (segment, topic, number), waiting in list(self.lag.items()):
            where = {"segment": segment, "topic": topic, "partition": str(number)}
            yield "datastalker_lag", where, waiting
        mine: dict[str, list[Partition]] = {}
        for (segment, _), partition in list(self.partitions.items()):
            mine.setdefault(segment, []).append(partition)
        for segment in sorted({*mine, *self._left}):
            has = mine.get(segment, [])
            missing = sum(seen.missing for p in has for seen in list(p.seen.values()))
            yield "datastalker_partitions", {"segment": segment}, len(has)
            yield "datastalker_batches_missing", {"segment": segment}, missing
            pipelines = [partition.pipeline for partition in has]
            yield from stage_samples(segment, pipelines, self._left.get(segment))

    def places(self) -> list[Place]:
        """For the page: where messages can be looked at, in each partition."""
        return list(places_of(p.pipeline for p in list(self.partitions.values())))
