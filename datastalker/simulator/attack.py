"""A deauthentication flood: somebody sends in the name of an access point, to all and to each."""

from __future__ import annotations

from collections.abc import Sequence

from datastalker.simulator import management
from datastalker.simulator.air import SECOND, Air, Life
from datastalker.simulator.frames import BROADCAST
from datastalker.simulator.radios import AccessPoint, Device
from datastalker.simulator.stations import Station

FLOOD_SECONDS = 20
_PLACE = (24.0, -18.0)
_REASON = 7


class Attacker(Device):
    """`address` is its victim's; its sequence numbers are its own, as is where it stands."""

    def __init__(
        self, air: Air, seed: int, victim: AccessPoint, stations: Sequence[Station], begin_us: int
    ) -> None:
        super().__init__(air, seed, "attacker", victim.address, lambda now: _PLACE, power_dbm=20.0)
        self.stay = 1
        self._stations = tuple(stations)
        self._victim = victim
        self._begin_us = begin_us

    def life(self) -> Life:
        yield self._begin_us
        while self.air.now < self._begin_us + FLOOD_SECONDS * SECOND:
            targets = [s for s in self._stations if s.connected and s.home is self._victim]
            for receiver in (BROADCAST, *(station.address for station in targets)):
                frame = management.deauthentication(
                    receiver, self.address, self.address, self.seq(), _REASON
                )
                self.air.broadcast(self, frame)
            for station in targets:
                station.throw_out()
            yield self.rng.randrange(15_000, 35_000)
