"""Radiotap headers, field by field. Bits and bytes: https://www.radiotap.org/fields/defined."""

from __future__ import annotations

import struct
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from capture_agent.frame import FrameParser
from capture_agent.radiotap import HeaderError, Layout

TSFT, FLAGS, RATE, CHANNEL, SIGNAL, NOISE, ANTENNA = (1 << bit for bit in (0, 1, 2, 3, 5, 6, 11))
XCHANNEL, MCS, AMPDU, VHT, TIMESTAMP, HE, TLV = (1 << bit for bit in (18, 19, 20, 21, 22, 23, 28))
NEXT, VENDOR, MORE = (1 << bit for bit in (29, 30, 31))


def radio(make: SimpleNamespace, header: bytes, tail: bytes = b"") -> dict[str, Any]:
    message = make.parse(header + make.ACK + tail, 127, keep_bad_fcs=True)
    assert message is not None
    assert message["ra"] == make.A1.hex(":")
    known = ("signal_dbm", "noise_dbm", "freq_mhz", "channel", "rate_kbps", "antenna", "fcs_ok")
    return {name: message[name] for name in known if name in message}


def test_every_field_with_its_alignment(make: SimpleNamespace) -> None:
    header = make.radiotap(
        TSFT | FLAGS | RATE | CHANNEL | SIGNAL | NOISE | ANTENNA,
        b"\x11\x22\x33\x44\x55\x66\x77\x88"  # TSFT
        b"\x10"  # flags: FCS at the end
        b"\x0c"  # rate: 6 Mbit/s
        b"\x6c\x09\xa0\x00"  # 2412 MHz
        b"\xc4"  # signal: -60 dBm
        b"\xa1"  # noise: -95 dBm
        b"\x01",  # antenna
    )
    assert radio(make, header, b"FCS!") == {
        "signal_dbm": -60,
        "noise_dbm": -95,
        "freq_mhz": 2412,
        "channel": 1,
        "rate_kbps": 6000,
        "antenna": 1,
        "fcs_ok": True,
    }


def test_what_is_absent_stays_absent(make: SimpleNamespace) -> None:
    assert radio(make, make.radiotap(0)) == {}


def test_a_positive_signal_is_kept(make: SimpleNamespace) -> None:
    assert radio(make, make.radiotap(SIGNAL, b"\x0f")) == {"signal_dbm": 15}


def test_the_first_signal_counts_and_later_ones_may_change(make: SimpleNamespace) -> None:
    first = SIGNAL | NEXT | MORE
    header = make.radiotap(first, b"\xd0\xe0\x00\xe1\x01", SIGNAL | ANTENNA | NEXT | MORE,
                           SIGNAL | ANTENNA)  # fmt: skip
    assert radio(make, header) == {"signal_dbm": -48, "antenna": 0}


@pytest.mark.parametrize(
    ("freq", "channel"),
    [
        (2412, 1), (2437, 6), (2472, 13), (2484, 14), (5180, 36), (5825, 165), (4920, 184),
        (5955, 1), (6115, 33), (7115, 233), (60480, None), (1000, None),
    ],
)  # fmt: skip
def test_channels(make: SimpleNamespace, freq: int, channel: int | None) -> None:
    found = radio(make, make.radiotap(CHANNEL, struct.pack("<HH", freq, 0)))
    assert found == {"freq_mhz": freq} | ({"channel": channel} if channel else {})


def test_the_frequency_of_an_xchannel(make: SimpleNamespace) -> None:
    header = make.radiotap(XCHANNEL, struct.pack("<IHBB", 0, 5500, 100, 0))
    assert radio(make, header) == {"freq_mhz": 5500, "channel": 100}


@pytest.mark.parametrize(
    ("known", "flags", "index", "rate"),
    [
        (0x07, 0x00, 7, 65_000),  # 20 MHz, long guard interval
        (0x07, 0x04, 7, 72_222),  # short
        (0x07, 0x05, 15, 300_000),  # 40 MHz, two streams
        (0x03, 0x00, 7, None),  # guard interval not told
        (0x07, 0x00, 77, None),  # no such index
    ],
)
def test_rates_of_ht(
    make: SimpleNamespace, known: int, flags: int, index: int, rate: int | None
) -> None:
    header = make.radiotap(MCS, bytes([known, flags, index]))
    assert radio(make, header).get("rate_kbps") == rate


def test_the_guard_interval_may_stand_in_flags(make: SimpleNamespace) -> None:
    assert radio(make, make.radiotap(FLAGS | MCS, b"\x80\x03\x00\x07"))["rate_kbps"] == 72_222
    assert radio(make, make.radiotap(FLAGS | MCS, b"\x00\x03\x00\x07"))["rate_kbps"] == 65_000


