"""Stations: how phones, laptops and things look for a network, talk, sleep and leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datastalker.simulator import elements as ie
from datastalker.simulator import management
from datastalker.simulator.air import SECOND, Air, Life, Position
from datastalker.simulator.frames import (
    BROADCAST,
    MORE_FRAGMENTS,
    TO_DS,
    Frame,
    ccmp,
    data,
    null,
)
from datastalker.simulator.joining import join
from datastalker.simulator.people import Stay
from datastalker.simulator.radios import AccessPoint, Device, protection

_LEAVING = 8
"""Reason code of a station that leaves its network."""


@dataclass(frozen=True)
class Habits:
    """How a kind of device behaves; ranges are drawn from anew each time."""

    pause_seconds: tuple[float, float] = (8.0, 25.0)
    up: tuple[int, int] = (1, 3)
    down: tuple[int, int] = (1, 4)
    sizes: tuple[int, int] = (40, 360)
    sleeps: bool = True
    bursts: bool = False
    fragments: bool = False
    says_goodbye: bool = False
    akm: int = ie.PSK
    probe_elements: bytes = b""
    keeps_address_seconds: tuple[float, float] | None = None


class Station(Device):
    """Lives from stay to stay. Without a `home` network it only probes, and hides if it can."""

    def __init__(
        self, air: Air, seed: int, label: str, address: bytes, place: Callable[[int], Position],
        stays: Sequence[Stay], home: AccessPoint | None, around: Sequence[AccessPoint],
        habits: Habits, knows: Sequence[bytes] = (), pace: float = 1.0, density: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(air, seed, label, address, place, power_dbm=13.0)
        self.stays = tuple(stays)
        self.home = home
        self.habits = habits
        self.connected = False
        self.addresses = [] if habits.keeps_address_seconds else [address]
        self._around = tuple(around)
        self._knows = tuple(knows)
        self._pace = pace
        self._density = density
        self._new_address_us = 0

    def life(self) -> Life:
        for begin, end in self.stays:
            yield max(0, begin - self.air.now)
            self.stay += 1
            self.connected = self.home is not None and begin == 0
            self._change_address()
            yield self._draw((0.0, 3.0))
            while self.air.now < end:
                yield from self._once()
                yield from self._rest(end)
            if self.connected and self.home and self.habits.says_goodbye:
                self._goodbye(self.home)

    def throw_out(self) -> None:
        """Somebody deauthenticated it. Who protects management frames does not believe that."""
        if self.habits.akm == ie.PSK:
            self.connected = False

    def data_to(
        self, ap: AccessPoint, size: int, tid: int | None, to: bytes | None = None,
        frag: int | None = None, seq: int | None = None,
    ) -> Frame:  # fmt: skip
        flags = TO_DS | protection(ap.bss) | (MORE_FRAGMENTS if frag == 0 else 0)
        number = self.seq(ap.address, tid) if seq is None else seq
        return data(
            ap.address, self.address, to or ap.address, number, self.body(ap.bss, size),
            flags=flags, tid=tid, frag=frag or 0, rate_kbps=self.rng.choice((12_000, 24_000, 36_000)),
        )  # fmt: skip

    def _once(self) -> Life:
        if self.home and self.connected and self.reaches(self.home):
            yield from self._talk(self.home)
            return
        was_connected, self.connected = self.connected, False
        yield from self._scan()
        if self.home and self.reaches(self.home) and not was_connected:
            yield from join(self, self.home, self.habits.akm, self.habits.probe_elements)
            self.connected = True

    def _rest(self, end: int) -> Life:
        """Until it next wants something; what comes for it meanwhile waits at its access point."""
        pause = max(0, min(self._draw(self.habits.pause_seconds), end - self.air.now))
        asleep = pause * 3 // 4
        yield asleep
        if self.home and self.connected and self.habits.sleeps:
            self.home.holds_for.add(self.home.aid(self.address))
        yield pause - asleep

    # Looking for networks.

    def _scan(self) -> Life:
        if self.habits.keeps_address_seconds and self.air.now >= self._new_address_us:
            self._change_address()
        for name in (b"", *self._knows):
            elements = ie.ds(6) + self.habits.probe_elements
            probe = management.probe_request(self.address, self.seq(), name, elements)
            self.air.broadcast(self, probe)
            for access_point in self._around:
                access_point.answer(self, name)
            yield self._draw((0.02, 0.08))

    def _change_address(self) -> None:
        """Takes a new random address, with sequence numbers that do not give it away."""
        keeps = self.habits.keeps_address_seconds
        if keeps is None:
            return
        self._new_address_us = self.air.now + round(self._draw(keeps) * self._pace)
        first = self.rng.randrange(256) & 0xFC | 0x02
        self._address = bytes((first,)) + self.rng.randbytes(5)
        self._sequences.clear()
        self.addresses.append(self._address)

    # Talking.

    def _talk(self, ap: AccessPoint) -> Life:
        if self.habits.sleeps:
            ap.holds_for.discard(ap.aid(self.address))
            self._power(ap, asleep=False)
        up, down = self._count(self.habits.up), self._count(self.habits.down)
        if self.habits.bursts:
            yield from self._bursts(ap, up, down)
        else:
            for number in range(down):
                frame = ap.data_to(self, self._size(), 0, more=number + 1 < down)
                self.air.deliver(ap, self, frame)
            for _ in range(up):
                self._say(ap)
        if self.rng.random() < 0.15:
            frame = self.data_to(ap, 44, None, BROADCAST)
            self.air.deliver(self, ap, frame)
            ap.relay(self.address)
        if self.habits.sleeps:
            yield self._draw((0.05, 0.2))
            self._power(ap, asleep=True)

    def _bursts(self, ap: AccessPoint, up: int, down: int) -> Life:
        tid = self.rng.choice((0, 0, 0, 5))
        for sender, frames in ((self, up), (ap, down)):
            for start in range(0, frames, 16):
                size = range(min(16, frames - start))
                if sender is self:
                    self.air.burst(self, ap, [self.data_to(ap, self._size(), tid) for _ in size])
                else:
                    self.air.burst(ap, self, [ap.data_to(self, self._size(), tid) for _ in size])
                yield self._draw((0.01, 0.06))

    def _say(self, ap: AccessPoint) -> None:
        if not self.habits.fragments:
            self.air.deliver(self, ap, self.data_to(ap, self._size(), 0))
            return
        seq = self.seq()
        for frag in (0, 1):
            self.air.deliver(self, ap, self.data_to(ap, 200, None, frag=frag, seq=seq))

    def _power(self, ap: AccessPoint, *, asleep: bool) -> None:
        qos = not self.habits.fragments
        self.air.deliver(
            self, ap, null(ap.address, self.address, self.seq(), asleep=asleep, qos=qos)
        )

    def _goodbye(self, ap: AccessPoint) -> None:
        addresses = ap.address, self.address, ap.address
        if self.habits.akm == ie.SAE:
            body = ccmp(next(self.packet_numbers), self.rng.randbytes(2 + 8))
            frame = management.protected("DISASSOC", *addresses, self.seq(), body)
        else:
            frame = management.deauthentication(*addresses, self.seq(), _LEAVING, "DISASSOC")
        self.air.deliver(self, ap, frame)
        self.connected = False

    # Chance.

    def _draw(self, seconds: tuple[float, float]) -> int:
        return round(self.rng.uniform(*seconds) * SECOND)

    def _size(self) -> int:
        return self.rng.randrange(*self.habits.sizes)

    def _count(self, frames: tuple[int, int]) -> int:
        return max(1, round(self.rng.randint(*frames) * self._density))
