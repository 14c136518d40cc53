"""`beacon_filter` holds back beacons that say nothing new."""

from __future__ import annotations

import random
from typing import Any

import pytest

from datastalker.message import Message
from datastalker.testing import START, build, frame, run, run_stage

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def beacon(at: float = 0, **keys: Any) -> Message:
    says = {"ssid": "home", "bss_channel": 6, "security": "WPA2", "rates_kbps": [6000, 12000]}
    return frame(at, **{"ta": A, "kind": "BEACON", "sensor": "hall", **says, **keys})


def times(messages: list[Message]) -> list[float]:
    return [(m["timestamp"] - START) / 1e6 for m in messages]


def held_back(messages: list[Message]) -> list[int]:
    return [m.get("beacons_held_back", 0) for m in messages]


def passed(*frames: Message, **options: Any) -> list[float]:
    return times(run_stage("beacon_filter", frames, **options))


def test_the_first_beacon_passes_and_what_repeats_it_does_not() -> None:
    assert passed(beacon(0), beacon(0.1), beacon(0.2)) == [0]


def test_everything_else_passes() -> None:
    others = [frame(i, ta=A, kind=kind) for i, kind in enumerate(["DATA", "PROBE_RESP", "ACK"])]
    assert run_stage("beacon_filter", others) == others


def test_an_alert_about_a_beacon_is_no_beacon() -> None:
    assert passed(beacon(0), beacon(1, type="alert"), beacon(2, type="alert")) == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"ssid": "other"},
        {"ssid": ""},
        {"ssid": None},
        {"ssid": "\ufffd", "ssid_hex": "ff"},
        {"bss_channel": 11},
        {"security": "OPEN"},
        {"security": None},
        {"group_cipher": "TKIP"},
        {"pairwise_ciphers": ["CCMP"]},
        {"akms": ["SAE"]},
        {"pmf": "required"},
        {"rates_kbps": [6000]},
    ],
)
def test_any_change_passes_and_so_does_the_change_back(change: dict[str, Any]) -> None:
    frames = [beacon(0), beacon(1), beacon(2, **change), beacon(3, **change), beacon(4), beacon(5)]
    assert passed(*frames) == [0, 2, 4]


def test_without_a_channel_of_its_own_the_one_it_was_heard_on_counts() -> None:
    heard = [beacon(i, bss_channel=None, channel=c) for i, c in enumerate([1, 1, 6, 6])]
    assert passed(*heard) == [0, 2]


def test_two_networks_of_one_transmitter_in_turn_are_no_change() -> None:
    turns = [beacon(i / 10, ssid="home" if i % 2 else "guest") for i in range(1000)]
    assert len(passed(*turns)) <= 12


def test_names_that_only_their_bytes_tell_apart_are_two_networks() -> None:
    frames = [beacon(i, ssid="\ufffd", ssid_hex=h) for i, h in enumerate(["ff", "fe", "ff", "fe"])]
    assert passed(frames[0], frames[1]) == [0, 1]


@pytest.mark.parametrize(("signal", "passes"), [(-46, False), (-45, True), (-75, True)])
def test_a_signal_passes_when_it_differs_by_so_much_from_the_last_that_passed(
    signal: int, passes: bool
) -> None:
    frames = [beacon(0, signal_dbm=-60), beacon(1, signal_dbm=-52), beacon(2, signal_dbm=signal)]
    assert passed(*frames) == ([0, 2] if passes else [0])


def test_a_signal_that_creeps_is_compared_with_what_passed_not_with_the_last() -> None:
    assert passed(*(beacon(i, signal_dbm=-60 + 5 * i) for i in range(5))) == [0, 3]


def test_what_two_sensors_measure_is_not_compared() -> None:
    frames = [
        beacon(i, sensor=("hall", "attic")[i % 2], signal_dbm=(-40, -80)[i % 2]) for i in range(9)
    ]
    assert passed(*frames) == [0]


def test_a_sensor_is_compared_with_itself_however_many_there_are() -> None:
    frames = [beacon(0, signal_dbm=-40), beacon(1, sensor="attic", signal_dbm=-80)]
    assert passed(*frames, beacon(2, sensor="attic", signal_dbm=-60)) == [0, 2]