@pytest.mark.parametrize(
    ("flags", "width", "user", "rate"),
    [
        (0, 4, 0x91, 390_000),  # 80 MHz, MCS 9, one stream
        (4, 11, 0x91, 866_667),  # 160 MHz, short guard interval
        (0, 0, 0x91, None),  # MCS 9 isn't allowed there
        (0, 4, 0xA1, None),  # no such MCS
        (0, 31, 0x01, None),  # no such width
    ],
)
def test_rates_of_vht(
    make: SimpleNamespace, flags: int, width: int, user: int, rate: int | None
) -> None:
    field = struct.pack("<HBBBBBBBBH", 0x44, flags, width, user, 0, 0, 0, 0, 0, 0)
    assert radio(make, make.radiotap(VHT, field)).get("rate_kbps") == rate


@pytest.mark.parametrize(
    ("known1", "mcs", "width_and_guard", "streams", "rate"),
    [
        (0x4020, 0, 0x00, 1, 8_600),  # 20 MHz, 0.8 us
        (0x4020, 11, 0x02, 2, 1_201_000),  # 80 MHz, two streams
        (0x4020, 0, 0x24, 1, 800),  # 26-tone unit, 3.2 us
        (0x4000, 0, 0x00, 1, None),  # MCS not known
        (0x4020, 12, 0x00, 1, None),
    ],
)
def test_rates_of_he(
    make: SimpleNamespace,
    known1: int,
    mcs: int,
    width_and_guard: int,
    streams: int,
    rate: int | None,
) -> None:
    field = struct.pack("<6H", known1, 0x02, mcs << 8, 0, width_and_guard, streams)
    assert radio(make, make.radiotap(HE, field)).get("rate_kbps") == rate


def test_a_rate_of_zero_is_none_and_the_mcs_counts(make: SimpleNamespace) -> None:
    assert "rate_kbps" not in radio(make, make.radiotap(RATE, b"\0"))
    assert radio(make, make.radiotap(RATE | MCS, b"\0\x07\0\x07"))["rate_kbps"] == 65_000


def test_a_vendor_namespace_is_skipped(make: SimpleNamespace) -> None:
    header = make.radiotap(
        SIGNAL | VENDOR | MORE,
        b"\xd0\x00"  # signal, alignment
        b"\x00\x11\x22\x01\x03\x00"  # OUI, sub-namespace, 3 bytes to skip
        b"abc"
        b"\x05",  # antenna, in the radiotap namespace again
        0xFFF | NEXT | MORE,
        ANTENNA,
    )
    assert radio(make, header) == {"signal_dbm": -48, "antenna": 5}


def test_fields_may_come_as_tlvs(make: SimpleNamespace) -> None:
    header = make.radiotap(
        SIGNAL | TLV,
        b"\xd0\0\0\0"
        b"\x02\x00\x01\x00\x0c\0\0\0"  # type 2, rate: 6 Mbit/s
        b"\x22\x00\x08\x00EHT-DATA"  # type 34, EHT, which isn't read
        b"\x0b\x00\x01\x00\x03\0\0\0",  # type 11, antenna
    )
    assert radio(make, header) == {"signal_dbm": -48, "rate_kbps": 6000, "antenna": 3}


def test_what_runs_over_the_header_is_not_there(make: SimpleNamespace) -> None:
    assert radio(make, make.radiotap(FLAGS | SIGNAL | TSFT, b"\0\0")) == {}
    assert radio(make, make.radiotap(RATE | SIGNAL, b"\x02")) == {"rate_kbps": 1000}
    assert radio(make, make.radiotap(MORE)) == {}


def test_of_another_version_only_the_length_is_believed(make: SimpleNamespace) -> None:
    assert radio(make, b"\x01" + make.radiotap(SIGNAL, b"\xd0")[1:]) == {}
    both = make.radiotap(SIGNAL | NEXT | VENDOR | MORE, b"\xd0", 0)
    assert radio(make, both) == {}  # as is a header that contradicts itself


def test_a_frame_starts_where_the_header_says_it_ends(make: SimpleNamespace) -> None:
    padded = make.radiotap(RATE, b"\x02" + b"\xee" * 9)
    assert radio(make, padded) == {"rate_kbps": 1000}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "radio_header_cut"),
        (b"\0\0\x08\0\0\0\0", "radio_header_cut"),
        (b"\0\0\x09\0\0\0\0\0", "radio_header_cut"),
        (b"\0\0\xff\xff\0\0\0\0" + b"x" * 50, "radio_header_cut"),
        (b"\0\0\x07\0\0\0\0\0\0\0\0", "radio_header_invalid"),
        (b"\0\0\x00\0\0\0\0\0\0\0\0", "radio_header_invalid"),
        (b"\0\0\x08\0\0\0\0\0", "no_frame_control"),
        (b"\0\0\x08\0\0\0\0\0\xd4", "no_frame_control"),
        (b"\0\0\x08\0\0\0\0\0\xd5\0\0\0", "protocol_version"),
        (b"\0\0\x09\0\x02\0\0\0\x50\xd4\0\0\0abcdefFCS!", "bad_fcs"),
    ],
)
def test_what_is_dropped_has_a_reason(make: SimpleNamespace, data: bytes, reason: str) -> None:
    assert make.dropped(data, 127) == {reason: 1}


