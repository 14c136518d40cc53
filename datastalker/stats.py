"""Statistics: counters that stages set, and what the runner counts of every stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Stats:
    """Named counters of a run. A name reads `stage/what`."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def incr(self, field: str, value: float = 1) -> None:
        """Add `value` to a counter."""
        self._values[field] = self._values.get(field, 0) + value

    def decr(self, field: str, value: float = 1) -> None:
        """Take `value` from a counter."""
        self.incr(field, -value)

    def set(self, field: str, value: float) -> None:
        """Set a gauge."""
        self._values[field] = value

    def get(self, field: str) -> float:
        """The value of a counter, 0 if it was never touched."""
        return self._values.get(field, 0)

    def get_stats(self) -> dict[str, float]:
        """A copy of all, in the order of their names."""
        return dict(sorted(self._values.items()))


@dataclass(slots=True)
class StageStats:
    """What the runner counts of one stage, in messages; `seconds` is time spent in it, of
    a source that of the processor, without waiting.

    `skipped` passed by because of the stage's `when:`. `dropped` is what the stage kept from
    passing on; `errors` is what its exceptions lost.
    """

    name: str
    received: int = 0
    sent: int = 0
    dropped: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Watcher(Protocol):
    """Looks at messages while they pass; see `tapping`."""

    def see(self, messages: list[Any]) -> None:
        """These pass. Changes nothing, raises nothing, takes little time."""


Taps = tuple[Watcher, ...]
"""Those who look at one place."""
