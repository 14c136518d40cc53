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

STARTING, RECOVERING, RUNNING, LEAVING = "starting", "recovering", "running", "leaving"


class Status:
    """What is known of this worker."""

    def __init__(self, stall_seconds: float, recovery_seconds: float, leave_seconds: float) -> None:
        """For how long nothing may be finished, state be read, and what is in hand be finished when
        it is asked to end."""
        self.stall_seconds, self.recovery_seconds = stall_seconds, recovery_seconds
        self.leave_seconds = leave_seconds
        self.phase = STARTING
        self.since = self.answered = self.beat = monotonic()
        """When the phase began, the broker last answered, the event loop was last alive."""
        self._progress: dict[str, float] = {}
        """By segment: when a message was finished, or work came after there was none."""
        self._busy: Counter[str] = Counter()
        """Messages in hand, by segment."""
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
        """Who is leaving does not come back."""
        if self.phase not in (phase, LEAVING):
            self.phase = phase
            self.since = self.answered = monotonic()
            self._progress = dict.fromkeys(self._progress, self.since)

    def take(self, segment: str) -> None:
        """A message is in hand, or several that are one."""
        if not self._busy[segment]:
            self._progress[segment] = monotonic()
        self._busy[segment] += 1

    def leave(self, segment: str) -> None:
        """It is out of hand."""
        self._busy[segment] -= 1

    def measured(self, segment: str, waiting: dict[tuple[str, int], int]) -> None:
        """How many messages wait, by topic and partition."""
        self.answered = monotonic()
        before = sum(count for place, count in self.lag.items() if place[0] == segment)
        if not before:
            self._progress[segment] = self.answered
        for (topic, number), count in waiting.items():
            self.lag[segment, topic, number] = count

    def finished(self, segment: str, *, repeated: bool, dead: bool) -> None:
        """A message is done with."""
        self._progress[segment] = monotonic()
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
        if self.phase == LEAVING:
            if now - self.since > self.leave_seconds:
                return (
                    f"it was asked to end {now - self.since:.0f} s ago, and can't finish what is in "
                    "hand; that is done again by the next"
                )
            return ""
        if now - self.beat > self.stall_seconds:
            return f"the event loop stood still for {now - self.beat:.0f} s"
        if self.phase != RUNNING:
            if now - self.since > self.recovery_seconds:
                waits = f"{self.recovery_remaining} records of state remain"
                return f"it has been {self.phase} for {now - self.since:.0f} s ({waits})"
            return ""
        waiting: Counter[str] = Counter()
        for (segment, _, _), count in list(self.lag.items()):
            waiting[segment] += count
        progress = list(self._progress.items())
        for segment, since in progress:
            # One that has nothing in hand may wait until another's messages were taken.
            quiet = now - (since if self._busy[segment] else max(time for _, time in progress))
            if (waiting[segment] or self._busy[segment]) and quiet > self.stall_seconds:
                return f"{segment}: nothing was finished for {quiet:.0f} s, and {waiting[segment]} wait"
        return ""

    @property
    def unanswered(self) -> str:
        """For how long the broker is away, where it is: no reason to end, it goes on afterwards."""
        since = monotonic() - self.answered
        away = self.phase == RUNNING and since > self.stall_seconds
        return f"the broker has not answered for {since:.0f} s" if away else ""

    @property
    def ready(self) -> bool:
        return self.phase == RUNNING and not self.trouble() and not self.unanswered

    @property
    def health(self) -> Health:
        """For the page."""
        return Health(self.ready, self.unanswered or self.phase, self.trouble())

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