def test_a_bad_fcs_is_kept_if_asked_for(make: SimpleNamespace) -> None:
    header = make.radiotap(FLAGS, b"\x50")
    assert radio(make, header, b"FCS!") == {"fcs_ok": False}


def test_the_fcs_isnt_counted_nor_read(make: SimpleNamespace) -> None:
    frame = make.beacon(make.element(0, b"x"))
    message = make.parse(make.radiotap(FLAGS, b"\x10") + frame + b"\x03\x01\x05\x00", 127)
    assert message["length"] == len(frame)
    assert message["elements"] == [0]


def test_a_frame_without_room_for_the_fcs_that_is_announced_has_none(make: SimpleNamespace) -> None:
    header = make.radiotap(FLAGS, b"\x10")
    assert make.parse(header + b"\xd4\0", 127)["length"] == 2
    assert make.parse(header + b"\xd4\0\0\0\0", 127)["length"] == 5


def test_long_radio_headers_take_no_memory(make: SimpleNamespace) -> None:
    """They may have 64 KiB, and be alike but for a signal."""
    parser = FrameParser(127, {})
    words = [MORE] * 4000
    tracemalloc.start()
    try:
        for signal in range(40):
            data = make.radiotap(SIGNAL | MORE, bytes((128 + signal,)), *words, 0) + make.ACK
            assert parser.parse([(0, data, len(data))])[0]["signal_dbm"] == signal - 128
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_the_pad_between_header_and_body(make: SimpleNamespace) -> None:
    """A QoS header of 26 bytes, padded to 28."""
    eapol = bytes.fromhex("aaaa03000000888e 0203005f 02 008a") + b"\0" * 93
    frame = make.mac(0x88, 0x01, b"\0\0" + b"\xee\xee" + eapol)
    assert make.parse(make.radiotap(FLAGS, b"\x20") + frame, 127)["eapol"] == 1
    assert make.parse(make.radiotap(FLAGS, b"\x00") + frame, 127)["eapol"] is None


def test_what_changes_from_frame_to_frame_is_no_part_of_the_key(make: SimpleNamespace) -> None:
    present = TSFT | FLAGS | SIGNAL | AMPDU | NEXT | MORE

    def header(tsft: int, signal: int, reference: int, antenna_signal: int) -> bytes:
        body = struct.pack("<QBbxxIHBBbB", tsft, 0x10, signal, reference, 0, 0, 0,
                           antenna_signal, 0)  # fmt: skip
        raw: bytes = make.radiotap(present, b"\0" * 4 + body, SIGNAL | ANTENNA)
        return raw + make.ACK

    layout = Layout(header(1, -40, 2, -50))
    assert layout.pick(header(1, -40, 2, -50)) == layout.pick(header(9, -40, 8, -77))
    assert layout.pick(header(1, -40, 2, -50)) != layout.pick(header(1, -41, 2, -50))


def test_another_structure_behind_the_same_eight_bytes_is_seen(make: SimpleNamespace) -> None:
    """Vendor data of another length moves what stands behind; present words may differ too."""
    from capture_agent.frame import FrameParser

    def vendor(skip: int) -> bytes:
        fields = b"\xd0\0\0\x11\x22\x01" + struct.pack("<H", skip) + b"\x77" * 8
        raw: bytes = make.radiotap(SIGNAL | VENDOR | MORE, fields, 0xFFF | NEXT | MORE, ANTENNA)
        return raw + make.ACK

    raws = [vendor(skip) for skip in (0, 1, 4, 0, 8, 7)]
    alone = [make.parse(raw, 127) for raw in raws]
    together = FrameParser(127, {}).parse([(0, raw, len(raw)) for raw in raws])
    for message, expected in zip(together, alone, strict=True):
        assert {name: message[name] for name in expected} == expected
    assert [message["antenna"] for message in together] == [0x77, 0x77, 0x77, 0x77, None, 0x77]


def test_a_layout_is_for_headers_only() -> None:
    with pytest.raises(HeaderError):
        Layout(b"\0\0\x08\0")
