"""Bodies of management frames, element by element. IEEE 802.11-2020, 9.3.3 and 9.4.2."""

from __future__ import annotations

import copy
import struct
from types import SimpleNamespace
from typing import Any

import pytest

RSN_PSK = bytes.fromhex("0100 000fac04 0100 000fac04 0100 000fac02 0000")
RSN_SAE = bytes.fromhex("0100 000fac04 0100 000fac04 0100 000fac08 c000")
RSN_MIXED = bytes.fromhex("0100 000fac02 0200 000fac04 000fac02 0200 000fac02 000fac08 8000")
RSN_OWE = bytes.fromhex("0100 000fac04 0100 000fac04 0100 000fac12 c000")
RSN_SUITE_B = bytes.fromhex("0100 000fac09 0100 000fac09 0100 000fac0c c000")
WPA = bytes.fromhex("0050f201 0100 0050f202 0100 0050f202 0100 0050f202")


@pytest.mark.parametrize(
    ("raw", "text", "in_hex"),
    [
        (b"home", "home", None),
        (b"", "", None),
        ("카페".encode(), "카페", None),
        (b"\0\0\0", "\0\0\0", None),
        (b"a\x1b[31m\n", "a\x1b[31m\n", None),
        (bytes.fromhex("b2e2cad4"), "����", "b2e2cad4"),  # GBK
        (b"caf\xc6", "caf�", "636166c6"),
        (b"x" * 40, "x" * 40, None),
    ],
)
def test_an_ssid_keeps_its_bytes(
    make: SimpleNamespace, raw: bytes, text: str, in_hex: str | None
) -> None:
    for frame in (make.beacon(make.element(0, raw)), make.mac(0x40, body=make.element(0, raw))):
        message = make.parse(frame)
        assert message["ssid"] == text
        assert message["ssid_hex"] == in_hex


def test_the_first_ssid_counts(make: SimpleNamespace) -> None:
    message = make.parse(make.beacon(make.element(0, b"one") + make.element(0, b"two")))
    assert message["ssid"] == "one"
    assert message["elements"] == [0, 0]


def test_no_ssid_element_no_ssid(make: SimpleNamespace) -> None:
    assert make.parse(make.beacon(make.element(1, b"\x82")))["ssid"] is None


@pytest.mark.parametrize(
    ("elements", "privacy", "security"),
    [
        ([], False, "OPEN"),
        ([], True, "WEP"),
        ([(221, WPA)], True, "WPA"),
        ([(48, RSN_PSK)], True, "WPA2"),
        ([(48, RSN_PSK), (221, WPA)], True, "WPA/WPA2"),
        ([(48, RSN_SAE)], True, "WPA3"),
        ([(48, RSN_MIXED)], True, "WPA2/WPA3"),
        ([(48, RSN_OWE)], True, "OWE"),
        ([(48, RSN_SUITE_B)], True, "WPA3"),
    ],
)
def test_security_in_a_word(
    make: SimpleNamespace, elements: list[tuple[int, bytes]], privacy: bool, security: str
) -> None:
    body = make.element(0, b"x") + b"".join(make.element(*item) for item in elements)
    assert make.parse(make.beacon(body, privacy))["security"] == security


def test_suites_in_full(make: SimpleNamespace) -> None:
    message = make.parse(make.beacon(make.element(48, RSN_MIXED), True))
    assert message["group_cipher"] == "TKIP"
    assert message["pairwise_ciphers"] == ["CCMP", "TKIP"]
    assert message["akms"] == ["PSK", "SAE"]
    assert message["pmf"] == "capable"
    assert make.parse(make.beacon(make.element(48, RSN_SAE), True))["pmf"] == "required"
    assert make.parse(make.beacon(make.element(48, RSN_PSK), True))["pmf"] == "none"


def test_a_station_says_its_suites_but_nothing_of_the_networks_security(
    make: SimpleNamespace,
) -> None:
    body = b"\x31\x04\x0a\x00" + make.element(0, b"x") + make.element(48, RSN_PSK)
    message = make.parse(make.mac(0x00, body=body))
    assert message["akms"] == ["PSK"]
    assert message["security"] is None


@pytest.mark.parametrize("size", range(len(RSN_MIXED)))
def test_an_rsn_element_may_end_anywhere(make: SimpleNamespace, size: int) -> None:
    message = make.parse(make.beacon(make.element(48, RSN_MIXED[:size]), True))
    assert message["security"] == ("WEP" if size < 2 else "WPA2/WPA3" if size >= 26 else "WPA2")


def test_suites_of_vendors_keep_their_number(make: SimpleNamespace) -> None:
    rsn = bytes.fromhex("0100 00409600 0100 000fac63 0100 506f9a02")
    message = make.parse(make.beacon(make.element(48, rsn), True))
    assert message["group_cipher"] == "00-40-96:0"
    assert message["pairwise_ciphers"] == ["00-0f-ac:99"]
    assert message["akms"] == ["DPP"]


