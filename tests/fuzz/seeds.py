"""Synthetic frames and capture files, made from the standard's tables: a start for fuzzing."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from types import ModuleType


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem + "_for_seeds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _load(Path(__file__).parents[1] / "capture" / "conftest.py")


def bodies() -> list[bytes]:
    """Lists of elements."""
    rsn = bytes.fromhex("0100000fac040200000fac04000fac020200000fac02000fac088000")
    wpa = bytes.fromhex("0050f20101000050f20201000050f20201000050f202")
    wps = bytes.fromhex("0050f204104a0001101044000102102100044163 6d65104700100001020304050607"
                        "08090a0b0c0d0e0f")  # fmt: skip
    element = make.element
    common = element(0, b"seed") + element(1, b"\x82\x84\x8b\x96") + element(3, b"\x06")
    return [
        common,
        common + element(5, b"\0\1\0\0") + element(48, rsn) + element(221, wpa),
        common + element(7, b"DE \1\x0d\x14") + element(45, b"\1" * 26) + element(61, b"\6" * 22),
        common + element(221, wps) + element(191, b"\2" * 12) + element(11, b"\0\1\2\3\4"),
        element(0) + element(255, bytes.fromhex("24000002000000250000000000")),
        common + element(255, b"\x23" + b"\0" * 20) + element(255, b"\x6c" + b"\0" * 9),
        element(0, b"\0\0\0") + element(71, b"\4" + element(0, element(0, b"in"))),
    ]


def frames() -> list[bytes]:
    """802.11 frames: every type and subtype, and management frames with bodies."""
    eapol = bytes.fromhex("aaaa03000000888e 0103005f 02 010a") + b"\0" * 90 + b"\0\0"
    out = [
        make.mac(frame_type << 2 | subtype << 4, flags, make.A4 + b"\x05\0" + b"\x11" * 12)
        for frame_type in range(4)
        for subtype in range(16)
        for flags in (0, 3)
    ]
    out += [make.mac(0x08, 1, eapol), make.mac(0x88, 2, b"\6\0" + eapol)]
    out += [make.beacon(body, True) for body in bodies()]
    out += [make.mac(0x40, 0, body) for body in bodies()]
    out += [make.mac(control, 0, b"\x31\4\1\0\0\0" + bodies()[1]) for control in (0x00, 0x10, 0x30)]
    out += [make.mac(0x20, 0, b"\x31\4\1\0" + make.A1 + bodies()[1])]
    out += [make.mac(control, 0, b"\7\0" + make.element(221, b"abcd")) for control in (0xA0, 0xC0)]
    out += [make.mac(0xB0, 0, struct.pack("<HHH", algorithm, 1, 0) + b"\x13\0" + b"\5" * 96)
            for algorithm in (0, 1, 2, 3, 5)]  # fmt: skip
    out += [
        make.mac(0xD0, 0, bytes([category, action]) + b"\1" * 12 + make.element(52, b"\2" * 13))
        for category in range(32)
        for action in (0, 7, 8, 10)
    ]
    return out


def headers() -> dict[int, list[bytes]]:
    """Radio headers by link type."""
    tap = make.radiotap
    he = struct.pack("<6H", 0x4020, 2, 0x500, 0, 0x12, 2)
    vht = struct.pack("<HBBBBBBBBH", 0x44, 4, 4, 0x92, 0, 0, 0, 0, 0, 0)
    more = 0xA000_0000
    common = struct.pack("<HHQHHHHBBbb", 2, 20, 7, 0, 12, 2437, 0, 0, 0, -50, -90)
    prism = struct.pack("<II16s", 0x44, 144, b"wlan0") + b"".join(
        struct.pack("<IHHi", number << 16 | 0x44, 0, 4, 5) for number in range(1, 11)
    )
    avs = struct.pack(">IIQQ6I2iII", 0x80211001, 64, 1, 2, 6, 11, 540, 1, 0, 2, -47, -90, 0, 0)
    cooked = struct.pack(">HHH8sH", 0, 803, 6, b"", 0)
    first = tap(0x2F, b"\1" * 8 + b"\0\x0c\x6c\x09\xa0\0\xc4")
    return {
        127: [
            tap(0),
            first,
            tap(0x20 | more, b"\xd0\xe0\x00", 0x820),
            tap(0x80000, b"\7\4\7"),
            tap(0x200000, vht),
            tap(0x800000, he),
            tap(0x40000, struct.pack("<IHBB", 0, 5500, 100, 0)),
            tap(0x1000_0020, b"\xd0\0\0\0\2\0\1\0\x0c\0\0\0"),
            tap(0x20 | 0xC000_0000, b"\xd0\0\0\x11\x22\1\2\0ab\5", 0xFFF | more, 0x800),
        ],
        105: [b""],
        192: [struct.pack("<BBHI", 0, 0, 32, 105) + common],
        119: [prism, avs],
        163: [avs],
        113: [cooked + first],
        276: [struct.pack(">HHIHBB8s", 0, 0, 3, 801, 0, 6, b"")],
        1: [b""],
    }


def files() -> list[bytes]:
    """Capture files of every form."""
    ack = make.ACK
    ng = make.section() + make.interface(105, make.option(9, b"\x09") + make.option(2, b"mon0"))
    return [
        *(make.pcap([(1, 2, ack), (3, 4, ack)], 105, order, magic)
          for order in "<>" for magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)),
        ng + make.enhanced(0, 5, ack) + make.block(3, struct.pack("<I", 10) + ack),
        ng + make.block(2, struct.pack("<HHIIII", 0, 0, 0, 9, 10, 10) + ack) + make.section(">")
        + make.interface(105, order=">") + make.enhanced(0, 5, ack, ">"),
    ]  # fmt: skip
