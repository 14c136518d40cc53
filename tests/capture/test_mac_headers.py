"""MAC headers of every kind: which addresses and fields a frame has. IEEE 802.11-2020, 9.3."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from datastalker.message import KINDS

MGMT, CTRL, DATA, EXT = range(4)
ROLES = ("ra", "ta", "sa", "da", "bssid")


def control(frame_type: int, subtype: int) -> int:
    return frame_type << 2 | subtype << 4


@pytest.mark.parametrize(
    ("frame_type", "subtype", "flags", "roles"),
    [
        (MGMT, 8, 0, "ra=1 ta=2 sa=2 da=1 bssid=3"),
        (CTRL, 2, 0, "ra=1 ta=2"),  # trigger
        (CTRL, 5, 0, "ra=1 ta=2"),  # NDP announcement
        (CTRL, 6, 0x04, "ra=1 ta=2"),  # control extension: grant
        (CTRL, 6, 0x00, "ra=1"),
        (CTRL, 7, 0, "ra=1"),  # control wrapper
        (CTRL, 8, 0, "ra=1 ta=2"),
        (CTRL, 9, 0, "ra=1 ta=2"),
        (CTRL, 10, 0, "ra=1 ta=2 bssid=1"),  # PS-Poll
        (CTRL, 11, 0, "ra=1 ta=2"),
        (CTRL, 12, 0, "ra=1"),
        (CTRL, 13, 0, "ra=1"),
        (CTRL, 14, 0, "ra=1 bssid=2"),  # CF-End
        (DATA, 0, 0x00, "ra=1 ta=2 sa=2 da=1 bssid=3"),
        (DATA, 0, 0x01, "ra=1 ta=2 sa=2 da=3 bssid=1"),  # to DS
        (DATA, 0, 0x02, "ra=1 ta=2 sa=3 da=1 bssid=2"),  # from DS
        (DATA, 0, 0x03, "ra=1 ta=2 sa=4 da=3"),  # both: four addresses
        (DATA, 8, 0x03, "ra=1 ta=2 sa=4 da=3"),
        (DATA, 4, 0x01, "ra=1 ta=2 sa=2 da=3 bssid=1"),
        (EXT, 0, 0, "ra=1 bssid=1"),  # DMG beacon
        (EXT, 1, 0, "ra=1 sa=1"),  # S1G beacon
    ],
)
def test_addresses(
    make: SimpleNamespace, frame_type: int, subtype: int, flags: int, roles: str
) -> None:
    message = make.parse(make.mac(control(frame_type, subtype), flags, make.A4 + b"\0" * 40))
    addresses = [None, make.A1, make.A2, make.A3, make.A4]
    expected = dict(word.split("=") for word in roles.split())
    assert {role: message[role] for role in ROLES if message[role] is not None} == {
        role: addresses[int(number)].hex(":") for role, number in expected.items()
    }
    assert message["kind"] == KINDS[frame_type][subtype]


def test_flags_and_numbers(make: SimpleNamespace) -> None:
    message = make.parse(make.mac(0x08, 0x08 | 0x10 | 0x20 | 0x01, b"data"))
    flags = ("retry", "power_mgmt", "more_data", "to_ds", "from_ds", "protected")
    assert [message[name] for name in flags] == [True, True, True, True, False, False]
    assert (message["seq"], message["frag"], message["duration"]) == (171, 5, 0x2C)
    assert message["length"] == 28


def test_the_duration_of_a_ps_poll_is_an_aid(make: SimpleNamespace) -> None:
    assert make.parse(make.mac(0xA4, duration=0xC001))["duration"] is None


def test_the_uppermost_bit_isnt_part_of_a_duration(make: SimpleNamespace) -> None:
    assert make.parse(make.mac(0x08, duration=0x8005))["duration"] == 5


def test_the_flags_of_a_control_extension_are_its_subtype(make: SimpleNamespace) -> None:
    message = make.parse(make.mac(control(CTRL, 6), 0x0F | 0x10))
    assert message["to_ds"] is None
    assert message["power_mgmt"] is True


def test_the_group_bit_of_an_rts_stays(make: SimpleNamespace) -> None:
    frame = bytes.fromhex("b4000000 02aaaaaaaa01 03bbbbbbbb02")
    assert make.parse(frame)["ta"] == "03:bb:bb:bb:bb:02"


def test_the_tid_behind_three_and_four_addresses(make: SimpleNamespace) -> None:
    assert make.parse(make.mac(0x88, 0x01, b"\x05\x00"))["tid"] == 5
    assert make.parse(make.mac(0x88, 0x03, make.A4 + b"\x06\x00"))["tid"] == 6
    assert make.parse(make.mac(0xC8, 0x01, b"\x07\x00"))["tid"] == 7
    assert make.parse(make.mac(0x08, 0x01, b"\x05\x00"))["tid"] is None


@pytest.mark.parametrize(
    ("flags", "missing"), [(0x00, ()), (0x01, ("da",)), (0x02, ("sa",)), (0x03, ("sa", "da"))]
)
def test_the_ends_of_an_amsdu_are_in_its_subframes(
    make: SimpleNamespace, flags: int, missing: tuple[str, ...]
) -> None:
    subframe = bytes.fromhex("02da00000001 025a00000001 0004") + b"data"
    body = (make.A4 if flags == 3 else b"") + b"\x80\x00" + subframe
    message = make.parse(make.mac(0x88, flags | 0x40, body))
    assert {role for role in ("sa", "da") if role not in message} == set(missing)
    message = make.parse(make.mac(0x88, flags, body))  # not encrypted
    ends = {"sa": "02:5a:00:00:00:01", "da": "02:da:00:00:00:01"}
    assert {role: message[role] for role in missing} == {role: ends[role] for role in missing}
    if flags == 3:
        assert message["bssid"] == make.A3.hex(":")


def test_a_frame_that_was_cut_has_what_is_in_its_bytes(make: SimpleNamespace) -> None:
    whole = make.mac(0x88, 0x03, make.A4 + b"\x05\x00")
    at = {"duration": 4, "ra": 10, "ta": 16, "da": 22, "seq": 24, "frag": 24, "sa": 30, "tid": 31}
    for size in range(2, len(whole) + 1):
        message = make.parse(whole[:size], wire_length=len(whole))
        assert {name for name in at if name in message} == {
            name for name, needed in at.items() if size >= needed
        }
        assert message["length"] == len(whole)


def test_a_management_frame_that_ends_inside_its_header_has_no_address_but_ra(
    make: SimpleNamespace,
) -> None:
    for size in range(10, 24):
        message = make.parse(make.mac(0x80)[:size])
        assert {role for role in ROLES if message[role]} == {"ra"}
    assert {role for role in ROLES if make.parse(make.mac(0x80))[role]} == set(ROLES)


@pytest.mark.parametrize(
    ("carried", "roles"),
    [
        (0xB4, {"ra", "ta"}),  # RTS
        (0xA4, {"ra", "ta", "bssid"}),  # PS-Poll
        (0xE4, {"ra", "bssid"}),  # CF-End
        (0xC4, {"ra"}),  # CTS
        (0x64, {"ra"}),
        (0x88, {"ra"}),  # carries no data
    ],
)
def test_a_control_wrapper_has_the_addresses_of_the_frame_it_carries(
    make: SimpleNamespace, carried: int, roles: set[str]
) -> None:
    frame = b"\x74\0\x2c\0" + make.A1 + bytes([carried, 0]) + b"HTC!" + make.A2
    message = make.parse(frame)
    assert message["kind"] == "CTRL_WRAPPER"
    assert {role for role in ROLES if message[role]} == roles
    assert message["ta"] in (None, make.A2.hex(":"))
    for size in range(2, 22):
        assert make.parse(frame[:size])["ta"] is None


def test_the_body_of_a_fragment_with_more_behind_it_is_not_read(make: SimpleNamespace) -> None:
    beacon = make.beacon(make.element(0, b"home"))
    assert make.parse(beacon)["ssid"] == "home"
    first = make.parse(beacon[:1] + b"\x04" + beacon[2:])
    assert (first["bssid"], first["seq"], first["frag"]) == (make.A3.hex(":"), 171, 5)
    names = ("ssid", "tsf", "beacon_interval", "elements", "security", "ht")
    assert {name for name in names if first[name] is not None} == set()
    subframe = b"\x80\0" + bytes.fromhex("02da00000001 025a00000001 0004") + b"data"
    assert make.parse(make.mac(0x88, 0x02, subframe))["sa"] == "02:5a:00:00:00:01"
    assert make.parse(make.mac(0x88, 0x06, subframe))["sa"] is None


@pytest.mark.parametrize(
    ("information", "data_length", "number"),
    [
        (0x008A, 22, 1),  # pairwise, ack
        (0x010A, 22, 2),  # pairwise, mic
        (0x13CA, 56, 3),  # pairwise, install, ack, mic, secure, encrypted
        (0x030A, 0, 4),  # pairwise, mic, secure
        (0x1382, 56, 1),  # the group handshake's first
        (0x0302, 0, 2),  # and second
        (0x0D0A, 0, None),  # a request
    ],
)
@pytest.mark.parametrize("descriptor", [2, 254])
def test_the_number_of_an_eapol_key_message(
    make: SimpleNamespace, information: int, data_length: int, number: int | None, descriptor: int
) -> None:
    key = bytes([descriptor]) + information.to_bytes(2, "big") + b"\0" * 90
    key += data_length.to_bytes(2, "big") + b"\xdd" * data_length
    eapol = bytes.fromhex("aaaa03000000888e 0103") + len(key).to_bytes(2, "big") + key
    for frame in (
        make.mac(0x08, 0x01, eapol),
        make.mac(0x88, 0x01, b"\0\0" + eapol),
        make.mac(0x88, 0x81, b"\0\0HTC!" + eapol),  # with an HT Control field
        make.mac(0x88, 0x03, make.A4 + b"\0\0" + eapol),
        make.mac(0x88, 0x01, b"\x80\0" + make.A3 + make.A2 + b"\0\xff" + eapol),  # an A-MSDU
        make.mac(0x08, 0x01, bytes.fromhex("aaaa0300000088c7") + eapol[8:]),  # pre-authentication
        make.mac(0x08, 0x01, bytes.fromhex("aaaa030000f8888e") + eapol[8:]),  # a bridge tunnel
    ):
        assert make.parse(frame)["eapol"] == number
    assert make.parse(make.mac(0x08, 0x41, eapol))["eapol"] is None  # protected: not readable
    assert make.parse(make.mac(0x08, 0x05, eapol))["eapol"] is None  # more fragments come
    assert make.parse(make.mac(0x48, 0x01, eapol))["eapol"] is None  # a null frame


def test_ids_and_numbers_go_on(make: SimpleNamespace) -> None:
    from capture_agent.frame import FrameParser

    parser = FrameParser(105, {"sensor": "s"}, session="abc", numbered=True)
    bad = b"\xd5\0"
    messages = parser.parse([(7, make.ACK, 10), (8, bad, 2), (9, make.ACK, 10)], 5)
    assert [(m["id"], m["frame_number"], m["timestamp"], m["sensor"]) for m in messages] == [
        ("abc-5", 5, 7, "s"),
        ("abc-7", 7, 9, "s"),
    ]
    assert messages[0].type == "frame"
    assert parser.dropped == {"protocol_version": 1}
