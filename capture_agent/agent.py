"""The capture agent: runs what stands above the first cut, and publishes what comes out of it."""

from __future__ import annotations

import logging
import uuid
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any

from capture_agent.balance import Balance, balance
from capture_agent.clock import Clock
from capture_agent.heartbeats import Heartbeats
from capture_agent.lean import import_kafka
from capture_agent.outbox import TIMED_OUT
from capture_agent.publish import Publisher
from capture_agent.spooling import framing_for, open_outbox
from capture_agent.status import Reporter
from datastalker.config import Config, build_segment
from datastalker.errors import ConfigError, OutputError, Problem
from datastalker.message import Message
from datastalker.pipeline import Entry, Pipeline
from datastalker.segments import Segment, segments, sensors_topic
from datastalker.stage import Sink
from datastalker.state import State
from datastalker.topics import ALERT, FRAME

if TYPE_CHECKING:
    from datastalker.page import Page

log = logging.getLogger("datastalker.agent")

_TURN_SECONDS = 0.02
_SLICE_SECONDS = 0.2
_OVER_SECONDS = 30.0
"""At the end of what is live: so long without a confirmation, and what waits is given up."""
_LAST_WORD_SECONDS = 5.0
_SAY_SECONDS = 2.0
_MEASURE_SECONDS = 1.0
_SOON_SECONDS = 1.0  # until the first status of which nobody waits for the answer


