"""How a worker is doing: what its agents note, what health checks and Prometheus read.

Written by Faust's event loop, read by the threads of the web server and of the watchdog: plain
attributes, no locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

from processors.partition import Partition

STARTING, RECOVERING, RUNNING = "starting", "recovering", "running"

Sample = tuple[str, dict[str, str], float]

_STAGE = {
    "received": ("stage_messages_in_total", "messages that came to a stage"),
    "sent": ("stage_messages_out_total", "messages that a stage passed on"),
    "dropped": ("stage_messages_dropped_total", "messages that a stage kept from passing on"),
    "errors": ("stage_errors_total", "messages lost by an exception in a stage"),
    "skipped": ("stage_messages_skipped_total", "messages that passed by a stage by its when"),
    "seconds": ("stage_seconds_total", "seconds spent in a stage"),
}
_HELP = {
    **{f"datastalker_{name}": text for name, text in _STAGE.values()},
    "datastalker_stage_state_entries": "entries that a stage remembers now",
    "datastalker_stage_state_evicted_total": "state entries that had to make room",
    "datastalker_stage_counter": "what a stage counts itself",
    "datastalker_batches_total": "Kafka messages handled",
    "datastalker_batches_repeated_total": "Kafka messages dropped, since they were seen before",
    "datastalker_batches_missing": "batches of agents that were skipped: lost, or still to come",
    "datastalker_dead_letters_total": "Kafka messages set aside",
    "datastalker_lag": "Kafka messages of a partition that wait",
    "datastalker_partitions": "partitions that this worker has",
    "datastalker_recovery_remaining": "records of state still to be read before work goes on",
    "datastalker_ready": "1 if /readyz says so",
}


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
        self._left: Counter[tuple[str, str, str]] = Counter()  # counts of partitions given up

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
            for name, labels, value in _counts(segment, self.partitions.pop(place)):
                self._left[name, segment, labels["stage"]] += value  # type: ignore[assignment]
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

    def metrics(self) -> str:
        """All of it, in Prometheus's text format."""
        found: dict[str, list[str]] = {}
        for name, labels, value in self._samples():
            full = f"datastalker_{name}"
            said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            found.setdefault(full, []).append(f"{full}{{{said}}} {value:g}".replace("{}", ""))
        lines = []
        for name, samples in found.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"

    def _samples(self) -> Iterator[Sample]:
        yield "ready", {}, float(self.ready)
        yield "recovery_remaining", {}, self.recovery_remaining
        for name, counts in (
            ("batches_total", self.batches),
            ("batches_repeated_total", self.repeated),
            ("dead_letters_total", self.dead),
        ):
            for segment, count in list(counts.items()):
                yield name, {"segment": segment}, count
        for (segment, topic, number), waiting in list(self.lag.items()):
            yield "lag", {"segment": segment, "topic": topic, "partition": str(number)}, waiting
        totals = Counter(self._left)
        gauges: Counter[tuple[str, str, str]] = Counter()
        for (segment, _), partition in list(self.partitions.items()):
            gauges["partitions", segment, ""] += 1
            gauges["batches_missing", segment, ""] += sum(
                seen.missing for seen in list(partition.seen.values())
            )
            for name, labels, value in _counts(segment, partition):
                totals[name, segment, labels["stage"]] += value  # type: ignore[assignment]
            for stage, state in partition.states.items():
                gauges["stage_state_entries", segment, stage] += len(state)
                gauges["stage_state_evicted_total", segment, stage] += state.evicted
            for counter, value in partition.pipeline.stats.get_stats().items():
                gauges["stage_counter", segment, counter] += value  # type: ignore[assignment]
        for (name, segment, stage), value in [*totals.items(), *gauges.items()]:
            named = {"stage": stage} if stage else {}
            if name == "stage_counter":
                named = {"name": stage}
            yield name, {"segment": segment, **named}, value


def _counts(segment: str, partition: Partition) -> Iterator[Sample]:
    for stats in partition.stage_stats:
        for attribute, (name, _) in _STAGE.items():
            yield name, {"segment": segment, "stage": stats.name}, getattr(stats, attribute)


def _escaped(text: Any) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
