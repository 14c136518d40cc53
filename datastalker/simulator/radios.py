"""What all devices have in common, and the access point."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

from datastalker.simulator import elements as ie
from datastalker.simulator import management
from datastalker.simulator.air import SECOND, Air, Life, Position
from datastalker.simulator.frames import (
    BROADCAST,
    FROM_DS,
    MORE_DATA,
    PROTECTED,
    Frame,
    ccmp,
    data,
    ping,
    snap,
)
from datastalker.simulator.management import Bss

TU_US = 1024
_DTIM_PERIOD = 3
_SERVER = bytes.fromhex("0c c4 7a 10 20 30")
"""A machine on the wire: the source of what access points send to their stations."""
_REACH_DBM = -84.0


class Device:
    """A transmitter: an address, a place, its sequence numbers and its encryption."""

    def __init__(
        self, air: Air, seed: int, label: str, address: bytes, place: Callable[[int], Position],
        power_dbm: float,
    ) -> None:  # fmt: skip
        self.air = air
        self.label = label
        self.power_dbm = power_dbm
        self.stay = 0
        self.rng = random.Random(f"{seed}/{label}")
        self._address = address
        self.position = place
        self._sequences: dict[tuple[bytes, int] | None, int] = {}
        self.packet_numbers = count(self.rng.randrange(1, 1 << 20))

    @property
    def address(self) -> bytes:
        return self._address

    def life(self) -> Life:
        """What it does from the start to the end of the scene."""
        raise NotImplementedError

    def seq(self, ra: bytes | None = None, tid: int | None = None) -> int:
        """The next number: one series for each receiver and TID, one for all else (10.3.2.14.2).

        As in Linux the former begin at 0 for each, so an access point sends the same numbers to
        several stations; the latter begins anywhere.
        """
        series = None if ra is None or tid is None else (ra, tid)
        number = self._sequences.get(series)
        if number is None:
            number = self.rng.randrange(4096) if series is None else 0
        self._sequences[series] = (number + 1) % 4096
        return number

    def body(self, bss: Bss, size: int) -> bytes:
        """What a data frame of `size` bytes or so carries: readable only where the network is open."""
        if bss.security == "OPEN":
            number = next(self.packet_numbers)
            return ping(b"\x0a\x00\x00\x02", b"\x0a\x00\x00\x01", number, self.rng.randbytes(size))
        return ccmp(next(self.packet_numbers), self.rng.randbytes(size))

    def reaches(self, other: Device) -> bool:
        now = self.air.now
        signal = self.air.signal_dbm(self, self.position(now), other.position(now))
        return signal > _REACH_DBM


def protection(bss: Bss) -> int:
    return 0 if bss.security == "OPEN" else PROTECTED


class AccessPoint(Device):
    """One network. It answers probes, holds frames for who sleeps, and relays broadcasts."""

    def __init__(self, air: Air, seed: int, label: str, bss: Bss, place: Position) -> None:
        super().__init__(air, seed, label, bss.bssid, lambda now: place, power_dbm=18.0)
        self.bss = bss
        self.stay = 1
        self.holds_for: set[int] = set()
        self._aids: dict[bytes, int] = {}
        self._booted_us = self.rng.randrange(3600, 30 * 24 * 3600) * SECOND

    def life(self) -> Life:
        """Beacons, as near to their time as the medium allows."""
        interval = self.bss.interval_tu * TU_US
        due = self.rng.randrange(interval)
        yield due
        for number in count():
            self.air.contend()
            tim = ie.tim(-number % _DTIM_PERIOD, _DTIM_PERIOD, self.holds_for)
            tsf = self._booted_us + self.air.now
            self.air.send(self, management.beacon(self.bss, self.seq(), tsf, tim))
            due += interval
            yield max(0, due - self.air.now)

    def aid(self, address: bytes) -> int:
        """The association id of a station; the TIM has room for fifteen."""
        return self._aids.setdefault(address, len(self._aids) % 15 + 1)

    def has_met(self, address: bytes) -> bool:
        return address in self._aids

    def answer(self, station: Device, name: bytes) -> None:
        """To a probe for its name, or, unless it hides, to one for any."""
        wanted = name == self.bss.ssid or (not name and not self.bss.hidden)
        if wanted and station.reaches(self) and self.rng.random() < 0.9:
            self.air.contend()
            tsf = self._booted_us + self.air.now
            response = management.probe_response(self.bss, station.address, self.seq(), tsf)
            self.air.deliver(self, station, response)

    def data_to(self, station: Device, size: int, tid: int, more: bool = False) -> Frame:
        ra = station.address
        flags = FROM_DS | protection(self.bss) | (MORE_DATA if more else 0)
        body = self.body(self.bss, size)
        return data(ra, self.address, _SERVER, self.seq(ra, tid), body, flags=flags, tid=tid,
                    rate_kbps=self.rng.choice((24_000, 36_000, 54_000)))  # fmt: skip

    def relay(self, source: bytes) -> None:
        """Sends to everybody, with the source's address, what a station sent to everybody."""
        flags = FROM_DS | protection(self.bss)
        arp = bytes.fromhex("0001080006040001") + source + bytes.fromhex("0a000002") + bytes(6)
        body = self.body(self.bss, 44) if flags & PROTECTED else snap(
            0x0806, arp + bytes.fromhex("0a000001"))  # fmt: skip
        frame = data(BROADCAST, self.address, source, self.seq(), body, flags=flags, rate_kbps=6000)
        self.air.broadcast(self, frame)