class Agent:
    """One run of the first segment. `pipeline.run(agent.turn)` does it all."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError, BrokerError, RegistryError, InputError or OutputError where it can't
        run as configured; then, and when it is interrupted, it leaves everything as it was."""
        segment = _first(config)
        import_kafka()
        self._settings = config.agent
        self._name: str = config.settings["name"]
        self.session = uuid.uuid4().hex[:12]
        """Random: of this start of the agent."""
        self.sensor = config.sensor
        self.pipeline: Pipeline = build_segment(config, segment)
        assert self.pipeline.source is not None
        self._source = self.pipeline.source
        self.clock = Clock()
        self.pipeline.mark = self._mark_first
        with ExitStack() as opened:
            opened.callback(self._source.close)
            self._source.open()  # the producer below starts threads
            self._open(config, segment, opened)
            name = ", ".join(dict.fromkeys(plan.name for plan in segment.target.values()))
            out = _Out(self.pipeline.stats, agent=self)
            out.state = State()
            self.pipeline.entries.append(Entry(out, f"→ {name}"))
            self._turned = self._reported = monotonic()
            self._reported -= max(0.0, self._settings["status_seconds"] - _SOON_SECONDS)
            opened.pop_all()

    def _open(self, config: Config, segment: Segment, opened: ExitStack) -> None:
        sensors = sensors_topic(config)
        plans = [*segment.target.values(), sensors]
        self.outbox, self.spool = open_outbox(config, self.session, plans, self.clock.sample)
        if self.spool is not None:
            opened.callback(self.spool.close)
        self.publisher = Publisher(
            segment.target,
            self.outbox,
            framing_for(config, sensors),
            sensor=self.sensor,
            session=self.session,
            labels=_labels(self._source),
            batch_frames=self._settings["batch_frames"],
        )
        plan = segment.target.get(FRAME)
        partitions = plan.partitions if plan else 1
        self._heartbeats = Heartbeats(config, self.pipeline, self.publisher, partitions)
        self.reporter = Reporter(
            self.pipeline,
            self.publisher,
            self.outbox,
            self.spool,
            self.clock,
            self.balance,
            sensor=self.sensor,
            session=self.session,
            sensors=sensors,
            alerts=segment.target.get(ALERT),
            clock_alert_seconds=self._settings["clock_alert_seconds"],
        )

    def _mark_first(self, messages: list[Message]) -> None:
        """The first frames of what is live: the clock is measured before they are marked, if the
        broker answers soon; what is heard meanwhile waits in the source."""
        self.pipeline.mark = self.clock.mark
        self.reporter.report("running")
        away = self.spool is not None and self.spool.closed
        end = monotonic() + (0 if away else _MEASURE_SECONDS)
        while self.clock.offset() is None and self.outbox.waiting and monotonic() < end:
            self.publisher.serve(_TURN_SECONDS)
        self.clock.mark(messages)

    def turn(self) -> None:
        """After each batch, and when there is none: whatever is due."""
        if not self._source.paced:
            self._heartbeats.by_data()
        now = monotonic()
        if now - self._turned < _TURN_SECONDS:
            return
        self._turned = now
        if self._source.live:
            self.publisher.offset_ms = self.clock.offset_ms
        self._be_patient(not self._source.live)
        if self._source.paced:
            self.publisher.linger(self._settings["linger_ms"] / 1000)
            self._heartbeats.by_clock(now, live=self._source.live)
        if now - self._reported >= self._settings["status_seconds"]:
            self._reported = now
            self.reporter.report("running")
        self.publisher.serve()

    def balance(self) -> Balance:
        """What became of the frames so far."""
        return balance(self.pipeline, self.publisher, self.outbox)

    def close(self) -> None:
        """The input has ended, or was ended: deliver everything, then say how it went. What is on
        disk may stay there.

        Raises OutputError where frames of a file could not be delivered.
        """
        patient = not self._source.live
        # If something was lost it is over: no more waiting for room.
        self._be_patient(patient and self.publisher.lost is None)
        try:
            if not self._is_hopeless():
                self._heartbeat_last()
                self._await_delivery()
        finally:
            self.publisher.patient = False
            if self.spool is not None:
                self.spool.drop()
            self.publisher.drop_waiting()
            self.reporter.report("ended")
            self._await_last_word()
            if self.spool is not None:
                self.spool.close()
        if patient and self.publisher.lost is not None:
            raise OutputError(self._failure())

    def _heartbeat_last(self) -> None:
        try:
            self._heartbeats.last(live=self._source.live)
        except OutputError:
            if self.publisher.lost is None:
                raise

    def _be_patient(self, patient: bool) -> None:
        self.publisher.patient = patient
        if self.spool is not None:
            self.spool.patient = patient

    def _await_delivery(self) -> None:
        if self.spool is not None:
            self.spool.finish(
                self._settings["delivery_timeout_seconds"],
                is_over=lambda: self._source.live or self.pipeline.stop_reason is not None,
            )
            return
        begin, said = monotonic(), False
        while self.outbox.waiting and not self._is_hopeless():
            self.outbox.serve(_SLICE_SECONDS)
            if not said and monotonic() - begin > _SAY_SECONDS:
                said = True
                trouble = self.outbox.trouble()
                log.warning(
                    "%d batches wait for Kafka; Ctrl-C now ends at once and loses them%s",
                    self.outbox.waiting,
                    f": {trouble}" if trouble else "",
                )

    def _is_hopeless(self) -> bool:
        """Whether to wait for the broker is in vain."""
        if self._source.live:
            return self.outbox.stalled_seconds() > _OVER_SECONDS
        return self.publisher.lost == TIMED_OUT

    def _await_last_word(self) -> None:
        begin = monotonic()
        # A broker that took the frames takes this too, be it slow; one that didn't hardly will.
        hopeless = self.publisher.lost or (self.spool is not None and self.spool.batches)
        patience = _LAST_WORD_SECONDS * (1 if hopeless else 10)
        while self.outbox.waiting and monotonic() - begin < patience:
            self.outbox.serve(_SLICE_SECONDS)

    def _failure(self) -> str:
        lost = sum(self.publisher.dropped.values()) + sum(self.publisher.events_dropped.values())
        text = f"{lost:,} messages could not be delivered to Kafka "
        if self.publisher.lost == TIMED_OUT:
            seconds = self._settings["delivery_timeout_seconds"]
            text += f"within {seconds:g} s (agent: delivery_timeout_seconds)"
        else:
            text += f"({self.publisher.lost})"
        trouble = self.outbox.trouble()
        return text + (f"; {trouble}" if trouble else "")

    def page(self) -> Page:
        """What shows how it is doing, while it runs."""
        from capture_agent.page import page_of

        return page_of(self, self._name)

    def result(self) -> str:
        """One line for people."""
        publisher = self.publisher
        text = f"{self.balance()}; {publisher.batches:,} batches"
        text += f", {publisher.events:,} events" if publisher.events else ""
        if self.spool is not None and (self.spool.earlier_published or self.spool.earlier_dropped):
            text += f"; of earlier runs {self.spool.earlier_published:,} published"
            text += f", {self.spool.earlier_dropped:,} dropped"
        dropped = int(self.pipeline.stats.get(f"{self._source.name}/kernel_dropped"))
        return text + (f"; the kernel dropped {dropped:,} before" if dropped else "")


class _Out(Sink):
    """The end of the agent's pipeline."""

    name = "out"
    agent: Agent

    def write(self, batch: list[Message]) -> None:
        self.agent.publisher.write(batch)

    def close(self) -> None:
        self.agent.close()

    def result(self) -> str:
        return self.agent.result()


def _first(config: Config) -> Segment:
    """What an agent runs. Raises ConfigError where it has no source, or nowhere to publish to."""
    segment = segments(config)[0]
    if not segment.target:
        text = (
            "there is no topic in the pipeline, so there is nowhere to publish to; put one "
            "below the stages of the agent (- topic: wifi.frames), or use `stalk run`"
        )
        raise ConfigError([Problem(config.file, 0, 0, text)])
    if not segment.steps:
        text = "the pipeline begins with a topic: there is no source for an agent; `stalk run`"
        raise ConfigError([Problem(config.file, 0, 0, f"{text} reads the topic")])
    return segment


def _labels(source: Any) -> dict[str, str]:
    return dict(getattr(source, "labels", {}) or {})
