"""`presence` says who came, who is here, who went."""

from __future__ import annotations

from typing import Any

import pytest

from datastalker.errors import ConfigError
from datastalker.message import Message
from datastalker.testing import START, build, frame, run, run_stage

PHONE, LAPTOP, RANDOM = "00:00:00:00:00:0a", "00:00:00:00:00:0b", "02:00:00:00:00:0c"
DAY = 86_400

Said = list[tuple[str, float]]


def heard(at: float, ta: str = PHONE, **keys: Any) -> Message:
    return frame(at, ta=ta, **keys)


def events(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.type == "presence"]


def said(messages: list[Message], key: str = PHONE) -> Said:
    return [
        (m["event"], (m["timestamp"] - START) / 1e6) for m in events(messages) if m["key"] == key
    ]


def story(*frames: Message, key: str = PHONE, **options: Any) -> Said:
    return said(run_stage("presence", frames, **options), key)


def test_every_frame_passes() -> None:
    frames = [heard(0), heard(1), frame(2, ra=PHONE), heard(900)]
    out = run_stage("presence", frames)
    assert [m for m in out if m.type == "frame"] == frames


def test_a_device_comes_and_goes_by_the_datas_time() -> None:
    assert story(heard(0), heard(10), heard(311, LAPTOP)) == [("NEW", 0), ("ABSENT", 310)]


def test_it_is_absent_also_when_nobody_is_heard_of_until_days_later() -> None:
    assert story(heard(0), heard(7 * DAY, LAPTOP)) == [("NEW", 0), ("ABSENT", 300)]


def test_its_own_return_says_that_it_was_gone_before_it_says_that_it_is_new() -> None:
    assert story(heard(0), heard(DAY)) == [("NEW", 0), ("ABSENT", 300), ("NEW", DAY)]


def test_it_is_gone_when_the_delay_is_over_to_the_microsecond() -> None:
    assert story(heard(0), heard(299.999999))[1:] == []
    assert story(heard(0), heard(300))[1:] == [("ABSENT", 300), ("NEW", 300)]


def test_a_device_that_is_here_at_the_end_stays() -> None:
    assert story(heard(0), heard(299, LAPTOP)) == [("NEW", 0)]


def test_it_is_active_every_so_often_while_it_is_heard() -> None:
    frames = [heard(i * 10) for i in range(13)]
    assert story(*frames, active_every_seconds=60) == [("NEW", 0), ("ACTIVE", 60), ("ACTIVE", 120)]


def test_active_events_can_be_switched_off() -> None:
    frames = [heard(i * 200) for i in range(10)]
    assert story(*frames, active_every_seconds=None) == [("NEW", 0)]


def test_it_is_new_only_after_so_many_sightings() -> None:
    frames = [heard(0), heard(1), heard(2), heard(3)]
    assert story(*frames, min_sightings=3) == [("NEW", 2)]


def test_it_is_new_only_when_it_was_heard_for_so_long() -> None:
    frames = [heard(0), heard(9.9), heard(10), heard(11)]
    assert story(*frames, arrive_after_seconds=10) == [("NEW", 10)]


def test_who_only_passed_by_was_never_there() -> None:
    frames = [heard(0), heard(DAY), heard(2 * DAY, LAPTOP)]
    assert story(*frames, min_sightings=2) == []


@pytest.mark.parametrize(("signal", "counts"), [(-75, True), (-76, False), (None, False)])
def test_a_frame_weaker_than_the_minimum_does_not_count(signal: int | None, counts: bool) -> None:
    assert bool(story(heard(0, signal_dbm=signal), min_signal_dbm=-75)) is counts


def test_a_device_that_grows_weak_has_left() -> None:
    frames = [heard(0, signal_dbm=-50), *(heard(i * 60, signal_dbm=-90) for i in range(1, 7))]
    assert story(*frames, min_signal_dbm=-75) == [("NEW", 0), ("ABSENT", 300)]


def test_an_event_tells_what_is_known_of_the_stay() -> None:
    frames = [
        heard(0, signal_dbm=-60, sensor="hall", kind="PROBE_REQ", ssid="work", ta_oui="Acme"),
        heard(1, signal_dbm=-50, sensor="attic", kind="PROBE_REQ", ssid=""),
        heard(2, sensor="hall", kind="PROBE_REQ", ssid="home", bssid="ff:ff:ff:ff:ff:ff"),
        heard(3, signal_dbm=-71, bssid=LAPTOP),
        heard(400, LAPTOP),
    ]
    (absent,) = [m for m in events(run_stage("presence", frames)) if m["event"] == "ABSENT"]
    assert dict(absent) == {
        "type": "presence",
        "timestamp": START + 303_000_000,
        "id": f"{PHONE}-ABSENT-{START + 303_000_000}",
        "event": "ABSENT",
        "key": PHONE,
        "first_seen": START,
        "last_seen": START + 3_000_000,
        "sightings": 4,
        "signal_avg_dbm": -60,
        "signal_max_dbm": -50,
        "ssids": ["home", "work"],
        "bssids": [LAPTOP],
        "sensors": ["attic", "hall"],
        "randomized": False,
        "oui": "Acme",
    }


