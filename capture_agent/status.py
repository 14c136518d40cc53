"""What an agent says of itself: its status, and what is an alert or an error."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from capture_agent.balance import Balance, in_words
from datastalker import __version__
from datastalker.message import Message
from datastalker.stage import Stage
from datastalker.topics import ALERT, SENSOR, TopicPlan

if TYPE_CHECKING:
    from capture_agent.clock import Clock
    from capture_agent.outbox import Outbox
    from capture_agent.publish import Publisher
    from capture_agent.spool_outbox import SpoolOutbox
    from datastalker.pipeline import Pipeline

log = logging.getLogger("datastalker.agent")

_SAY_SECONDS = 60.0


class Reporter:
    """Makes the statuses of an agent and sends them, each with the balance of then."""

    def __init__(
        self,
        pipeline: Pipeline,
        publisher: Publisher,
        outbox: Outbox,
        spool: SpoolOutbox | None,
        clock: Clock,
        balance: Callable[[], Balance],
        *,
        sensor: str,
        session: str,
        sensors: TopicPlan,
        alerts: TopicPlan | None,
        clock_alert_seconds: float,
    ) -> None:
        """`spool`: the outbox again, if it has one. `sensors`, `alerts`: where statuses and alerts
        go; without the latter there are none."""
        assert pipeline.source is not None
        self._pipeline, self._source, self._publisher = pipeline, pipeline.source, publisher
        self._outbox, self._spool, self._clock, self._balance = outbox, spool, clock, balance
        self._sensor, self._session = sensor, session
        self._sensors, self._alerts = sensors, alerts
        self._clock_alert_seconds = clock_alert_seconds
        self._clock_off = False
        self._lost: Counter[str] = Counter()
        self._said = -_SAY_SECONDS
        self._reports = 0
        self.told: Message = Message()
        """The last status."""

    def report(self, state: str) -> None:
        """Send a status. `state`: running, ended."""
        self._publisher.event(self.status(state), self._sensors, "status")

    def status(self, state: str) -> Message:
        """What the agent says of itself, as of now."""
        balance = self._balance()
        self._reports += 1
        message = Message(
            type=SENSOR,
            timestamp=time.time_ns() // 1000,
            id=f"{self._session}-{self._reports}",
            key=self._sensor,
            session=self._session,
            state=state,
            source=self._source.name,
            version=__version__,
            captured=balance.captured,
            published=balance.published,
            filtered=balance.filtered,
            waiting=balance.waiting,
            dropped=sum(balance.dropped.values()),
            events=self._publisher.events,
            spooled=balance.spooled,
            spool_batches=self._spool.batches if self._spool else 0,
            spool_bytes=self._spool.bytes if self._spool else 0,
            queued_batches=self._outbox.waiting,
        )
        self._say_clock(message)
        self._say_losses()
        if self._spool is not None and self._spool.earlier_published:
            message["earlier_published"] = self._spool.earlier_published
        if self._spool is not None and self._spool.earlier_dropped:
            message["earlier_dropped"] = self._spool.earlier_dropped
        if balance.made:
            message["made"] = balance.made
        for reason, count in balance.dropped.items():
            message[f"dropped_{reason}"] = count
        for reason, count in self._publisher.events_dropped.items():
            message[f"events_dropped_{reason}"] = count
        if self._pipeline.now:
            message["last_frame"] = self._pipeline.now
        message.update(self._source_status(message["timestamp"]))
        self.told = message
        return message

    def _source_status(self, now: int) -> Message:
        """What the source says of itself, as those stages pass it on that hide things: an interface
        may be named by its own address."""
        said = Message(self._source.status(), type=SENSOR, timestamp=now)
        for entry in self._pipeline.entries:
            if isinstance(entry.component, Stage) and entry.component.hides:
                handled = entry.component.handle(said)
                said = handled if isinstance(handled, Message) else Message()
        for key in ("type", "timestamp"):
            said.pop(key, None)
        return said

    def _say_clock(self, status: Message) -> None:
        """How far the clock is off; beyond a threshold it is an alert, once until it is right."""
        told = self._clock.tell(self._clock_alert_seconds)
        status.update(told)
        off = told["clock"] == "off"
        if off and not self._clock_off:
            text = f"the clock of {self._sensor} is {self._clock.in_words()}"
            log.warning("%s; set it, or run an NTP client (agent: clock_alert_seconds)", text)
            if self._alerts is not None:
                alert = Message(type=ALERT, timestamp=status["timestamp"], key=self._sensor)
                alert.update(told, id=f"{status['id']}-clock", alert="clock_off", text=text)
                self._publisher.event(alert, self._alerts)
        self._clock_off = off

    def _say_losses(self) -> None:
        """What was dropped on the way to the broker, at most once a minute."""
        dropped = self._publisher.dropped.copy()
        if self._spool is not None:
            dropped["of earlier runs"] = self._spool.earlier_dropped
        lost = dropped - self._lost
        if not lost or monotonic() - self._said < _SAY_SECONDS:
            return
        self._said, self._lost = monotonic(), dropped
        trouble = self._outbox.trouble()
        log.error(
            "%d frames were dropped: %s%s",
            lost.total(),
            in_words(lost),
            f"; {trouble}" * bool(trouble),
        )
