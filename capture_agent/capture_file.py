"""Capture files: pcap and pcapng, plain or gzipped, from a file or a pipe, told by their magic.

    capture = open_capture(stream, "home.pcap")     # raises CaptureError
    for interface, records in capture:              # as they arrive, never waiting for more
        for timestamp, data, wire_length in records: ...
    capture.warning                                 # None, or what was wrong with its end
    capture.unread                                  # bytes that it was given and left out by that

A record is (microseconds since 1970, the bytes captured, the length it had on the air). A file
that was cut short or is damaged gives every whole record before that place and says so in
`warning`. A length in the file is believed only up to MAX_RECORD, so none makes us allocate.

Formats: draft-ietf-opsawg-pcap; the "modified" pcap of old Linux (24-byte record headers);
draft-ietf-opsawg-pcapng (see pcapng); gzip, RFC 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, Protocol

from datastalker.errors import InputError

Record = tuple[int, bytes, int]
Read = Callable[[int], bytes | None]
"""Gives what is there, about so many bytes; None if there is nothing now, empty at the end."""

CHUNK = 1 << 15
"""Bytes asked for at once; a pipe gives what it has."""
MAX_RECORD = 1 << 18
"""The longest record that is believed, as Wireshark's WTAP_MAX_PACKET_SIZE_STANDARD."""


class CaptureError(InputError):
    """A file is no capture that can be read. Says which, what was found, and the remedy."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Where records were captured: link type (a number of tcpdump.org/linktypes), name if known.

    `fcs_length` is how many bytes of frame check sequence the file says its records end with.
    """

    link_type: int
    name: str | None = None
    fcs_length: int = 0


class Stream(Protocol):
    """What can be read from. `read1` is taken instead of `read` where there is one."""

    def read(self, size: int, /) -> bytes | None: ...


class Capture(Protocol):
    """An open capture: iterate once over batches of records of one interface.

    A batch is empty where the stream said that there is nothing now. `packed`: `unread` are bytes
    as they are unpacked.
    """

    warning: str | None
    unread: int
    packed: bool

    def __iter__(self) -> Iterator[tuple[Interface, list[Record]]]: ...


_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc FILE | stalk ... -"),
    (b"\xfd7zXZ", "xz", "xz -dc FILE | stalk ... -"),
    (b"BZh", "bzip2", "bzip2 -dc FILE | stalk ... -"),
    (b"\x04\x22\x4d\x18", "LZ4", "lz4 -dc FILE | stalk ... -"),
    (b"PK\x03\x04", "a ZIP archive", "unzip it first"),
    (b"snoop\0", "a snoop capture", "editcap -F pcapng FILE OUT"),
    (b"RTSS", "a NetMon capture", "editcap -F pcapng FILE OUT"),
    (b"GMBU", "a NetMon capture", "editcap -F pcapng FILE OUT"),
    (b"\x7fver", "an OmniPeek capture", "editcap -F pcapng FILE OUT"),
    (b"SQLite format 3", "an SQLite file (Kismet?)", "kismetdb_to_pcap --in FILE --out OUT"),
)  # fmt: skip


def open_capture(stream: Stream, name: str) -> Capture:
    """Look at the first bytes and give the reader for them.

    A `stream` without `read1` needs a `read` that gives what is there (unbuffered).
    Raises CaptureError, which names the file, what was found and what to do.
    """
    from capture_agent.pcapng import PcapngFile

    source = _Source(getattr(stream, "read1", stream.read))
    start = _peek(source, name)
    packed = start[:2] == b"\x1f\x8b"
    if packed:
        source = _Source(_Gunzip(source.read).read)
        start = _peek(source, name)
    if not start:
        raise CaptureError(f"{name} is empty: nothing was captured, or the copy is not complete")
    variant = _PCAP_MAGIC.get(start[:4])
    if variant is not None:
        return PcapFile(source.read, name, *variant, packed=packed)
    if start[:4] == b"\x0a\x0d\x0d\x0a":
        return PcapngFile(source.read, name, packed=packed)
    for magic, what, remedy in _FOREIGN:
        if start.startswith(magic[:6]):
            raise CaptureError(f"{name} is {what}, not pcap or pcapng; try: {remedy}")
    raise CaptureError(
        f"{name} is no capture file: it starts with {start[:4].hex(' ')}, which is neither pcap nor "
        "pcapng; `capinfos` may know it, and editcap -F pcapng converts what Wireshark reads"
    )


