"""The parcels that Kafka's client has and has not told of: which of them are on disk too, which wait
for too long. See `spool_outbox`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from time import monotonic

from capture_agent.outbox import Parcel
from capture_agent.spool_files import Position

Place = tuple[str, int]
"""A topic and a partition."""


def place_of(parcel: Parcel) -> Place:
    return parcel.topic, parcel.partition


@dataclass(slots=True)
class Flight:
    """A parcel that the client has. `position`: where it lies on disk too; `drained`: it came from
    there."""

    parcel: Parcel
    since: float
    position: Position | None
    drained: bool


class Flights:
    """Parcels on their way, oldest first."""

    def __init__(self) -> None:
        self._all: dict[int, Flight] = {}
        self._young: dict[int, Flight] = {}
        self.drained_bytes = 0
        """Of those that came from the disk."""

    def start(self, parcel: Parcel, position: Position | None, *, drained: bool) -> None:
        flight = Flight(parcel, monotonic(), position, drained)
        self._all[id(parcel)] = flight
        if position is None:
            self._young[id(parcel)] = flight
        if drained:
            self.drained_bytes += len(parcel.value)

    def land(self, parcel: Parcel) -> Flight | None:
        """It is over, or never began; None: that parcel is not on its way."""
        flight = self._all.pop(id(parcel), None)
        self._young.pop(id(parcel), None)
        if flight is not None and flight.drained:
            self.drained_bytes -= len(parcel.value)
        return flight

    def young(self) -> list[Flight]:
        """Those that are in memory alone, oldest first."""
        return list(self._young.values())

    def kept(self, flight: Flight, position: Position) -> None:
        """It is on disk, too, from now on."""
        flight.position = position
        self._young.pop(id(flight.parcel), None)

    def off_disk(self, lost: dict[Position, Parcel]) -> None:
        """These records are gone. Those that are on their way may be delivered, from memory alone
        now; they are taken out of `lost`."""
        for flight in self._all.values():
            if flight.position in lost:
                del lost[flight.position]
                flight.position = None
                self._young[id(flight.parcel)] = flight

    def overdue(self, seconds: float, now: float) -> set[Place]:
        """The partitions of those that have been on their way for longer than that."""
        late = takewhile(lambda flight: now - flight.since > seconds, self._all.values())
        return {place_of(flight.parcel) for flight in late}

    def from_disk(self, place: Place) -> int:
        """How many for a partition are on disk too."""
        on_disk = (f.parcel for f in self._all.values() if f.position is not None)
        return sum(place_of(parcel) == place for parcel in on_disk)