def test_rates_without_membership_selectors(make: SimpleNamespace) -> None:
    body = make.element(1, b"\x82\x84\x0b\x16") + make.element(50, b"\x0c\x6c\xff\xfb")
    assert make.parse(make.beacon(body))["rates_kbps"] == [1000, 2000, 5500, 11000, 6000, 54000]


def test_country_and_capabilities(make: SimpleNamespace) -> None:
    body = (
        make.element(7, b"DE \x01\x0d\x14")
        + make.element(45, b"\0" * 26)
        + make.element(191, b"\0" * 12)
        + make.element(255, b"\x23" + b"\0" * 20)
        + make.element(255, b"\x6c" + b"\0" * 9)
    )
    message = make.parse(make.beacon(body))
    assert message["country"] == "DE"
    assert [message[name] for name in ("ht", "vht", "he", "eht")] == [True] * 4
    assert message["elements"] == [7, 45, 191, 255, 255]
    assert message["extensions"] == [0x23, 0x6C]
    assert make.parse(make.beacon(make.element(0)))["vht"] is False


def test_the_channel_that_an_access_point_says(make: SimpleNamespace) -> None:
    ds, ht = make.element(3, b"\x06"), make.element(61, b"\x0b" + b"\0" * 21)
    he = make.element(255, bytes.fromhex("24 000002 00 0000 25 00 00 00 00"))
    he_vht = make.element(255, bytes.fromhex("24 00c002 00 0000 aabbcc dd 29 00 00 00 00"))
    for body, channel in ((he + ht + ds, 6), (he + ht, 11), (he, 37), (he_vht, 41), (b"", None)):
        assert make.parse(make.beacon(make.element(0) + body))["bss_channel"] == channel


def test_fixed_fields(make: SimpleNamespace) -> None:
    message = make.parse(make.beacon(make.element(0, b"x")))
    assert message["tsf"] == 123456789
    assert message["beacon_interval"] == 100
    for control in (0xA0, 0xC0):
        assert make.parse(make.mac(control, body=b"\x07\x00"))["reason"] == 7
        assert make.parse(make.mac(control, 0x40, body=b"\x07\x00"))["reason"] is None
    assert make.parse(make.mac(0xB0, body=b"\0\0\2\0\x25\0"))["status"] == 0x25
    assert make.parse(make.mac(0x10, body=b"\1\0\x11\0\1\xc0"))["status"] == 17
    assert make.parse(make.mac(0x30, body=b"\1\0\x11\0\1\xc0"))["status"] == 17


def wps(*attributes: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in attributes)
    return bytes.fromhex("0050f204") + body


def test_wps(make: SimpleNamespace) -> None:
    uuid = bytes(range(16))
    raw = wps(
        (0x104A, b"\x10"),
        (0x1044, b"\x02"),
        (0x1047, uuid),
        (0x1021, b"Acme"),
        (0x1023, b"Router"),
        (0x1024, b"9000\0"),
        (0x1011, b"kitchen"),
    )
    message = make.parse(make.beacon(make.element(221, raw)))
    assert message["wps_state"] == "configured"
    assert message["wps_uuid"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert message["wps_manufacturer"] == "Acme"
    assert message["wps_model_name"] == "Router"
    assert message["wps_model_number"] == "9000"
    assert message["wps_device_name"] == "kitchen"


def test_wps_over_two_elements(make: SimpleNamespace) -> None:
    raw = wps((0x1021, b"Acme Corporation"))
    halves = make.element(221, raw[:12]) + make.element(221, raw[:4] + raw[12:])
    assert make.parse(make.beacon(halves))["wps_manufacturer"] == "Acme Corporation"


def test_an_element_that_was_cut_is_listed_but_not_read(make: SimpleNamespace) -> None:
    message = make.parse(make.mac(0x40, body=make.element(1, b"\x82") + b"\x00\x05hom"))
    assert message["elements"] == [1, 0]
    assert message["ssid"] is None
    assert message["vht"] is None  # of what was cut off nobody knows
    assert make.parse(make.mac(0x40, body=make.element(0) + b"\x01"))["elements"] == [0]


def test_a_capture_with_a_snap_length_claims_nothing_of_what_it_left_out(
    make: SimpleNamespace,
) -> None:
    frame = make.beacon(make.element(0, b"home") + make.element(45, b"\0" * 26), True)
    message = make.parse(frame, wire_length=len(frame) + 22)
    assert message["ssid"] == "home"
    assert message["ht"] is True
    assert message["vht"] is None
    assert message["security"] is None
    assert message["length"] == len(frame) + 22


def test_profiles_inside_a_multiple_bssid_element(make: SimpleNamespace) -> None:
    profile = make.element(83, b"\1\0") + make.element(0, b"guest") + make.element(85, b"\1")
    body = make.element(0, b"home") + make.element(71, b"\4" + make.element(0, profile))
    message = make.parse(make.beacon(body + make.element(3, b"\1")))
    assert message["elements"] == [0, 71, 83, 0, 85, 3]
    assert message["ssid"] == "home"


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        ("03 00 01 0000 0000 0000 9f0100", [159]),  # ADDBA request
        ("00 04 2503000601", [37]),  # channel switch
        ("05 05 01 340d" + "11" * 13, [52]),  # neighbour report
        ("0a 07 01 00 0000 05 340d" + "11" * 13, [52]),  # BSS transition request
        ("0a 07 01 10 0000 05 03616263 340d" + "11" * 13, [52]),  # with an address
        ("0a 08 01 06 00 340d" + "11" * 13, [52]),  # BSS transition response
        ("0a 08 01 00 00 02bbbbbbbb02 340d" + "11" * 13, [52]),  # with a target
        ("04 0a 01 6c020000 0500 0102030405 dd0400000101", [108, 221]),  # GAS request
        ("04 09 506f9a09 00 01 dd06506f9a090000", [221]),  # P2P
        ("0f 01 0000 010182 720141", [1, 114]),  # mesh peering
        ("15 00 " + "01" * 40, None),  # VHT beamforming
        ("7f 00 50f209 dd03010203", None),  # vendor
        ("7f 506f9a09 00 01 dd06506f9a090000", [221]),  # P2P of vendors
        ("7f 506f9a0a 00 01 dd06506f9a090000", None),
    ],
)
def test_elements_of_action_frames(
    make: SimpleNamespace, body: str, elements: list[int] | None
) -> None:
    assert make.parse(make.mac(0xD0, body=bytes.fromhex(body)))["elements"] == elements


