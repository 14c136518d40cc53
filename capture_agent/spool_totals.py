"""What lies in a spool, or a segment of it, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from capture_agent.outbox import Parcel


@dataclass(slots=True)
class Totals:
    """Of records: how many, by kind, and by topic and partition; the frames in them, by session."""

    kinds: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, int]] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)

    def add(self, parcel: Parcel, by: int = 1) -> None:
        self.kinds[parcel.kind] += by
        self.places[parcel.topic, parcel.partition] += by
        self.frames[parcel.session] += by * parcel.frames

    def update(self, other: Totals) -> None:
        self.kinds.update(other.kinds)
        self.places.update(other.places)
        self.frames.update(other.frames)