def test_a_signal_that_was_missing_at_first_is_compared_later() -> None:
    frames = [beacon(0), beacon(1, signal_dbm=-80), beacon(2), beacon(3, signal_dbm=-50)]
    assert passed(*frames) == [0, 3]


def test_one_passes_every_so_often() -> None:
    assert passed(*(beacon(i) for i in range(360))) == [0, 120, 240]


def test_a_clock_that_is_set_back_far_does_not_silence_an_access_point() -> None:
    assert passed(beacon(1000), beacon(990), beacon(880), beacon(881)) == [1000, 880]


def test_the_one_that_passes_says_how_many_were_held_back() -> None:
    frames = [*(beacon(i) for i in range(5)), beacon(5, security="OPEN"), beacon(6, ssid="new")]
    assert held_back(run_stage("beacon_filter", frames)) == [0, 4, 0]


@pytest.mark.parametrize("gap", [119, 121, 3600])
def test_the_count_survives_a_silence(gap: float) -> None:
    pipeline = build(["beacon_filter"])
    out = pipeline.feed([beacon(0)]) + pipeline.feed([beacon(1)]) + pipeline.feed([beacon(2)])
    out += pipeline.feed([beacon(gap, ta=B)]) + pipeline.feed([beacon(gap + 1, security="WPA3")])
    assert held_back(out) == [0, 0, 2]


def test_a_beacon_without_a_time_passes() -> None:
    timeless = [beacon(), beacon()]
    for message in timeless:
        del message["timestamp"]
    assert len(run_stage("beacon_filter", timeless)) == 2


def test_deviation_and_time_of_zero_pass_everything() -> None:
    frames = [beacon(i / 10, signal_dbm=-60) for i in range(9)]
    assert len(passed(*frames, min_time_between_seconds=0)) == 9
    assert len(passed(*frames, max_signal_deviation_db=0)) == 9


def an_hour_of_the_air(seed: int) -> tuple[list[Message], list[Message]]:
    """Ten access points by three sensors, signals that waver: all beacons, and those that change."""
    draw = random.Random(seed)
    beacons, changes = [], []
    for number in range(10):
        says: dict[str, Any] = {"ssid": f"net{number}", "bss_channel": 1, "security": "WPA2"}
        for tick in range(1500):
            at, new = tick * 2.4 + number / 100, tick > 0 and draw.random() < 0.002
            if new:
                key = draw.choice(["ssid", "bss_channel", "security"])
                says[key] = f"{key}{tick}" if key != "bss_channel" else says[key] + 1
            for sensor, far in (("hall", -50), ("study", -60), ("attic", -75)):
                signal = round(draw.gauss(far, 3))
                message = beacon(at, **says, ta=f"{A[:-1]}{number}", sensor=sensor)
                message.update(signal_dbm=signal, seq=tick % 4096, tsf=tick)
                beacons.append(message)
                if new and sensor == "hall":
                    changes.append(message)
    return sorted(beacons, key=lambda m: m["timestamp"]), changes


def test_on_ordinary_air_less_than_a_twentieth_passes_and_no_change_is_lost() -> None:
    beacons, changes = an_hour_of_the_air(seed=1)
    out = run(["dedupe", "beacon_filter"], beacons)
    transmissions = len(beacons) / 3
    seen = {(m["ta"], m["timestamp"], m["ssid"], m["bss_channel"], m["security"]) for m in out}
    for m in changes:
        assert (m["ta"], m["timestamp"], m["ssid"], m["bss_channel"], m["security"]) in seen
    assert len(changes) > 20
    assert len(out) < 0.05 * transmissions


@pytest.mark.parametrize("room", [65_536, 30, 3])
def test_beacons_seen_are_those_that_passed_were_told_of_or_are_still_held(room: int) -> None:
    beacons, _ = an_hour_of_the_air(seed=2)
    del beacons[3000:]
    pipeline = build(["beacon_filter"], state_max_entries=room)
    out = [m for i in range(0, 3000, 100) for m in pipeline.feed(beacons[i : i + 100])]
    out += pipeline.finish()
    state = pipeline.entries[0].component.state
    still = sum(value[3] for key, value in state.items() if isinstance(key, tuple))
    gone = pipeline.stats.get("beacon_filter/held_back_unreported")
    assert len(out) + sum(held_back(out)) + still + gone == len(beacons)
