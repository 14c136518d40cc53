"""Link types other than radiotap, from bytes."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest


def prism(order: str, msgcode: int = 0x44, **items: int) -> bytes:
    """The header of wlan-ng, 144 bytes; an item that isn't supplied is all zero."""
    numbers = {"channel": 3, "rssi": 4, "signal": 6, "noise": 7, "rate": 8}
    out = struct.pack(order + "II16s", msgcode, 144, b"wlan0")
    for number in range(1, 11):
        name = next((name for name, value in numbers.items() if value == number), "")
        if name in items:
            out += struct.pack(order + "IHHi", number << 16 | msgcode, 0, 4, items[name])
        else:
            out += b"\0" * 12
    return out


def avs(**values: int) -> bytes:
    """Version 1, 64 bytes, big-endian."""
    names = ("phy", "channel", "rate", "antenna", "priority", "type", "signal", "noise")
    fields = [values.get(name, 0) for name in names]
    return struct.pack(">IIQQ6I2iII", 0x80211001, 64, 1, 2, *fields, 0, 0)


def ppi(*fields: bytes, flags: int = 0, inner: int = 105) -> bytes:
    body = b"".join(fields)
    return struct.pack("<BBHI", 0, flags, 8 + len(body), inner) + body


def common(flags: int = 1, rate: int = 12, freq: int = 2437, signal: int = -50) -> bytes:
    """802.11-Common: type 2, 20 bytes."""
    values = struct.pack("<QHHHHBBbb", 7, flags, rate, freq, 0, 0, 0, signal, -90)
    return struct.pack("<HH", 2, 20) + values


def test_bare_802_11_has_no_radio_keys(make: SimpleNamespace) -> None:
    message = make.parse(make.ACK, 105)
    assert message["ra"] == make.A1.hex(":")
    assert message["length"] == 10
    assert message["signal_dbm"] is None
    assert message["fcs_ok"] is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("msgcode", [0x44, 0x41])
def test_prism_in_the_byte_order_of_its_host(
    make: SimpleNamespace, order: str, msgcode: int
) -> None:
    header = prism(order, msgcode, channel=10, rssi=-31, signal=52, noise=-95, rate=2)
    message = make.parse(header + make.ACK, 119)
    assert message["signal_dbm"] == 52  # of the signal item, though it isn't dBm here
    assert message["noise_dbm"] == -95
    assert message["channel"] == 10
    assert message["freq_mhz"] is None
    assert message["rate_kbps"] == 1000
    assert message["length"] == 10


def test_prism_items_that_are_not_supplied(make: SimpleNamespace) -> None:
    message = make.parse(prism("<", channel=1) + make.ACK, 119)
    assert message["signal_dbm"] is None
    assert message["rate_kbps"] is None


@pytest.mark.parametrize("link_type", [163, 119])
def test_avs_alone_and_under_the_link_type_of_prism(make: SimpleNamespace, link_type: int) -> None:
    header = avs(phy=6, channel=11, rate=540, antenna=1, type=2, signal=-47, noise=-90)
    message = make.parse(header + make.ACK, link_type)
    assert message["signal_dbm"] == -47
    assert message["noise_dbm"] == -90
    assert message["channel"] == 11
    assert message["freq_mhz"] == 2462
    assert message["rate_kbps"] == 54_000
    assert message["antenna"] == 1


@pytest.mark.parametrize(
    ("channel", "phy", "freq", "number"),
    [(36, 8, 5180, 36), (2437, 6, 2437, 6), (5_180_000, 8, 5180, 36), (0, 6, None, None)],
)
def test_avs_tells_channel_or_frequency(
    make: SimpleNamespace, channel: int, phy: int, freq: int | None, number: int | None
) -> None:
    message = make.parse(avs(phy=phy, channel=channel) + make.ACK, 163)
    assert (message["freq_mhz"], message["channel"]) == (freq, number)


def test_ppi_common_field(make: SimpleNamespace) -> None:
    message = make.parse(ppi(common()) + make.ACK + b"FCS!", 192)
    assert message["signal_dbm"] == -50
    assert message["noise_dbm"] == -90
    assert message["freq_mhz"] == 2437
    assert message["channel"] == 6
    assert message["rate_kbps"] == 6000
    assert message["fcs_ok"] is True
    assert message["length"] == 10


def test_ppi_fields_may_be_aligned(make: SimpleNamespace) -> None:
    odd = struct.pack("<HH", 0xCACE, 5) + b"12345"
    aligned = ppi(odd + b"\0\0\0", common(), flags=1)
    assert make.parse(aligned + make.ACK + b"FCS!", 192)["signal_dbm"] == -50
    assert make.parse(ppi(odd, common()) + make.ACK + b"FCS!", 192)["signal_dbm"] == -50


def test_ppi_with_an_invalid_fcs_is_dropped(make: SimpleNamespace) -> None:
    for flags, fcs in ((0x5, b"FCS!"), (0x4, b"")):
        frame = ppi(common(flags)) + make.ACK + fcs
        assert make.dropped(frame, 192) == {"bad_fcs": 1}
        message = make.parse(frame, 192, keep_bad_fcs=True)
        assert (message["fcs_ok"], message["length"]) == (False, 10)


@pytest.mark.parametrize("signal", [0, -128])
def test_ppi_signals_that_are_none(make: SimpleNamespace, signal: int) -> None:
    message = make.parse(ppi(common(0, signal=signal)) + make.ACK, 192)
    assert message["signal_dbm"] is None
    assert message["noise_dbm"] == -90


def test_ppi_around_something_else_is_no_frame(make: SimpleNamespace) -> None:
    assert make.dropped(ppi(inner=1) + b"\0" * 60, 192) == {"link_type": 1}


def test_ppi_around_radiotap(make: SimpleNamespace) -> None:
    message = make.parse(ppi(inner=127) + make.radiotap(1 << 5, b"\xd0") + make.ACK, 192)
    assert message["signal_dbm"] == -48


@pytest.mark.parametrize(
    ("device", "header"), [(801, b""), (803, bytes.fromhex("0000090020000000d0"))]
)
def test_linux_cooked_with_an_802_11_device(
    make: SimpleNamespace, device: int, header: bytes
) -> None:
    cooked = struct.pack(">HHH8sH", 0, device, 6, b"", 0)
    assert make.parse(cooked + header + make.ACK, 113)["ra"] == make.A1.hex(":")
    cooked2 = struct.pack(">HHIHBB8s", 0, 0, 3, device, 0, 6, b"")
    message = make.parse(cooked2 + header + make.ACK, 276)
    assert message["ra"] == make.A1.hex(":")
    assert message["signal_dbm"] == (-48 if header else None)


def test_linux_cooked_with_another_device_is_no_frame(make: SimpleNamespace) -> None:
    assert make.dropped(struct.pack(">HHH8sH", 0, 1, 6, b"", 0) + b"x" * 40, 113) == {
        "link_type": 1
    }


@pytest.mark.parametrize("link_type", [113, 119, 127, 163, 192, 276])
def test_a_header_that_was_cut_is_dropped(make: SimpleNamespace, link_type: int) -> None:
    for size in range(8):
        assert sum(make.dropped(b"\0" * size, link_type).values()) == 1


def test_a_link_type_without_802_11(make: SimpleNamespace) -> None:
    assert make.dropped(b"\0" * 60, 1) == {"link_type": 1}
