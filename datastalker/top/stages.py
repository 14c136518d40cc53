"""How the stages of a running pipeline do: totals as they are read now and then, and their rates."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_OVER = 5.0  # seconds over which a rate is taken


@dataclass(frozen=True, slots=True)
class Totals:
    """What one stage has counted so far. None: nobody says."""

    name: str
    received: float = 0
    sent: float = 0
    dropped: float = 0
    errors: float = 0
    seconds: float = 0
    state: float | None = None
    evicted: float = 0
    lag: float | None = None
    counters: Mapping[str, float] = field(default_factory=dict)
    """What it counts itself: by name, without its own in front."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A stage's totals, and what changed a second. `each`: microseconds a message, in that time."""

    totals: Totals
    received: float
    sent: float
    dropped: float
    errors: float
    each: float | None


class Stages:
    """The last few readings. `at` is in seconds, by any clock that only goes forward."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, dict[tuple[str, int], Totals]]] = deque()

    def take(self, totals: Sequence[Totals], at: float) -> None:
        """A reading of all stages, in their order."""
        seen: Counter[str] = Counter()  # a pipeline may have a stage twice
        reading: dict[tuple[str, int], Totals] = {}
        for each in totals:
            seen[each.name] += 1
            reading[each.name, seen[each.name]] = each
        self._readings.append((at, reading))
        while len(self._readings) > 2 and self._readings[1][0] <= at - _OVER:
            self._readings.popleft()

    def rates(self) -> list[Rates]:
        """In the order of the last reading; from the first one on since the start, later lately."""
        if not self._readings:
            return []
        at, latest = self._readings[-1]
        then, earlier = self._readings[0]
        return [_rates(totals, earlier.get(key), at - then) for key, totals in latest.items()]


def _rates(now: Totals, then: Totals | None, seconds: float) -> Rates:
    if then is None or seconds <= 0:
        then, seconds = now, 1.0

    def grown(name: str) -> float:
        more: float = getattr(now, name) - getattr(then, name)
        return max(0.0, more / seconds)  # a process that was started anew counts from 0

    messages = grown("received") or grown("sent")
    each = grown("seconds") / messages * 1e6 if messages and now.seconds else None
    return Rates(now, grown("received"), grown("sent"), grown("dropped"), grown("errors"), each)
