"""The agent's clock beside the broker's.

The topic of sensors has the broker's time on each message, so a status that is confirmed tells how
far the clocks are apart: the broker wrote it at some moment between sending and confirmation, so
half that time bounds the error. The quickest of the last few says it best. What is kept is the
broker's time against a clock that nobody sets, so a correction of ours shows at once.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from datastalker import clock
from datastalker.message import Message

steady = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that go on while the machine sleeps, and that nobody sets."""

WRONG_SECONDS = 3600.0
"""So far off a clock does not tell the time: its frames are marked, and workers don't go by it."""

_SAMPLES = 8
_NEAR = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Offset:
    """How far our clock is ahead of the broker's; `error_ms`: by so much more or less at most."""

    ms: float
    error_ms: float


class Clock:
    """What is known of the clock of this machine."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    def sample(self, sent: float, took: float, written_ms: int) -> None:
        """A message was sent at `sent` by `steady`, confirmed `took` seconds later, and has the
        broker's time."""
        self._samples.append((took / 2, written_ms / 1000 - (sent + took / 2)))

    def offset(self) -> Offset | None:
        """None: not measured yet."""
        if not self._samples:
            return None
        error, ahead = min(self._samples)
        begin, now, end = steady(), time.time(), steady()  # others may run between two readings
        error += (end - begin) / 2
        ours = now - (begin + end) / 2
        return Offset(round((ours - ahead) * 1000, 1), round(error * 1000 + 1, 1))

    def offset_ms(self) -> float | None:
        """The offset alone, as batches carry it."""
        found = self.offset()
        return None if found is None else found.ms

    def tell(self, limit_seconds: float) -> dict[str, Any]:
        """What a status says of it; `clock` is `off` beyond the limit, without a doubt."""
        found = self.offset()
        if found is None:
            return {"clock": "not measured"}
        off = abs(found.ms) - found.error_ms > limit_seconds * 1000
        return {
            "clock": "off" if off else "good",
            "clock_offset_ms": found.ms,
            "clock_error_ms": found.error_ms,
        }

    def in_words(self) -> str:
        """How far it is off, as measured."""
        ms = self.offset_ms() or 0.0
        return f"{abs(ms) / 1000:,.1f} s {'ahead of' if ms > 0 else 'behind'} the broker's"

    def is_wrong(self) -> bool:
        """Evidently: it does not tell the time."""
        found = self.offset()
        far = found is not None and abs(found.ms) - found.error_ms > WRONG_SECONDS * 1000
        return far or time.time() * 1e6 < clock.WRITTEN

    def mark(self, messages: list[Message]) -> None:
        """Mark the frames that this machine gave a wrong time. Those of an old capture that comes
        through a pipe have a time that isn't ours; one to come nobody has. Such were heard by a
        clock that was ahead, and was put right before they were read."""
        clock.mark_impossible(messages)
        now = time.time_ns() // 1000
        if self.is_wrong():
            clock.mark(messages, now - _NEAR, now + _NEAR)
        else:
            clock.mark_to_come(messages, now + int(WRONG_SECONDS * 1e6))
