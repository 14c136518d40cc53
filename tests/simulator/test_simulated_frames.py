"""Every frame that the simulator can make is one that others read, and read as it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datastalker.message import KIND_NAMES
from datastalker.simulator import elements as ie
from datastalker.simulator import frames, management
from datastalker.simulator.flood import flood
from datastalker.simulator.frames import BROADCAST, FROM_DS, TO_DS, Frame, text
from datastalker.simulator.management import Bss
from datastalker.simulator.radiotap import Copy, channel_mhz, radiotap
from datastalker.simulator.write import write_packets

AP, STA = bytes.fromhex("50c7bf000001"), bytes.fromhex("021122334455")
START = 1_772_470_800_000_000
HOME = Bss(AP, b"Maple House", 6, "WPA2/WPA3", phys=("ht", "vht", "he"))
OPEN = Bss(AP, b"Guest", 6, "OPEN")
OWE = Bss(AP, b"Guest+", 6, "OWE")
HIDDEN = Bss(AP, b"secret", 6, "WPA3", hidden=True)
WPS = Bss(AP, "Café".encode(), 6, "WPA2", country="IT", wps={"wps_device_name": b"attic box"})


def probe_elements() -> bytes:
    return ie.ds(6) + ie.ht_capabilities() + ie.vht_capabilities() + ie.he_capabilities()


def handshake(message: int) -> Frame:
    key_data = {2: ie.rsn((ie.PSK,), "none"), 3: bytes(range(56))}.get(message, b"")
    body = frames.eapol_key(message, 2, 1, bytes(range(32)), bytes(16), key_data)
    return frames.data(STA, AP, AP, 7, body, flags=FROM_DS, tid=6)


TIM = ie.tim(1, 3, (1, 4))
FRAMES: dict[str, tuple[Frame, dict[str, Any]]] = {
    "beacon, everything": (management.beacon(HOME, 5, 10**12, TIM), {
        "ssid": "Maple House", "akms": ["PSK", "SAE"], "tsf": 10**12}),
    "beacon, open": (management.beacon(OPEN, 6, 1, TIM), {"ssid": "Guest", "akms": None}),
    "beacon, OWE": (management.beacon(OWE, 7, 1, TIM), {"akms": ["OWE"]}),
    "beacon, hidden": (management.beacon(HIDDEN, 8, 1, TIM), {"ssid": "", "akms": ["SAE"]}),
    "beacon, WPS": (management.beacon(WPS, 9, 1, TIM), {
        "ssid": "Café", "wps_device_name": "attic box"}),
    "probe response": (management.probe_response(HIDDEN, STA, 1, 2), {"ssid": "secret", "tsf": 2}),
    "probe request": (management.probe_request(STA, 4095, b"x", probe_elements()), {"ssid": "x"}),
    "probe request, wildcard": (management.probe_request(STA, 1, b"", b""), {"ssid": ""}),
    "authentication, open": (management.authentication(AP, STA, AP, 1, 1), {"ssid": None}),
    "authentication, SAE commit": (management.authentication(
        AP, STA, AP, 2, 1, management.SAE, body=management.sae_commit(b"s" * 32, b"p" * 64)), {}),
    "authentication, SAE confirm": (management.authentication(
        AP, STA, AP, 3, 2, management.SAE, body=management.sae_confirm(b"c" * 32)), {}),
    "association request": (management.association_request(HOME, STA, 4, ie.SAE), {
        "ssid": "Maple House", "akms": ["SAE"]}),
    "association request, OWE": (management.association_request(
        OWE, STA, 4, ie.OWE, ie.owe_dh(b"k" * 32)), {"akms": ["OWE"]}),
    "reassociation request": (management.association_request(
        HOME, STA, 5, ie.PSK, old_ap=AP), {"akms": ["PSK"]}),
    "association response": (management.association_response(HOME, STA, 6, 3), {}),
    "reassociation response": (management.association_response(
        HOME, STA, 6, 3, "REASSOC_RESP"), {}),
    "deauthentication": (management.deauthentication(BROADCAST, AP, AP, 1, 7), {"reason": 7}),
    "disassociation": (management.deauthentication(AP, STA, AP, 1, 8, "DISASSOC"), {"reason": 8}),
    "disassociation, protected": (management.protected(
        "DISASSOC", AP, STA, AP, 2, frames.ccmp(3, bytes(10))), {"reason": None}),
    "EAPOL 1": (handshake(1), {"eapol": 1}),
    "EAPOL 2": (handshake(2), {"eapol": 2}),
    "EAPOL 3": (handshake(3), {"eapol": 3}),
    "EAPOL 4": (handshake(4), {"eapol": 4}),
    "QoS data": (frames.data(AP, STA, AP, 100, frames.ccmp(1 << 33, bytes(60)),
                             flags=TO_DS | frames.PROTECTED, tid=5), {}),
    "data, second fragment, again": (frames.data(
        AP, STA, AP, 1, frames.ccmp(2, bytes(60)), flags=TO_DS | frames.PROTECTED,
        frag=1).again(), {"retry": True}),
    "data, open": (frames.data(AP, STA, AP, 1, frames.ping(b"\x0a\0\0\1", b"\x0a\0\0\2", 9, b"odd"),
                               flags=TO_DS, tid=0), {}),
    "null": (frames.null(AP, STA, 8, asleep=True, qos=False), {}),
    "QoS null": (frames.null(AP, STA, 9, asleep=False), {}),
    "ACK": (frames.ack(STA), {}),
    "CTS": (frames.cts(STA), {}),
    "RTS": (frames.rts(AP, STA), {}),
    "block ack": (frames.block_ack(STA, AP, 5, 100, 0b1011), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory, dissect):
    """All frames of the table, through one run of a reader."""
    path = tmp_path_factory.mktemp("frames") / "all.pcap"
    copy = Copy(START, 1234567, -61, -95, 1)
    packets = (
        radiotap(copy, frame.rate_kbps, channel_mhz(6)) + frame.with_fcs()
        for frame, _ in FRAMES.values()
    )
    write_packets(path, packets, START, every_us=1000)
    return dict(zip(FRAMES, dissect(path), strict=True))


@pytest.mark.parametrize("name", FRAMES)
def test_others_read_it_as_it_was_meant(rows, name):
    frame, expected = FRAMES[name]
    row = rows[name]
    assert row["good"]
    assert row["signal_dbm"] == -61
    assert {key: row.get(key) for key in expected} == expected
    assert row["wire"] == 25 + len(frame.data) + 4


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_says_of_itself_what_its_bytes_say(rows, name):
    frame, row = FRAMES[name][0], rows[name]
    said = (
        frame.kind,
        frame.ta and text(frame.ta),
        text(frame.ra),
        frame.seq,
        frame.tid,
        frame.retry,
    )
    assert said == tuple(row.get(key) for key in ("kind", "ta", "ra", "seq", "tid", "retry"))
    assert row.get("frag") == (None if frame.seq is None else frame.frag)


def test_the_tim_has_a_bit_for_each_station_that_is_to_wake():
    #              id len count period group; bits 1 and 4
    assert ie.tim(1, 3, (1, 4)).hex(" ") == "05 05 01 03 00 12 00"


def test_every_kind_it_makes_has_a_name_of_ours():
    assert {frame.kind for frame, _ in FRAMES.values()} <= set(KIND_NAMES)


def test_a_flood_is_valid_frames_of_as_many_transmitters(tmp_path: Path, dissect):
    path = tmp_path / "flood.pcap"
    assert write_packets(path, flood(500, seed=3), START, every_us=100) == 500
    rows = dissect(path)
    assert all(row["good"] for row in rows)
    assert len({row["ta"] for row in rows}) == 500


def test_a_flood_is_the_same_for_the_same_seed():
    assert list(flood(50, seed=3)) == list(flood(50, seed=3))
    assert list(flood(50, seed=3)) != list(flood(50, seed=4))
