"""The air: what it loses, what it sends again, and whose clock says what."""

from __future__ import annotations

import random
from itertools import pairwise

from datastalker.simulator import frames, management
from datastalker.simulator.air import SECOND, Air, Sensor
from datastalker.simulator.people import Person

START = 1_772_470_800 * SECOND
A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


class Radio:
    """Stands `metres` east of the sensor and says `sends` frames, one a millisecond."""

    stay = 1
    power_dbm = 15.0

    def __init__(self, label: str, address: bytes, metres: float) -> None:
        self.label, self.address, self.metres = label, address, metres

    def position(self, now: int) -> tuple[float, float]:
        return self.metres, 0.0


def heard(metres: float, sends: int = 400, seed: int = 1) -> int:
    air = Air([sensor()], START, seed)
    radio = Radio("radio", A, metres)

    def life():
        for seq in range(sends):
            air.broadcast(radio, management.probe_request(A, seq, b"", b""))
            yield 1000

    air.start(life())
    return sum(sent.copies[0] is not None for sent in air.run(60 * SECOND))


def sensor(offset_us: int = 0, jitter_us: int = 1500) -> Sensor:
    return Sensor("hall", (0.0, 0.0), offset_us, jitter_us, START - SECOND)


def exchanges(seed: int, retries: int, times: int = 300):
    air = Air([sensor()], START, seed, retries)
    one, other = Radio("one", A, 3.0), Radio("other", B, 4.0)

    def life():
        for seq in range(times):
            frame = frames.data(B, A, B, seq, b"x" * 60, flags=frames.TO_DS, tid=0)
            air.deliver(one, other, frame)
            yield 1000

    air.start(life())
    return [sent.frame for sent in air.run(60 * SECOND)]


def test_the_farther_the_fewer():
    near, far, gone = heard(3), heard(32), heard(300)
    assert 380 <= near <= 400
    assert 0 < far < near
    assert gone == 0


def test_a_frame_that_is_not_acknowledged_comes_once_more_with_its_retry_bit():
    sent = [frame for frame in exchanges(seed=1, retries=1) if frame.kind == "QOS_DATA"]
    again = [frame for frame in sent if frame.retry]
    assert 5 < len(again) < 40
    assert len(sent) == 300 + len(again)
    assert len({(frame.seq, frame.retry) for frame in sent}) == len(sent)


def test_each_delivery_ends_with_one_acknowledgement():
    kinds = [frame.kind for frame in exchanges(seed=1, retries=3)]
    assert kinds.count("ACK") == 300


def test_a_burst_is_acknowledged_as_a_block_and_misses_nothing():
    air = Air([sensor()], START, 5)
    one, other = Radio("one", A, 3.0), Radio("other", B, 4.0)
    burst = [frames.data(B, A, B, (4090 + n) % 4096, b"x", flags=1, tid=5) for n in range(16)]

    def life():
        for _ in range(10):
            air.burst(one, other, burst)
            yield 0

    air.start(life())
    sent = [transmission.frame for transmission in air.run(SECOND)]
    assert any(frame.retry for frame in sent)
    bitmap = 0
    for frame in sent:
        if frame.kind == "BLOCK_ACK":
            first = int.from_bytes(frame.data[18:20], "little") >> 4
            received = int.from_bytes(frame.data[20:28], "little")
            bitmap |= received << ((first - 4090) % 4096)
    assert bitmap == 0xFFFF


def test_nobody_sends_while_another_does():
    air = Air([sensor()], START, 1)
    radios = [Radio(f"radio {n}", A, 3.0) for n in range(4)]

    def life(radio):
        for seq in range(50):
            air.broadcast(radio, management.probe_request(A, seq, b"", b""))
            yield 0

    for radio in radios:
        air.start(life(radio))
    sent = list(air.run(60 * SECOND))
    shortest = len(sent[0].frame.data) * 8
    gaps = [later.time_us - one.time_us for one, later in pairwise(sent)]
    assert min(gaps) > shortest


def test_a_sensors_clock_is_a_little_wrong_and_never_goes_back():
    clock, rng = sensor(offset_us=-2000), random.Random(1)
    stamps = [clock.stamp(START, at, rng) for at in range(0, SECOND, 100)]
    errors = [stamp - START - at for at, stamp in zip(range(0, SECOND, 100), stamps, strict=True)]
    assert stamps == sorted(stamps)
    assert -2000 <= min(errors) < max(errors) < -500 + 1


def test_a_person_walks_in_from_the_street_and_out_again():
    walk = 60 * SECOND
    person = Person("x", [(10 * walk, 30 * walk)], 1.0, random.Random(1))
    street = person.position(0)
    assert street == person.position(10 * walk) == person.position(40 * walk)
    inside = person.position(11 * walk)
    half = person.position(10 * walk + walk // 2)
    assert half == ((street[0] + inside[0]) / 2, (street[1] + inside[1]) / 2)
    assert person.position(29 * walk)[0] > 0