def test_sae_adds_no_elements(make: SimpleNamespace) -> None:
    commit = bytes.fromhex("0300 0100 0000 1300") + b"\x55" * 96
    assert make.parse(make.mac(0xB0, body=commit))["elements"] is None


def beacons(make: SimpleNamespace, *bodies: bytes) -> list[Any]:
    from capture_agent.frame import FrameParser

    frames = [make.beacon(body) for body in bodies]
    return FrameParser(105, {}).parse([(0, frame, len(frame)) for frame in frames])


def test_beacons_are_remembered_but_not_mixed_up(make: SimpleNamespace) -> None:
    """The traffic map changes; what stands behind it must not hide in it."""

    def body(name: bytes, tim: bytes, channel: int) -> bytes:
        raw: bytes = (
            make.element(0, name) + make.element(5, tim) + make.element(3, bytes([channel]))
        )
        return raw

    found = beacons(
        make,
        body(b"one", b"\0\1\0\0", 1),
        body(b"one", b"\1\1\0\7", 1),
        body(b"one", b"\1\1\0\7", 2),
        body(b"two", b"\1\1\0\7", 2),
        make.element(0, b"two") + make.element(5, b"\0") + make.element(3, b"\3") + b"\1\1\7",
        body(b"two", b"\0\3\1\7", 2),
    )
    seen = [(message["ssid"], message["bss_channel"], message["elements"]) for message in found]
    assert seen == [
        ("one", 1, [0, 5, 3]),
        ("one", 1, [0, 5, 3]),
        ("one", 2, [0, 5, 3]),
        ("two", 2, [0, 5, 3]),
        ("two", 3, [0, 5, 3, 1]),
        ("two", 2, [0, 5, 3]),
    ]


def test_shared_lists_cant_be_changed_in_place(make: SimpleNamespace) -> None:
    first, second = beacons(make, make.element(1, b"\x82"), make.element(1, b"\x82"))
    assert first["elements"] == [1]
    for change in (
        lambda: first["elements"].append(2),
        lambda: first["elements"].__setitem__(0, 2),
        lambda: first["elements"].sort(),
    ):
        with pytest.raises(TypeError, match="shared"):
            change()
    first["elements"] = [*first["elements"], 2]
    copied = copy.deepcopy(second)
    copied["elements"].append(3)
    assert second["elements"] == [1]


def test_what_is_remembered_is_bounded(make: SimpleNamespace) -> None:
    from capture_agent import management
    from capture_agent.frame import FrameParser

    parser = FrameParser(105, {})
    for number in range(3 * management.LIMIT):
        body = make.element(0, b"%d" % number) + make.element(221, b"x" * 200)
        frames = make.mac(0x40, body=body), make.beacon(body)
        parser.parse([(0, frame, len(frame)) for frame in frames])
    memory = parser._memory.management
    shapes = sum(len(known) for _, known in memory._shapes.values())
    assert len(memory._requests) + shapes <= management.LIMIT
    assert memory._bytes <= management.LIMIT_BYTES
