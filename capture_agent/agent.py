"""The capture agent: runs what stands above the first cut, and publishes what comes out of it."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from capture_agent.clock import Clock
from capture_agent.lean import import_kafka
from capture_agent.outbox import TIMED_OUT
from capture_agent.publish import Publisher
from capture_agent.spooling import framing_for, open_outbox
from datastalker import __version__
from datastalker.config import Config, build_segment
from datastalker.errors import ConfigError, OutputError, Problem
from datastalker.message import Message
from datastalker.pipeline import Entry, Pipeline
from datastalker.segments import segments, sensors_topic
from datastalker.stage import Sink, Stage
from datastalker.state import State
from datastalker.topics import ALERT, FRAME, SENSOR

if TYPE_CHECKING:
    from datastalker.page import Page

log = logging.getLogger("datastalker.agent")

_TURN_SECONDS = 0.02
_SLICE_SECONDS = 0.2
_LAST_WORD_SECONDS = 5.0
_SAY_SECONDS = 2.0
_SOON_SECONDS = 1.0  # until the first status, by which the clock is measured


@dataclass(slots=True)
class Balance:
    """What became of the frames: `captured + made` is the sum of the others, always.

    `captured`: read by the source, those that it dropped itself included. `filtered`: kept back by
    stages. `waiting`: not delivered yet, and in memory alone; `spooled`: likewise, and on disk.
    `made`: what stages made of a frame beside the frame.
    """

    captured: int
    published: int
    filtered: int
    waiting: int
    spooled: int
    made: int
    dropped: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.items())
        text = f"captured {self.captured:,} "
        text += f"+ made {self.made:,} " if self.made else ""
        text += f"= published {self.published:,} + filtered {self.filtered:,} "
        text += f"+ dropped {sum(self.dropped.values()):,}"
        text += f" ({reasons})" if reasons else ""
        text += f" + waiting {self.waiting:,}" if self.waiting else ""
        return text + (f" + spooled {self.spooled:,}" if self.spooled else "")


class Agent:
    """One run of the first segment. `pipeline.run(agent.turn)` does it all."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError, BrokerError, RegistryError or OutputError where it can't run as
        configured."""
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
        import_kafka()
        self._settings = config.agent
        self._name: str = config.settings["name"]
        self.session = uuid.uuid4().hex[:12]
        """Random: of this start of the agent."""
        self.sensor = config.sensor
        self.pipeline: Pipeline = build_segment(config, segment)
        assert self.pipeline.source is not None
        self._source = self.pipeline.source
        self._source.open()  # the producer below starts threads
        self._sensors = sensors_topic(config)
        plans = [*segment.target.values(), self._sensors]
        self.clock, self._clock_off = Clock(), False
        self.pipeline.mark = self.clock.mark
        self.outbox, self.spool = open_outbox(config, self.session, plans, self.clock.sample)
        self.publisher = Publisher(
            segment.target,
            self.outbox,
            framing_for(config, self._sensors),
            sensor=config.sensor,
            session=self.session,
            labels=_labels(self._source),
            batch_frames=self._settings["batch_frames"],
        )
        name = ", ".join(dict.fromkeys(plan.name for plan in segment.target.values()))
        out = _Out(self.pipeline.stats, agent=self)
        out.state = State()
        self.pipeline.entries.append(Entry(out, f"→ {name}"))
        plan = segment.target.get(FRAME)
        self._round = self._settings["batch_frames"] * (plan.partitions if plan else 1)
        self._turned = self._beaten = self._reported = self._moved = monotonic()
        self._reported -= max(0.0, self._settings["status_seconds"] - _SOON_SECONDS)
        self._alerts = segment.target.get(ALERT)
        self._reports = 0
        self.told: Message = Message()
        """The last status."""
        self._now = 0
        self._beat = (0, 0)
        self._held_below = _held_below(config)

    def turn(self) -> None:
        """After each batch, and when there is none: whatever is due."""
        if not self._source.paced:
            self._beat_by_data()
        now = monotonic()
        if now - self._turned < _TURN_SECONDS:
            return
        self._turned = now
        if self._source.live:
            self.publisher.offset_ms = self.clock.offset_ms
        self._be_patient(not self._source.live)
        if self._source.paced:
            self.publisher.linger(self._settings["linger_ms"] / 1000)
            if self.pipeline.now != self._now:
                self._now, self._moved = self.pipeline.now, now
            if now - self._beaten >= self._settings["heartbeat_seconds"]:
                self._beaten = now
                self._heartbeat(now - self._moved if self._source.live else 0.0)
        if now - self._reported >= self._settings["status_seconds"]:
            self._reported = now
            self._report("running")
        self.publisher.serve()

    def _beat_by_data(self) -> None:
        """A file that is read as fast as can be: heartbeats by its own time, so that they stand in
        the same places each time; and not before there were frames for a batch in each partition."""
        now, arrived = self._beat
        if not now:
            self._beat = self.pipeline.now, 0
            return
        due = now + self._settings["heartbeat_seconds"] * 1e6
        if self.pipeline.now >= due and self.publisher.arrived >= arrived + self._round:
            self._beat = self.pipeline.now, self.publisher.arrived
            self._heartbeat()

    def _heartbeat(self, silent_seconds: float = 0.0) -> None:
        """It is as late as the last frame, and later if a live source has been silent since; but
        frames that a stage still holds are yet to come."""
        if self.pipeline.now:
            held = sum(entry.delay for entry in self.pipeline.entries)
            self.publisher.heartbeat(self.pipeline.now + int(silent_seconds * 1e6) - held)

    def balance(self) -> Balance:
        """What became of the frames so far. Exact after a batch; what a stage still holds counts as
        filtered until it comes out."""
        publisher, stats = self.publisher, self.pipeline.stats.get_stats()
        dropped: dict[str, int] = {}
        prefix = f"{self._source.name}/dropped/"
        for name, count in stats.items():
            if name.startswith(prefix):
                dropped[name.removeprefix(prefix)] = int(count)
        captured = self.pipeline.source_stats.sent + sum(dropped.values())
        kept = self.pipeline.source_stats.sent - publisher.arrived
        errors = sum(entry.stats.errors for entry in self.pipeline.entries)
        failed = max(0, min(errors, kept))
        if failed:
            dropped["stage_error"] = failed
        for reason, count in publisher.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        return Balance(
            captured,
            publisher.published,
            max(0, kept) - failed,
            publisher.waiting,
            self.outbox.spooled,
            max(0, -kept),
            dropped,
        )

    def status(self, state: str) -> Message:
        """What the agent says of itself, as of now."""
        balance = self.balance()
        self._reports += 1
        message = Message(
            type=SENSOR,
            timestamp=time.time_ns() // 1000,
            id=f"{self.session}-{self._reports}",
            key=self.sensor,
            session=self.session,
            state=state,
            source=self._source.name,
            version=__version__,
            captured=balance.captured,
            published=balance.published,
            filtered=balance.filtered,
            waiting=balance.waiting,
            dropped=sum(balance.dropped.values()),
            events=self.publisher.events,
            spooled=balance.spooled,
            spool_batches=self.spool.batches if self.spool else 0,
            spool_bytes=self.spool.bytes if self.spool else 0,
            queued_batches=self.outbox.waiting,
        )
        self._say_clock(message)
        if self.spool is not None and self.spool.earlier_published:
            message["earlier_published"] = self.spool.earlier_published
        if self.spool is not None and self.spool.earlier_dropped:
            message["earlier_dropped"] = self.spool.earlier_dropped
        if balance.made:
            message["made"] = balance.made
        for reason, count in balance.dropped.items():
            message[f"dropped_{reason}"] = count
        for reason, count in self.publisher.events_dropped.items():
            message[f"events_dropped_{reason}"] = count
        if self.pipeline.now:
            message["last_frame"] = self.pipeline.now
        message.update(self._source_status(message["timestamp"]))
        self.told = message
        return message

    def _source_status(self, now: int) -> Message:
        """What the source says of itself, as those stages pass it on that hide things: an interface
        may be named by its own address."""
        said = Message(self._source.status(), type=SENSOR, timestamp=now)
        for entry in self.pipeline.entries:
            if isinstance(entry.component, Stage) and entry.component.hides:
                handled = entry.component.handle(said)
                said = handled if isinstance(handled, Message) else Message()
        for key in ("type", "timestamp"):
            said.pop(key, None)
        return said

    def _say_clock(self, status: Message) -> None:
        """How far the clock is off; beyond a threshold it is an alert, once until it is right."""
        told = self.clock.tell(self._settings["clock_alert_seconds"])
        status.update(told)
        off = told["clock"] == "off"
        if off and not self._clock_off:
            text = f"the clock of {self.sensor} is {self.clock.in_words()}"
            log.warning("%s; set it, or run an NTP client (agent: clock_alert_seconds)", text)
            if self._alerts is not None:
                alert = Message(type=ALERT, timestamp=status["timestamp"], key=self.sensor)
                alert.update(told, id=f"{status['id']}-clock", alert="clock_off", text=text)
                self.publisher.event(alert, self._alerts)
        self._clock_off = off

    def _report(self, state: str) -> None:
        self.publisher.event(self.status(state), self._sensors, "status")

    def close(self) -> None:
        """The input has ended, or was ended: deliver everything, then say how it went. What is on
        disk may stay there.

        Raises OutputError where frames of a file could not be delivered.
        """
        patient = not self._source.live
        # If something was lost it is over: no more waiting for room.
        self._be_patient(patient and self.publisher.lost is None)
        try:
            if self.publisher.lost != TIMED_OUT:
                self._heartbeat_last()
                self._await_delivery()
        finally:
            self.publisher.patient = False
            if self.spool is not None:
                self.spool.drop()
            self.publisher.drop_waiting()
            self._report("ended")
            self._await_last_word()
            if self.spool is not None:
                self.spool.close()
        if patient and self.publisher.lost is not None:
            raise OutputError(self._failure())

    def _heartbeat_last(self) -> None:
        """Nothing is held here any more, so it is as late as the last frame. Behind the end of a
        file nobody comes to move time, so it is as much later as workers hold what they have."""
        try:
            if self.pipeline.now:
                held = 0 if self._source.live else self._held_below
                self.publisher.heartbeat(self.pipeline.now + held)
            else:
                self.publisher.linger(0)
        except OutputError:
            if self.publisher.lost is None:
                raise

    def _be_patient(self, patient: bool) -> None:
        self.publisher.patient = patient
        if self.spool is not None:
            self.spool.patient = patient

    def _await_delivery(self) -> None:
        begin, said = monotonic(), False
        if self.spool is not None:
            self.spool.finish(
                self._settings["delivery_timeout_seconds"],
                is_over=lambda: self._source.live or self.pipeline.stop_reason is not None,
            )
            return
        while self.outbox.waiting and self.publisher.lost != TIMED_OUT:
            self.outbox.serve(_SLICE_SECONDS)
            if not said and monotonic() - begin > _SAY_SECONDS:
                said = True
                trouble = self.outbox.trouble()
                log.warning(
                    "%d batches wait for Kafka; Ctrl-C now ends at once and loses them%s",
                    self.outbox.waiting,
                    f": {trouble}" if trouble else "",
                )

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


def _labels(source: Any) -> dict[str, str]:
    return dict(getattr(source, "labels", {}) or {})
