"""The air: one clock, one medium that a radio has to itself while it sends, and sensors that listen.

Radios live as generators: what a `life` yields is how many microseconds it sleeps, and whatever it
sends meanwhile moves the clock by its time on the air. Nothing here reads a real clock, and all
chance comes from seeded generators, so one seed makes one history.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from datastalker.simulator.frames import Frame, ack, block_ack, cts, rts
from datastalker.simulator.radiotap import Copy

SECOND = 1_000_000
SIFS_US, DIFS_US, SLOT_US = 10, 50, 20
_PREAMBLE_US = {True: 192, False: 24}
_LOSS_AT_1_M_DB, _LOSS_EXPONENT, _WALLS_DB = 40.0, 3.8, 5.0
_FADING_DB, _COLLISIONS, _FLOOR_DBM = 2.5, 0.02, -95
# A sensor needs the more signal the faster the frame is (dBm at which it hears one in two).
_SENSITIVITY_DBM = {1000: -91.0, 2000: -90.0, 6000: -88.0, 12_000: -85.0, 24_000: -82.0}
_FAST_DBM = -76.0

Life = Iterator[int]
Position = tuple[float, float]


class Radio(Protocol):
    """Whatever sends: it has a name, a place, a strength, and a number for this stay in the scene."""

    label: str
    power_dbm: float
    stay: int

    @property
    def address(self) -> bytes: ...

    def position(self, now: int) -> Position: ...


@dataclass(slots=True)
class Sensor:
    """Its clock is right to a few milliseconds: a constant offset, and a jitter from frame to frame."""

    name: str
    place: Position
    offset_us: int
    jitter_us: int
    booted_us: int
    last_us: int = 0

    def stamp(self, start_us: int, time_us: int, rng: random.Random) -> int:
        """A capture file's times do not go back, so a late stamp holds up the next."""
        late = start_us + time_us + self.offset_us + int(rng.random() * self.jitter_us)
        self.last_us = max(self.last_us, late)
        return self.last_us


@dataclass(slots=True)
class Transmission:
    """One frame on the air, once, and the copy of each sensor that heard it."""

    time_us: int
    sender: Radio
    stay: int
    frame: Frame
    copies: tuple[Copy | None, ...]


class Air:
    """Where radios meet. `retries`: how often a frame that was not acknowledged is sent again.

    One retry can be told from the frame it repeats by its Retry bit. A second one is the same bits
    as the first, so who asks for more gets air that no dedupe by content can score 1.0 on.
    """

    def __init__(
        self, sensors: Sequence[Sensor], start_us: int, seed: int, retries: int = 1
    ) -> None:
        self.sensors = tuple(sensors)
        self.start_us = start_us
        self.now = 0
        self._seed = seed
        self._retries = retries
        self._rng = random.Random(f"{seed}/air")
        self._lives: list[tuple[int, int, Life]] = []
        self._started = 0
        self._shadows: dict[tuple[str, int], float] = {}
        self._heard: list[Transmission] = []

    def start(self, life: Life, at_us: int = 0) -> None:
        self._started += 1
        heapq.heappush(self._lives, (at_us, self._started, life))

    def run(self, until_us: int) -> Iterator[Transmission]:
        """Wakes one radio after another and gives what it sent, in order of time."""
        while self._lives and self._lives[0][0] < until_us:
            wakes, order, life = heapq.heappop(self._lives)
            self.now = max(self.now, wakes)
            pause = next(life, None)
            if pause is not None:
                heapq.heappush(self._lives, (self.now + pause, order, life))
            yield from self._heard
            self._heard.clear()

    # What radios call.

    def contend(self) -> None:
        """Waits for the medium, as everybody must before a frame that answers nothing."""
        self.now += DIFS_US + SLOT_US * self._rng.randrange(16)

    def send(self, sender: Radio, frame: Frame) -> None:
        """One transmission, now."""
        place = sender.position(self.now)
        copies = tuple(
            self._hear(number, sensor, sender, place, frame)
            for number, sensor in enumerate(self.sensors)
        )
        self._heard.append(Transmission(self.now, sender, sender.stay, frame, copies))
        slow = frame.rate_kbps <= 11_000
        airtime = _PREAMBLE_US[slow] + (len(frame.data) + 4) * 8000 // frame.rate_kbps
        self.now += airtime + SIFS_US

    def broadcast(self, sender: Radio, frame: Frame) -> None:
        self.contend()
        self.send(sender, frame)

    def deliver(self, sender: Radio, receiver: Radio, frame: Frame) -> None:
        """A frame to one receiver, sent again until it acknowledges; the last try gets through."""
        for attempt in range(self._retries + 1):
            self.contend()
            self.send(sender, frame.again() if attempt else frame)
            if not self._lost():
                break
        self.send(receiver, ack(sender.address))

    def burst(self, sender: Radio, receiver: Radio, frames: Sequence[Frame]) -> None:
        """QoS frames of one traffic identifier under a block acknowledgement."""
        missing: list[Frame] = list(frames)
        for attempt in range(self._retries + 1):
            if not missing:
                return
            first = missing[0].seq or 0
            self.contend()
            self.send(sender, rts(receiver.address, sender.address))
            self.send(receiver, cts(sender.address))
            received, again = 0, []
            for frame in missing:
                self.send(sender, frame)
                if attempt < self._retries and self._lost():
                    again.append(frame.again())
                else:
                    received |= 1 << ((frame.seq or 0) - first) % 4096
            tid = missing[0].tid or 0
            self.send(receiver, block_ack(sender.address, receiver.address, tid, first, received))
            missing = again

    # How the waves travel.

    def _lost(self) -> bool:
        return self._rng.random() < 0.06

    def signal_dbm(self, sender: Radio, place: Position, at: Position) -> float:
        """Log-distance path loss, without what stands in between."""
        metres = max(1.0, math.dist(place, at))
        return sender.power_dbm - _LOSS_AT_1_M_DB - 10 * _LOSS_EXPONENT * math.log10(metres)

    def _hear(
        self, number: int, sensor: Sensor, sender: Radio, place: Position, frame: Frame
    ) -> Copy | None:
        rng = self._rng
        signal = self.signal_dbm(sender, place, sensor.place) + self._shadow(sender.label, number)
        signal += rng.gauss(0.0, _FADING_DB)
        margin = signal - _SENSITIVITY_DBM.get(frame.rate_kbps, _FAST_DBM)
        heard = (1 - _COLLISIONS) / (1 + math.exp(-max(-30.0, min(30.0, margin))))
        if signal < _FLOOR_DBM or rng.random() >= heard:
            return None
        timestamp = sensor.stamp(self.start_us, self.now, rng)
        noise = _FLOOR_DBM + rng.randrange(-1, 2)
        tsft = self.start_us + self.now - sensor.booted_us
        return Copy(timestamp, tsft, min(-10, round(signal)), noise, rng.randrange(2))

    def _shadow(self, label: str, sensor: int) -> float:
        """The walls between a radio and a sensor: the same all along, unlike for every other pair."""
        key = label, sensor
        if key not in self._shadows:
            pair = random.Random(f"{self._seed}/{label}/{sensor}")
            self._shadows[key] = pair.gauss(0.0, _WALLS_DB)
        return self._shadows[key]
