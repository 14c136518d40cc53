"""The model of `stalk top`: what it says of a simulated air is what the truth says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from datastalker import config as configuration
from datastalker.message import Message
from datastalker.simulator.truth import read_devices, read_transmissions
from datastalker.testing import SECOND, START, frame
from datastalker.top.air import Air, Device
from datastalker.top.remembered import MOST, SECONDS, History, Remembered

AP, PHONE = "50:c7:bf:00:00:01", "3c:a9:f4:00:00:02"


def heard(*frames: Message, now: int | None = None) -> Air:
    air = Air()
    air.take(frames, now)
    return air


def device(air: Air, address: str) -> Device:
    found = air.devices.get(address)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def air(captures: Path) -> Air:
    text = f"pipeline: [pcap: {{path: '{captures}/sensor-*.pcap'}}]"
    pipeline = configuration.build(configuration.parse(text, "top.yaml"))
    assert pipeline.source is not None
    air = Air()
    for batch in pipeline.source.run():
        air.take(batch)
    return air


def test_every_device_has_the_frames_that_each_sensor_heard_of_it(air: Air, captures: Path) -> None:
    truth: Counter[tuple[str, str]] = Counter()
    for sent in read_transmissions(captures):
        if sent.ta and not int(sent.ta[:2], 16) & 1:
            truth.update((sent.ta, name.removesuffix(".pcap")) for name in sent.heard)

    said = {
        (d.address, name): heard.frames for d in air.devices for name, heard in d.sensors.items()
    }

    assert said == dict(truth)


def test_each_network_has_the_beacons_that_were_heard_of_it(air: Air, captures: Path) -> None:
    truth: Counter[str] = Counter()
    for sent in read_transmissions(captures):
        if sent.kind == "BEACON":
            truth[sent.ta] += len(sent.heard)

    assert {network.bssid: network.beacons for network in air.networks} == dict(truth)


def test_clients_are_on_the_network_that_the_truth_puts_them_on(air: Air, captures: Path) -> None:
    rows = read_devices(captures)
    on = {a: row.network for row in rows for a in row.addresses.split() if row.kind != "ap"}
    names = {network.bssid: network.ssid or network.revealed for network in air.networks}

    said = {d.address: names[d.bssid] for d in air.devices if d.bssid and not d.access_point}

    assert said
    assert said == {address: on[address] for address in said}


def test_sensors_have_all_frames_of_their_files(air: Air, captures: Path) -> None:
    truth: Counter[str] = Counter()
    for sent in read_transmissions(captures):
        truth.update(name.removesuffix(".pcap") for name in sent.heard)

    assert {name: sensor.pace.count for name, sensor in air.sensors.items()} == dict(truth)
    assert air.pace.count == truth.total()
    assert air.odd == 0


def test_a_hidden_network_has_the_name_that_a_client_asks_it_for() -> None:
    beacon = frame(0, kind="BEACON", ta=AP, bssid=AP, ssid="\0\0\0")
    asks = frame(1, kind="ASSOC_REQ", ta=PHONE, bssid=AP, ssid="cellar")

    network = next(iter(heard(beacon, asks).networks))

    assert (network.ssid, network.revealed, network.beacons) == ("", "cellar", 1)


def test_a_rate_is_frames_a_second_from_the_start_on_and_goes_to_none() -> None:
    air = heard(*(frame(n / 10, ta=PHONE) for n in range(20)))
    early = air.pace.rate(air.now)
    air.take(frame(n / 10, ta=PHONE) for n in range(20, 300))

    assert early == pytest.approx(10, rel=0.1)
    assert air.pace.rate(air.now) == pytest.approx(10, rel=0.05)
    assert air.pace.rate(air.now + 60 * SECOND) < 0.001


def test_a_wrong_clock_moves_no_time_and_a_live_source_knows_better() -> None:
    air = heard(frame(0, ta=PHONE), frame(9e6, ta=PHONE, clock_wrong=True))
    assert air.now == START

    air.take([frame(1, ta=PHONE)], START + 5 * SECOND)
    assert air.now == START + 5 * SECOND


def test_who_came_and_went_and_alerts_are_events() -> None:
    air = heard(
        frame(0, ta=PHONE),
        Message(type="presence", timestamp=START, event="NEW", key=PHONE),
        Message(type="presence", timestamp=START, event="ACTIVE", key=PHONE),
        Message(type="alert", timestamp=START, alert="clock_off", key="porch", text="2 s behind"),
    )

    assert [(e.what, e.who, e.text) for e in air.events] == [
        ("NEW", PHONE, ""),
        ("clock_off", "porch", "2 s behind"),
    ]
    assert device(air, PHONE).presence == "ACTIVE"


def test_messages_that_hold_nonsense_are_counted_and_the_others_taken() -> None:
    odd = [
        Message(type="frame", ta="x"),
        Message(type="frame", ta=PHONE, timestamp="yesterday"),
        Message(type="frame", sensor=[1]),
        Message(type="frame", ta=PHONE, signal_dbm="loud", timestamp=START),
        Message(type="frame", ta=PHONE, timestamp=10**400),
        Message(type="frame", ta=PHONE, timestamp=START, channel="six"),
        Message(type="frame", ta=PHONE, timestamp=START, kind="BEACON", bss_channel="1"),
        Message(type="frame", ta=PHONE, timestamp=START, ta_oui=7),
        Message(type="frame", ta=PHONE, timestamp=START, sensor=7),
    ]

    air = heard(*odd, frame(1, ta=PHONE, signal_dbm=-40))

    assert air.odd == len(odd)
    assert device(air, PHONE).pace.count == 1


def test_a_signal_that_a_stage_has_averaged_is_one() -> None:
    air = heard(frame(0, ta=PHONE, sensor="a", signal_dbm=-40.6))

    assert air.odd == 0
    assert device(air, PHONE).sensors["a"].history.until(START // SECOND, 1) == [-41]


def test_addresses_made_up_by_the_hundred_thousand_push_out_each_other_alone() -> None:
    air = Air()
    for number in range(100_000):
        made_up = f"02:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:00:00"
        air.take([frame(number / 1000, kind="PROBE_REQ", ta=made_up, signal_dbm=-70)])
        if number % 1000 == 0:
            air.take([frame(number / 1000, ta=PHONE, signal_dbm=-40)])

    assert len(air.devices) == MOST
    assert air.devices.forgotten == 100_001 - MOST
    assert device(air, PHONE).pace.count == 100


def test_names_by_the_thousand_and_names_without_end_are_bounded() -> None:
    probes = (frame(n, kind="PROBE_REQ", ta=PHONE, ssid=f"{n}" * 50) for n in range(1000))

    names = device(heard(*probes), PHONE).probes

    assert len(names) == 16
    assert max(map(len, names)) <= 64


def test_what_is_used_stays_when_what_is_not_goes() -> None:
    kept: Remembered[str] = Remembered(4)
    for name in "abcd":
        kept.add(name, name)
    kept.use("a")
    for name in "efgh":
        kept.add(name, name)

    assert sorted(kept) == ["a", "f", "g", "h"]
    assert kept.forgotten == 4


def test_a_history_has_the_strongest_of_each_second_and_gaps() -> None:
    history = History()
    for second, dbm in ((100, -60), (100, -50), (103, -70), (101, -80), (103, -200)):
        history.add(second, dbm)

    assert history.until(104, 6) == [None, -50, -80, None, -70, None]


def test_a_history_forgets_what_is_older_than_it_goes_back() -> None:
    history = History()
    history.add(10, -50)
    history.add(10 + SECONDS, -60)
    history.add(5, -40)

    assert [dbm for dbm in history.until(10 + SECONDS) if dbm is not None] == [-60]
    history.add(10_000, -70)
    assert history.until(10_000)[:-1] == [None] * (SECONDS - 1)
