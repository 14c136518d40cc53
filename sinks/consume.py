"""The runner of a sink: reads its topics as a group of its own, writes, retries, commits.

A store that is away or full stops nothing but this sink: its partitions are paused, and it goes on
when the store is back. A message that nobody can read stops nothing at all: it goes to the dead
letters.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import Any

from datastalker import segments
from datastalker.broker import connect
from datastalker.config import Config, Step, build_sink
from datastalker.errors import ConfigError, Problem, RetryLater
from datastalker.options import suggest
from datastalker.stage import Sink
from datastalker.stats import Stats
from datastalker.wire import framing_of
from sinks.at_least_once import AtLeastOnce
from sinks.dead_letters import DeadLetters
from sinks.exactly_once import ExactlyOnce
from sinks.membership import Membership
from sinks.records import Place, Reader, place

log = logging.getLogger("datastalker.sink")

_FETCH = 32  # Kafka messages at once: some thousand frames
_FETCH_SECONDS = 0.1
_HELD_SECONDS = 0.25
_TELL_SECONDS = 60.0
_MEASURE_SECONDS = 2.0


def group_name(config: Config, label: str) -> str:
    """The consumer group of a sink."""
    return f"{config.settings['name']}-sink-{label}"


def find_sink(config: Config, name: str | None) -> Step:
    """The step of a sink below the last topic; None: the only one. Raises ConfigError."""
    last = segments.segments(config)[-1]
    steps = {step.label: step for step in last.steps if step.cls and issubclass(step.cls, Sink)}
    if last.role == "run":
        text = (
            "stages stand below the only topic, so one process runs it all: stalk run; or put "
            "another topic above the sinks"
        )
    elif last.role != "sinks":
        text = "there is no topic in the pipeline, so no sink is a process of its own: stalk run"
    elif name in steps:
        return steps[name]
    elif name is None and len(steps) == 1:
        return next(iter(steps.values()))
    elif name is None:
        text = f"there are several sinks; name one: {', '.join(steps)}"
    else:
        text = f"no sink '{name}' below the last topic{suggest(name, steps)}"
    raise ConfigError([Problem(config.file, 0, 0, text)])


class SinkRunner:
    """One sink of a configuration, as a process of its own runs it."""

    def __init__(self, config: Config, step: Step, instance: str | None = None) -> None:
        """Raises BrokerError where the broker or a topic is not there, ConfigError."""
        self.stats = Stats()
        self.label = step.label
        segment = segments.segments(config)[-1]
        plans = {plan.name: plan for plan in segment.source.values()}
        dead_letters = segments.dead_letters_topic(config)
        with connect(config) as broker:
            broker.require([*plans.values(), dead_letters])
            topic_ids = {name: topic.id for name, topic in broker.describe(plans).items()}
        self.topics = list(plans)
        self.sink = build_sink(config, step, self.stats)
        self.sink.open()
        self.group = Membership(config.kafka, config.file, group_name(config, step.label), instance)
        dead = DeadLetters(self.group.settings, dead_letters.name, f"sink {step.label}")
        framing = framing_of(config.settings.get("schema_registry"))
        reader = Reader(plans, framing, step.when, dead, self.stats)
        if type(self.sink).partition is Sink.partition:
            self.way: AtLeastOnce | ExactlyOnce = AtLeastOnce(
                self.sink, reader, dead, self.group, self.stats
            )
        else:
            self.way = ExactlyOnce(self.sink, reader, dead, self.group, topic_ids)
        self.fetched: deque[Any] = deque()
        self.stop_reason: str | None = None
        self._again_at = 0.0
        self._away_since: float | None = None
        self._tell_at = monotonic() + _TELL_SECONDS
        self._measure_at = monotonic()
        self.lag: dict[Place, int] | None = None
        """What waits, by partition, if somebody wants to know: as of some seconds ago."""
        self.reader, self.joined = reader, False

    @property
    def away(self) -> bool:
        """Its store is."""
        return self._away_since is not None

    def stop(self, reason: str) -> None:
        """Ask for an orderly end. Safe in a signal handler, and from another thread."""
        self.stop_reason = self.stop_reason or reason

    def run(self, drain: bool = False) -> None:
        """Run until asked to stop, or, to `drain`, until all that is in the topics is stored.

        Raises DataStalkerError where there is no going on; what was committed is stored.
        """
        self.group.join(self.topics, self.way.assigned, self._revoked)
        try:
            while self.stop_reason is None:
                self._turn()
                if drain and self._drained():
                    self.stop("all is stored")
            try:
                self.way.close()
            except RetryLater as later:
                log.warning("not stored, and read again by the next start: %s", later)
            self.sink.close()
        except BaseException:
            self.way.abandon()  # what is not committed is read again by who comes next
            raise
        finally:
            self.group.leave()

    def _turn(self) -> None:
        self._tell()
        if self.group.paused:
            self._fetch(1, _HELD_SECONDS)
            if monotonic() < self._again_at:
                return
        elif not self.fetched:
            self._fetch(_FETCH, _FETCH_SECONDS)
        try:
            self.way.step(self.fetched)
        except RetryLater as later:
            self._wait(later)
            return
        if self.group.paused:
            away = monotonic() - (self._away_since or monotonic())
            log.info("%s goes on after %.1f s", self.label, away)
            self._away_since = None
            self.group.resume()

    def _fetch(self, count: int, seconds: float) -> None:
        found = self.group.fetch(count, seconds)  # may call `_revoked`
        self.fetched.extend(found)

    def _wait(self, later: RetryLater) -> None:
        self._again_at = monotonic() + later.seconds
        if self._away_since is None:
            self._away_since = monotonic()
            log.warning("%s is paused: %s", self.label, later)
        self.stats.incr("sink/retries")
        self.group.pause()

    def _revoked(self, places: set[Place], lost: bool) -> None:
        self.fetched = deque(record for record in self.fetched if place(record) not in places)
        self.way.revoked(places, lost)

    def _drained(self) -> bool:
        if self.fetched or self.group.paused or not self.group.places:
            return False
        if self.group.at_end != self.group.places:
            return False
        return not isinstance(self.way, AtLeastOnce) or self.way.idle

    def _tell(self) -> None:
        self.joined = self.joined or bool(self.group.places)
        if self.lag is not None and monotonic() >= self._measure_at:
            self._measure_at = monotonic() + _MEASURE_SECONDS
            self.lag = self.group.lags()
        if monotonic() < self._tell_at:
            return
        self._tell_at = monotonic() + _TELL_SECONDS
        if self._away_since is not None:
            log.warning("%s is paused for %.0f s", self.label, monotonic() - self._away_since)
        if self.group.faults.heard:
            log.warning("%s", self.group.faults.explain(_TELL_SECONDS))
            self.group.faults.forget()
        lags = self.group.lags()
        lag = f"{sum(lags.values()):,}" if lags else "unknown"
        log.info("%s; lag: %s", self.summary(), lag)

    def summary(self) -> str:
        """What was counted, in one line."""
        return ", ".join(f"{name} {value:,.0f}" for name, value in self.stats.get_stats().items())


def run_sink(
    config: Config, name: str | None, instance: str | None = None, drain: bool = False
) -> SinkRunner:
    """Run a sink to its end; see `SinkRunner`."""
    runner = SinkRunner(config, find_sink(config, name), instance)
    runner.run(drain)
    return runner
