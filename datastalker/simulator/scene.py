"""The scene: builds the household of `household.py` on the air of `air.py` and runs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from datastalker.simulator.air import SECOND, Air, Position, Sensor, Transmission
from datastalker.simulator.attack import Attacker
from datastalker.simulator.household import (
    ACCESS_POINTS,
    CHANNEL,
    FOR_EVER,
    STATIONS,
    STAYS,
    ApRow,
    StationRow,
)
from datastalker.simulator.management import Bss
from datastalker.simulator.people import ROOMS, SENSORS, Person, Stay
from datastalker.simulator.radios import AccessPoint, Device
from datastalker.simulator.rekey import group_rekey
from datastalker.simulator.stations import Station

START = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
_ATTACK_MINUTE, _REKEY_MINUTES = 30, 10
_MAX_OFFSET_US, _MAX_JITTER_US = 3000, 1500


@dataclass(frozen=True)
class Options:
    """All that a scene depends on: the same options give the same scene, to the byte."""

    seed: int = 1
    minutes: float = 60.0
    sensors: int = 3
    density: float = 1.0
    attack: bool = False
    start: datetime = START
    retries: int = 1

    @property
    def interval_tu(self) -> int:
        """Sparse beacons at density 1; from 10 on they come every 100 time units, as real ones do."""
        return max(100, min(1000, round(1000 / self.density)))


@dataclass(frozen=True, slots=True)
class Member:
    """A device of the scene, and what the truth says of it."""

    device: Device
    kind: str
    person: str
    network: str

    @property
    def addresses(self) -> list[bytes]:
        if isinstance(self.device, Station):
            return self.device.addresses
        return [self.device.address]


class Scene:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.pace = options.minutes / 60
        self.end_us = round(options.minutes * 60 * SECOND)
        self._rng = random.Random(f"{options.seed}/scene")
        self.start_us = round(options.start.timestamp() * SECOND)
        self.air = Air(self._sensors(), self.start_us, options.seed, options.retries)
        self.people = {
            name: Person(name, [self._stay(*stay) for stay in stays], self.pace, self._rng)
            for name, stays in STAYS.items()
        }
        self._aps = {row.label: self._access_point(row) for row in ACCESS_POINTS}
        self._stations = [self._station(row) for row in STATIONS]
        self.cast = [
            Member(ap, "access point", "", ap.bss.ssid.decode()) for ap in self._aps.values()
        ]
        for row, station in zip(STATIONS, self._stations, strict=True):
            network = station.home.bss.ssid.decode() if station.home else ""
            self.cast.append(Member(station, row.kind, row.person, network))
        if options.attack:
            self.cast.append(Member(self._attacker(), "attacker", "", ""))

    def run(self) -> Iterator[Transmission]:
        """Every transmission of the scene, heard or not, in order of time."""
        for member in self.cast:
            self.air.start(member.device.life())
        for ap in self._aps.values():
            if ap.bss.security != "OPEN":
                rekey = group_rekey(ap, self._stations, self._minutes(_REKEY_MINUTES))
                self.air.start(rekey)
        return self.air.run(self.end_us)

    def _sensors(self) -> list[Sensor]:
        places = list(SENSORS.items())[: self.options.sensors]
        return [
            Sensor(
                name, place,
                offset_us=self._rng.randint(-_MAX_OFFSET_US, _MAX_OFFSET_US),
                jitter_us=_MAX_JITTER_US,
                booted_us=self.start_us - self._rng.randrange(60, 10 * 24 * 3600) * SECOND,
            )
            for name, place in places
        ]  # fmt: skip

    def _minutes(self, minutes: float) -> int:
        """Minutes of the story in microseconds of the scene."""
        return round(minutes * 60 * SECOND * self.pace)

    def _stay(self, begin: float, end: float) -> Stay:
        return self._minutes(begin), self._minutes(end)

    def _address(self, vendor: str) -> bytes:
        if vendor:
            return bytes.fromhex(vendor.replace(":", "")) + self._rng.randbytes(3)
        return bytes((self._rng.randrange(256) & 0xFC | 0x02,)) + self._rng.randbytes(5)

    def _access_point(self, row: ApRow) -> AccessPoint:
        bss = Bss(
            self._address(row.vendor), row.ssid, CHANNEL, row.security, row.hidden,
            self.options.interval_tu, phys=row.phys, wps=row.wps,
        )  # fmt: skip
        return AccessPoint(self.air, self.options.seed, row.label, bss, row.place)

    def _station(self, row: StationRow) -> Station:
        place: Callable[[int], Position]
        if row.room:
            fixed = ROOMS[row.room]
            stays: tuple[Stay, ...] = (self._stay(0, FOR_EVER),)
            place = lambda now: fixed  # noqa: E731
        else:
            person = self.people[row.person]
            stays, place = person.stays, person.position
            if row.kind == "laptop":
                stays = tuple(
                    (begin + person.walk_us, end - person.walk_us) for begin, end in stays
                )
        around = [ap for ap in self._aps.values() if ap.label != "ap-neighbour"]
        return Station(
            self.air, self.options.seed, row.label, self._address(row.vendor), place, stays,
            self._aps.get(row.network), around, row.habits, row.knows,
            self.pace, self.options.density,
        )  # fmt: skip

    def _attacker(self) -> Attacker:
        victim, begin_us = self._aps["ap-living"], self._minutes(_ATTACK_MINUTE)
        return Attacker(self.air, self.options.seed, victim, self._stations, begin_us)