def _peek(source: _Source, name: str) -> bytes:
    try:
        return source.peek(6)
    except OSError as error:
        raise CaptureError(f"can't read {name}: {error.strerror}") from error
    except zlib.error as error:
        raise CaptureError(f"{name} is a damaged gzip file ({error}); copy it again") from error


class _Source:
    """A `read` that can also look ahead."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        while len(self._ahead) < size:
            more = self._read(CHUNK)
            if more is not None:
                self._ahead += more
                if not more:
                    break
        return self._ahead[:size]

    def read(self, size: int) -> bytes | None:
        """As Read."""
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        return self._read(size)


class _Gunzip:
    """gzip members, one after the other, unpacked as they arrive and never more than a chunk."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._inflate = zlib.decompressobj(31)
        self._pending = b""

    def read(self, size: int) -> bytes | None:
        """As Read; at most `size` bytes. Empty also where the file was cut short."""
        while True:
            packed = self._pending or self._read(CHUNK)
            if packed is None:
                return None
            if self._inflate.eof:
                packed = packed.lstrip(b"\0")  # gzip may be padded with zeros
                if not packed:
                    if self._pending:
                        self._pending = b""
                        continue
                    return b""
                self._inflate = zlib.decompressobj(31)
            unpacked = self._inflate.decompress(packed, size)
            self._pending = self._inflate.unconsumed_tail or self._inflate.unused_data
            if unpacked or not packed:
                return unpacked


_PCAP_MAGIC: dict[bytes, tuple[str, int, int]] = {
    bytes.fromhex("a1b2c3d4"): (">", 1, 16),
    bytes.fromhex("d4c3b2a1"): ("<", 1, 16),
    bytes.fromhex("a1b23c4d"): (">", 1000, 16),
    bytes.fromhex("4d3cb2a1"): ("<", 1000, 16),
    bytes.fromhex("a1b2cd34"): (">", 1, 24),
    bytes.fromhex("34cdb2a1"): ("<", 1, 24),
}
"""Magic: byte order, ticks in a microsecond, bytes of a record header."""


class PcapFile:
    """A pcap file. Raises CaptureError where its 24-byte header is not whole."""

    def __init__(
        self, read: Read, name: str, order: str, ticks: int, header: int, *, packed: bool
    ) -> None:
        self.warning: str | None = None
        self.unread, self.packed = 0, packed
        self._read, self._name = read, name
        self._order, self._ticks, self._header = order, ticks, header
        self._buffer = b""
        while len(self._buffer) < 24:
            more = read(CHUNK)
            if more is not None:
                if not more:
                    raise CaptureError(f"{name} was cut short inside its header; copy it again")
                self._buffer += more
        network: int = Struct(order + "I").unpack_from(self._buffer, 20)[0]
        # The upper bits tell the FCS: length present (bit 26), in 16-bit units (bits 28 to 31).
        fcs_length = (network >> 28) * 2 if network & 0x0400_0000 else 0
        self.interface = Interface(network & 0xFFFF, None, fcs_length)

    def __iter__(self) -> Iterator[tuple[Interface, list[Record]]]:
        # Fractions are read as signed: old airodump-ng wrote -14 us as 0xfffffff2.
        unpack = Struct(self._order + "IiII").unpack_from
        ticks, header, interface, read = self._ticks, self._header, self.interface, self._read
        buffer, offset, number = self._buffer, 24, 0
        damage = False
        while True:
            records: list[Record] = []
            append: Callable[[Any], None] = records.append
            size = len(buffer)
            last = size - header
            while offset <= last:
                seconds, fraction, captured, wire_length = unpack(buffer, offset)
                start = offset + header
                stop = start + captured
                if stop > size or captured > MAX_RECORD:
                    damage = captured > MAX_RECORD
                    break
                if ticks != 1:
                    fraction //= ticks
                append((seconds * 1_000_000 + fraction, buffer[start:stop], wire_length))
                offset = stop
            if records:
                number += len(records)
                yield interface, records
            if damage:
                self.unread = size - offset
                self.warning = (
                    f"{self._name} is damaged after record {number}: the next says it has "
                    f"{captured} bytes; what comes after is left out"
                )
                return
            try:
                more = read(CHUNK)
            except (zlib.error, EOFError, OSError) as error:
                self.unread = size - offset
                self.warning = f"{self._name}: reading failed after record {number}: {error}"
                return
            if more is None:
                yield interface, []
                continue
            if not more:
                if offset < size:
                    self.unread = size - offset
                    self.warning = f"{self._name} was cut short inside record {number + 1}"
                return
            buffer = buffer[offset:] + more
            offset = 0
