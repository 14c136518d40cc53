"""What must hold for any bytes: shared by the mutation test, the replay of the corpus, atheris."""

from __future__ import annotations

import io
from typing import Any

from capture_agent.capture_file import CaptureError, open_capture
from capture_agent.frame import FrameParser
from datastalker.message import FRAME_FIELDS, KIND_NAMES, Message

LINK_TYPES = (127, 105, 192, 119, 163, 113, 276, 1)
_ADDRESSES = ("ra", "ta", "sa", "da", "bssid")
_RANGES = {
    "seq": 4096, "frag": 16, "tid": 16, "duration": 1 << 15, "reason": 1 << 16, "status": 1 << 16,
    "beacon_interval": 1 << 16, "tsf": 1 << 64, "freq_mhz": 1 << 32, "channel": 256,
    "bss_channel": 256,
}  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int, "boolean": bool, "text": str, "address": str, "kind": str,
    "strings": list, "integers": list,
}  # fmt: skip

SHARED = {link_type: FrameParser(link_type, {}, True) for link_type in LINK_TYPES}
"""Parsers that remember: a frame must give the same with them as with new ones."""


def check_frame(
    data: bytes, link_type: int = 127, wire_length: int | None = None
) -> Message | None:
    """Parse and check: no exception, no value that isn't in the bytes."""
    wire_length = len(data) if wire_length is None else wire_length
    messages = SHARED[link_type].parse([(1, data, wire_length)])
    assert len(messages) <= 1
    if not messages:
        return None
    message = messages[0]
    for name, value in message.items():
        if name == "type":
            continue
        field = FRAME_FIELDS[name]
        assert value is not None, name
        assert isinstance(value, _TYPES[field.type]), (name, value)
        if name in _RANGES:
            assert 0 <= value < _RANGES[name], (name, value)
    assert message["kind"] in KIND_NAMES
    for name in _ADDRESSES:
        if message[name] is not None:
            assert bytes.fromhex(message[name].replace(":", "")) in data, name
    ssid = message["ssid"]
    if ssid is not None:
        raw = bytes.fromhex(message["ssid_hex"]) if message["ssid_hex"] else ssid.encode()
        assert raw in data
    for name in ("reason", "status", "beacon_interval"):
        if message[name] is not None:
            assert message[name].to_bytes(2, "little") in data, name
    if message["tsf"] is not None:
        assert message["tsf"].to_bytes(8, "little") in data
    for name in ("elements", "extensions"):
        assert set(message[name] or ()) <= set(data), name
    return message


def check_memory(data: bytes, link_type: int = 127, wire_length: int | None = None) -> None:
    """A parser that remembers gives what a new one gives."""
    wire_length = len(data) if wire_length is None else wire_length
    record = (1, data, wire_length)
    again = SHARED[link_type].parse([record])
    assert again == FrameParser(link_type, {}, True).parse([record])


def check_cut(data: bytes, size: int, link_type: int = 127) -> None:
    """What is read from the front of a frame doesn't depend on what would be behind it."""
    front = check_frame(data[:size], link_type, len(data))
    if front is None:
        return
    for fill in (b"\0", b"\xff"):
        whole = check_frame(data[:size] + fill * (len(data) - size), link_type)
        assert whole is not None
        for name, value in front.items():
            if name in ("elements", "extensions"):
                assert whole[name][: len(value)] == value, name
            elif name not in _MAY_GROW:
                # Behind a QoS Control field that was cut off there may have been an A-MSDU.
                may_differ = name in ("sa", "da") and "tid" in whole and "tid" not in front
                assert whole[name] == value or may_differ, name


# Lists of which more may come, and what they decide.
_MAY_GROW = frozenset(
    ("security", "rates_kbps", "bss_channel", "akms", "pairwise_ciphers", "group_cipher", "pmf")
)


def check_file(raw: bytes, piece: int = 0) -> int:
    """Read as a capture file, `piece` bytes at once: only CaptureError may come out of it."""
    stream: Any = io.BytesIO(raw)
    if piece:
        stream = _Pieces(raw, piece)
    count = 0
    try:
        for interface, records in open_capture(stream, "fuzz"):
            for time, data, wire_length in records:
                assert isinstance(time, int)
                assert wire_length >= 0
                assert data in raw or raw[:2] == b"\x1f\x8b"
                if interface.link_type in SHARED:
                    check_frame(data, interface.link_type, wire_length)
                count += 1
    except CaptureError:
        pass
    return count


class _Pieces:
    def __init__(self, raw: bytes, piece: int) -> None:
        self._raw, self._piece = raw, piece

    def read(self, size: int) -> bytes:
        out, self._raw = self._raw[: self._piece], self._raw[self._piece :]
        return out


def check_input(raw: bytes) -> None:
    """One input of the fuzzer: its first byte says what it is."""
    if not raw:
        return
    kind, data = raw[0], raw[1:]
    if kind < 0x80:
        link_type = LINK_TYPES[kind % len(LINK_TYPES)]
        check_frame(data, link_type)
        check_memory(data, link_type)
        check_cut(data, len(data) * kind // 0x80, link_type)
    else:
        check_file(data, kind & 0x0F)