def test_an_event_comes_before_the_frame_that_caused_it() -> None:
    assert [m.type for m in run_stage("presence", [heard(0)])] == ["presence", "frame"]


def test_what_is_unknown_is_left_out() -> None:
    (new,) = events(run_stage("presence", [heard(0)]))
    assert new["signal_avg_dbm"] is new["oui"] is None
    assert "oui" not in new


def test_group_addresses_are_no_devices() -> None:
    assert events(run_stage("presence", [heard(0, "01:00:5e:00:00:01")])) == []


def test_made_up_addresses_can_be_left_out() -> None:
    assert story(heard(0, RANDOM), key=RANDOM) == [("NEW", 0)]
    assert story(heard(0, RANDOM), key=RANDOM, ignore_randomized=True) == []


@pytest.mark.parametrize("ssid", ["zz:top", "no: way", "xx:xx:xx:xx:xx:xx", "01:00:00:00:00:00"])
def test_any_name_can_be_present_also_one_that_looks_like_an_address(ssid: str) -> None:
    out = run_stage("presence", [frame(0, ssid=ssid)], key="ssid")
    assert [(m["event"], m["key"], m["randomized"]) for m in events(out)] == [("NEW", ssid, None)]


def test_several_fields_can_tell_devices_apart() -> None:
    frames = [heard(0, sensor="hall"), heard(1, sensor="attic"), heard(2)]
    out = run_stage("presence", frames, key=["ta", "sensor"])
    assert [m["key"] for m in events(out)] == [f"{PHONE} hall", f"{PHONE} attic"]


def test_an_address_that_a_stage_made_a_pseudonym_of_is_present_too() -> None:
    assert story(heard(0, "phone-1"), key="phone-1") == [("NEW", 0)]


def test_no_more_than_32_names_are_remembered_of_a_device() -> None:
    frames = [heard(i, kind="PROBE_REQ", ssid=f"net{i}") for i in range(200)]
    _, absent, _ = events(run_stage("presence", [*frames, heard(DAY)]))
    assert len(absent["ssids"]) == 32


def test_time_that_runs_backwards_makes_no_device_come_twice() -> None:
    frames = [heard(10), heard(5), heard(9), heard(8)]
    out = events(run([{"presence": {}}], [*frames, heard(DAY, LAPTOP)], batch=1))
    assert said(out) == [("NEW", 10), ("ABSENT", 310)]
    assert [m["first_seen"] for m in out if m["event"] == "ABSENT"] == [START + 5_000_000]


def test_a_file_from_the_past_behind_another_has_each_device_come_once() -> None:
    frames = [heard(100 * DAY, LAPTOP), *(heard(i) for i in range(100))]
    for batch in (1, 7, 1000):
        assert said(run(["presence"], frames, batch=batch)) == [("NEW", 0)]


def test_a_frame_without_a_time_passes_and_is_no_sighting() -> None:
    timeless = Message(type="frame", ta=PHONE)
    assert run_stage("presence", [timeless]) == [timeless]


def test_a_device_that_had_to_make_room_is_forgotten_not_absent() -> None:
    pipeline = build(["presence"], state_max_entries=2)
    devices = [heard(i, f"00:00:00:00:00:{i:02x}") for i in range(5)]
    out = [m for message in devices for m in pipeline.feed([message])]
    assert [m["event"] for m in events(out)] == 5 * ["NEW"]
    assert pipeline.stats.get("presence/forgotten") == 3


def test_events_pass_a_second_presence_untouched() -> None:
    out = run(["presence", {"presence": {"key": "bssid"}}], [heard(0, bssid=LAPTOP)])
    assert sorted(m["key"] for m in events(out)) == [PHONE, LAPTOP]


def test_the_same_input_gives_the_same_events_with_the_same_ids() -> None:
    frames = [heard(i * 100 % 700, ta=(PHONE, LAPTOP, RANDOM)[i % 3]) for i in range(100)]
    once, twice = (repr(run_stage("presence", frames)) for _ in range(2))
    assert once == twice


def test_a_presence_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="name at least one field"):
        build([{"presence": {"key": []}}])
