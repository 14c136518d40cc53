"""A range again at the pace at which it was published, or so many times that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, sleep

from datastalker.history import History
from datastalker.record import Place, Record

_AHEAD = 500
"""Kafka messages of a partition that wait for their time; with more it is not read on."""
_TURN_SECONDS = 0.02
"""So much later than its time may a record come."""


class Pace:
    """Gives each record of a history when its time has come: as long after the first one as when
    they were published, divided by `speed`. Partitions keep step with each other.

    Times go by one clock from the beginning, so what comes late is made up for and nothing drifts.
    """

    def __init__(self, history: History, speed: float) -> None:
        self._history, self._speed = history, speed
        self._waiting: dict[Place, deque[Record]] = {place: deque() for place in history.spans}
        self._last = history.last_time()
        self._first = 0
        """When the first was published, milliseconds: that is at `_began`, by our clock."""
        self._began: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Until the last record's time has come; None: not known."""
        if self._last is None or self._began is None:
            return None
        return max(0.0, self._due(self._last) - monotonic())

    def read(self) -> Iterator[list[Record]]:
        """What is due, a list many times a second, maybe empty. Raises BrokerError."""
        for records in self._history.read(_TURN_SECONDS):
            for record in records:
                self._waiting[record.place].append(record)
            if self._began is None and self._all_shown():
                self._begin()
            yield self._take()
            self._hold_back()
        if self._began is None:
            self._begin()
        while any(self._waiting.values()):
            yield self._take()
            sleep(_TURN_SECONDS)

    def _all_shown(self) -> bool:
        """Whether every partition's first record is there: one of them is the first of all."""
        spans = self._history.spans
        return all(queue or spans[place].done for place, queue in self._waiting.items())

    def _begin(self) -> None:
        times = [queue[0].time for queue in self._waiting.values() if queue]
        self._first = min((time for time in times if time is not None), default=0)
        self._began = monotonic()

    def _due(self, time: int | None) -> float:
        """When it is so late, by our clock; what has no time comes at once."""
        assert self._began is not None
        return self._began + ((time or self._first) - self._first) / 1000 / self._speed

    def _take(self) -> list[Record]:
        """What is due by now, the oldest first, each partition in its order."""
        taken: list[Record] = []
        while self._began is not None:
            heads = [queue for queue in self._waiting.values() if queue]
            queue = min(heads, key=lambda queue: queue[0].time or 0, default=None)
            if queue is None or self._due(queue[0].time) > monotonic():
                break
            taken.append(queue.popleft())
        return taken

    def _hold_back(self) -> None:
        full = [place for place, queue in self._waiting.items() if len(queue) > _AHEAD]
        self._history.pause(full)
        again = [p for p in self._history.paused if len(self._waiting[p]) < _AHEAD / 2]
        self._history.resume(again)
