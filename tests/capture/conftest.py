"""Captures and frames made byte by byte, for tests that run everywhere."""

from __future__ import annotations

import io
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from capture_agent.capture_file import open_capture
from capture_agent.frame import FrameParser
from datastalker.message import Message

A1 = bytes.fromhex("02aaaaaaaa01")
A2 = bytes.fromhex("02bbbbbbbb02")
A3 = bytes.fromhex("02cccccccc03")
A4 = bytes.fromhex("02dddddddd04")
ACK = bytes.fromhex("d400 0000") + A1


def mac(control: int, flags: int = 0, body: bytes = b"", duration: int = 0x2C) -> bytes:
    """A frame with three addresses, sequence number 171 and fragment 5."""
    header = struct.pack("<BBH", control, flags, duration) + A1 + A2 + A3
    return header + struct.pack("<H", 171 << 4 | 5) + body


def element(number: int, value: bytes = b"") -> bytes:
    return bytes([number, len(value)]) + value


def beacon(elements: bytes, privacy: bool = False) -> bytes:
    fixed = struct.pack("<QHH", 123456789, 100, 0x11 if privacy else 0x01)
    return mac(0x80, body=fixed + elements)


def radiotap(present: int, fields: bytes = b"", *more: int) -> bytes:
    words = struct.pack(f"<{1 + len(more)}I", present, *more)
    return struct.pack("<BBH", 0, 0, 4 + len(words) + len(fields)) + words + fields


def pcap(
    records: list[tuple[int, int, bytes]],
    link_type: int = 127,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
) -> bytes:
    """Records of (seconds, fraction, data)."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for seconds, fraction, data in records:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), len(data))
        out += b"\0" * 8 if magic == 0xA1B2CD34 else b""
        out += data
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 127, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, 0) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def enhanced(index: int, ticks: int, data: bytes, order: str = "<") -> bytes:
    head = struct.pack(
        order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    )
    return block(6, head + data, order)


def read(raw: bytes, piece: int | None = None) -> tuple[list[tuple[Any, ...]], str | None]:
    """(interface, time, data, wire length) of each record, and the warning. `piece`: how many
    bytes the stream gives at once."""

    class Pieces(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            size = min(size, piece) if piece else size
            out = raw[self.at : self.at + size]
            self.at += len(out)
            return out

    capture = open_capture(Pieces(), "test.pcap")
    found = [(who, *record) for who, records in capture for record in records]
    return found, capture.warning


def parse(
    data: bytes, link_type: int = 105, wire_length: int = 0, **options: Any
) -> Message | None:
    """The message of one frame, without what it has from its record."""
    parser = FrameParser(link_type, {}, **options)
    messages = parser.parse([(0, data, wire_length or len(data))])
    if not messages:
        assert sum(parser.dropped.values()) == 1
        return None
    message = messages[0]
    assert parser.parse([(0, data, wire_length or len(data))]) == messages  # from memory
    for name in ("type", "timestamp", "id"):
        del message[name]
    return message


def dropped(data: bytes, link_type: int = 105, **options: Any) -> dict[str, int]:
    parser = FrameParser(link_type, {}, **options)
    assert parser.parse([(0, data, len(data))]) == []
    return parser.dropped


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    names = dict(globals())
    return SimpleNamespace(**{name: names[name] for name in names if not name.startswith("_")})
