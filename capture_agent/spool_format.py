"""How parcels lie on disk: segments of records, each with a CRC. Version 1.

A segment is a file `NNNNNNNNNN.spool` that is only appended to, numbers little-endian:

    header   "DSspool", version (1 byte), salt (4 bytes, random), CRC-32 of these 12 bytes
    record   D5 C0 FE 0B, length of the body (4), CRC-32 (4), body
    body     kind (1: its place in KINDS), partition (4, signed), frames (4), time it was taken in
             microseconds (8), sequence (8, -1: none), lengths of session (1), topic (2) and key
             (4, -1: none), then these three, then the message's value as it goes to the broker

A record's CRC (zlib's) begins with the salt and goes over length and body. The salt is there since
bodies hold what strangers sent: behind a damaged record the next is looked for by its first four
bytes, and nobody who doesn't know the salt can put a record inside another. Whatever is damaged,
what is given was written so.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from struct import Struct

from capture_agent.outbox import Parcel

VERSION = 1
KINDS = ("frames", "heartbeat", "event")

_MAGIC = b"DSspool"
_HEADER = Struct("<7sBII")
_MARK = b"\xd5\xc0\xfe\x0b"
_RECORD = Struct("<4sII")
_LENGTH = Struct("<I")
_BODY = Struct("<BiIqqBHi")
_MOST = 16 << 20  # bytes of a body: a batch has 800,000 at most, an event what a broker takes
_CHUNK = 1 << 16

START = _HEADER.size
"""Where the first record of a segment is."""


class SegmentError(Exception):
    """A segment's header can't be read; `foreign`: a later version may have written it."""

    def __init__(self, text: str, *, foreign: bool = False) -> None:
        super().__init__(text)
        self.foreign = foreign


@dataclass(frozen=True, slots=True)
class Found:
    """A record: where it begins, where the next may, and the parcel."""

    at: int
    next: int
    parcel: Parcel


def header(salt: int) -> bytes:
    """The beginning of a segment."""
    data = _HEADER.pack(_MAGIC, VERSION, salt, 0)[:-4]
    return data + _LENGTH.pack(zlib.crc32(data))


def read_header(file: int) -> int:
    """The salt of an open segment. Raises SegmentError, OSError."""
    data = os.pread(file, START, 0)
    if len(data) < START:
        raise SegmentError("it ends within its header")
    magic, version, salt, crc = _HEADER.unpack(data)
    if crc != zlib.crc32(data[:-4]) or magic != _MAGIC:
        raise SegmentError("its header is damaged")
    if version != VERSION:
        raise SegmentError(f"it has version {version}, not {VERSION}", foreign=True)
    return int(salt)


def pack(parcel: Parcel, salt: int) -> bytes:
    """A parcel as a record."""
    topic, session = parcel.topic.encode(), parcel.session.encode()
    key = parcel.key
    body = _BODY.pack(
        KINDS.index(parcel.kind),
        parcel.partition,
        parcel.frames,
        parcel.time,
        parcel.sequence,
        len(session),
        len(topic),
        -1 if key is None else len(key),
    ) + b"".join((session, topic, key or b"", parcel.value))
    return _RECORD.pack(_MARK, len(body), _crc(body, salt)) + body


def find(file: int, at: int, end: int, salt: int) -> Found | None:
    """The first whole record at `at` or behind it, before `end`; what is damaged is passed over."""
    try:
        while at + _RECORD.size <= end:
            found = _read(file, at, end, salt)
            if found is not None:
                return found
            at = _next_mark(file, at + 1, end)
    except OSError:  # a bad sector: the rest of the segment is damaged
        pass
    return None


def _read(file: int, at: int, end: int, salt: int) -> Found | None:
    head = os.pread(file, _RECORD.size, at)
    if len(head) < _RECORD.size or head[:4] != _MARK:
        return None
    _, length, crc = _RECORD.unpack(head)
    begin = at + _RECORD.size
    if length > min(_MOST, end - begin) or length < _BODY.size:
        return None
    body = os.pread(file, length, begin)
    if len(body) < length or _crc(body, salt) != crc:
        return None
    return Found(at, begin + length, _unpack(body))


def _unpack(body: bytes) -> Parcel:
    """The CRC was right: this is what `pack` made."""
    kind, partition, frames, time, sequence, of_session, of_topic, of_key = _BODY.unpack_from(body)
    session_end = _BODY.size + of_session
    topic_end = session_end + of_topic
    key_end = topic_end + max(0, of_key)
    return Parcel(
        body[session_end:topic_end].decode(),
        partition,
        body[key_end:],
        KINDS[kind],
        frames,
        None if of_key < 0 else body[topic_end:key_end],
        body[_BODY.size : session_end].decode(),
        sequence,
        time,
    )


def _crc(body: bytes, salt: int) -> int:
    return zlib.crc32(body, zlib.crc32(_LENGTH.pack(len(body)), salt))


def _next_mark(file: int, at: int, end: int) -> int:
    """Where a record may begin, at `at` or behind it; `end` if nowhere."""
    while at < end:
        chunk = os.pread(file, min(_CHUNK, end - at), at)
        place = chunk.find(_MARK)
        if place >= 0:
            return at + place
        if len(chunk) < len(_MARK):
            break
        at += len(chunk) - len(_MARK) + 1
    return end
