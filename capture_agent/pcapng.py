"""pcapng: draft-ietf-opsawg-pcapng.

Several sections, each in its own byte order, each with its own interfaces; Enhanced, Simple and
the obsolete Packet Blocks; any if_tsresol and if_tsoffset. Every other block is skipped without
being kept. A Simple Packet Block has no time: 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct, unpack_from

from capture_agent.capture_file import CHUNK, MAX_RECORD, Interface, Read, Record

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_KEPT = frozenset((_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED))
_MAX_BLOCK = MAX_RECORD + (1 << 16)

UNKNOWN = Interface(-1)
"""For records of an interface that the file never described."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """How an interface's ticks become microseconds: ticks * up // down + offset."""

    up: int = 1
    down: int = 1
    offset: int = 0


class _DamageError(Exception):
    pass


class PcapngFile:
    """A pcapng file, read once from the start."""

    def __init__(self, read: Read, name: str, *, packed: bool) -> None:
        self.warning: str | None = None
        self.unread, self.packed = 0, packed
        self._read, self._name = read, name

    def __iter__(self) -> Iterator[tuple[Interface, list[Record]]]:
        walker = _Walker()
        buffer = b""
        while True:
            try:
                more = self._read(CHUNK)
                problem = None
            except (zlib.error, EOFError, OSError) as error:
                more, problem = b"", f"reading failed: {error}"
            if more is None:
                yield UNKNOWN, []
                continue
            given = more
            try:
                if more:
                    buffer = walker.feed(buffer + more if buffer else more)
            except _DamageError as error:
                problem, more = f"it is damaged: {error}; what comes after is left out", b""
                self.unread = len(buffer) + len(given) - walker.offset
            yield from walker.take()
            if not more:
                if problem is None and (buffer or walker.skipping):
                    problem = "it was cut short, or is damaged, inside a block"
                    self.unread = len(buffer) or walker.length - walker.skipping
                if problem is not None:
                    self.warning = f"{self._name}: {problem} (after record {walker.number})"
                return


class _Walker:
    """The state of a pcapng file between two reads."""

    def __init__(self) -> None:
        self.number = 0
        self.skipping = self.length = 0
        """What is still to come of a block that nobody needs, and how long it says it is."""
        self.offset = 0
        """Where in what it was fed last the damage is."""
        self._order = "<"
        self._interfaces: list[tuple[Interface, _Clock, int]] = []
        self._done: list[tuple[Interface, list[Record]]] = []
        self._current: Interface | None = None
        self._records: list[Record] = []

    def take(self) -> list[tuple[Interface, list[Record]]]:
        """The batches since the last call."""
        self._turn(None)
        done, self._done = self._done, []
        return done

    def _turn(self, interface: Interface | None) -> Callable[[Record], None]:
        if self._records and self._current is not None:
            self._done.append((self._current, self._records))
            self.number += len(self._records)
        self._records = []
        self._current = interface
        return self._records.append

    def feed(self, buffer: bytes) -> bytes:
        """Read all whole blocks; gives what is left over. Raises _DamageError."""
        offset, size = min(self.skipping, len(buffer)), len(buffer)
        self.skipping -= offset
        header, enhanced = Struct(self._order + "II"), Struct(self._order + "IIIII")
        interfaces, current = self._interfaces, -1
        append = self._records.append
        up = down = 1
        shift = 0
        try:
            while offset + 12 <= size:
                kind, length = header.unpack_from(buffer, offset)
                if kind == _SECTION:
                    header, enhanced = self._byte_order(buffer, offset)
                    kind, length = header.unpack_from(buffer, offset)
                length = (length + 3) & ~3
                stop = offset + length
                if length < 12 or (kind in _KEPT and length > _MAX_BLOCK):
                    raise _DamageError(f"a block of type {kind:#x} says it has {length} bytes")
                if stop > size:
                    if kind in _KEPT:
                        break
                    self.skipping, self.length = stop - size, length
                    return b""
                if kind == _ENHANCED and length >= 32:
                    index, high, low, captured, wire_length = enhanced.unpack_from(
                        buffer, offset + 8
                    )
                    if captured > length - 32:
                        raise _DamageError(f"{captured} bytes in a packet block of {length}")
                    if index != current:
                        append, clock = self._switch(index)
                        up, down, shift, current = clock.up, clock.down, clock.offset, index
                    ticks = high << 32 | low
                    append((ticks * up // down + shift,
                            buffer[offset + 28 : offset + 28 + captured], wire_length))  # fmt: skip
                elif kind == _SECTION:
                    interfaces.clear()
                    current = -1
                elif kind == _INTERFACE and length >= 20:
                    interfaces.append(self._describe(buffer[offset:stop]))
                elif kind in (_SIMPLE, _PACKET):
                    index, record = self._other_packet(kind, buffer[offset:stop])
                    append, clock = self._switch(index)
                    append((record[0] * clock.up // clock.down + clock.offset if kind == _PACKET else 0,
                            record[1], record[2]))  # fmt: skip
                    current = -1
                offset = stop
        except _DamageError:
            self.offset = offset
            raise
        return buffer[offset:]

    def _byte_order(self, buffer: bytes, offset: int) -> tuple[Struct, Struct]:
        magic = buffer[offset + 8 : offset + 12]
        if magic == b"\x1a\x2b\x3c\x4d":
            self._order = ">"
        elif magic == b"\x4d\x3c\x2b\x1a":
            self._order = "<"
        else:
            raise _DamageError(f"a section with the byte-order magic {magic.hex()}")
        return Struct(self._order + "II"), Struct(self._order + "IIIII")

    def _switch(self, index: int) -> tuple[Callable[[Record], None], _Clock]:
        interface, clock = UNKNOWN, _Clock()
        if index < len(self._interfaces):
            interface, clock, _ = self._interfaces[index]
        if interface is self._current:
            return self._records.append, clock
        return self._turn(interface), clock

    def _other_packet(self, kind: int, block: bytes) -> tuple[int, Record]:
        if kind == _SIMPLE:
            if len(block) < 16:
                raise _DamageError("a simple packet block that is too short")
            wire_length: int = unpack_from(self._order + "I", block, 8)[0]
            snap = self._interfaces[0][2] if self._interfaces else 0
            captured = min(wire_length, snap or wire_length, len(block) - 16)
            return 0, (0, block[12 : 12 + captured], wire_length)
        if len(block) < 32:
            raise _DamageError("a packet block that is too short")
        index, _, high, low, captured, wire_length = unpack_from(self._order + "HHIIII", block, 8)
        if captured > len(block) - 32:
            raise _DamageError(f"{captured} bytes in a packet block of {len(block)}")
        return index, (high << 32 | low, block[28 : 28 + captured], wire_length)

    def _describe(self, block: bytes) -> tuple[Interface, _Clock, int]:
        link_type, _, snap = unpack_from(self._order + "HHI", block, 8)
        options = self._options(block[16:-4])
        name = options.get(2, b"").rstrip(b"\0").decode("utf-8", "replace") or None
        fcs = options.get(13, b"")
        up = down = 1
        resolution = options.get(9, b"\x06")[0] if options.get(9, b"\x06") else 6
        if resolution & 0x80:
            up, down = 1_000_000, 1 << (resolution & 0x7F)
        elif resolution > 6:
            down = 10 ** (resolution - 6)
        else:
            up = 10 ** (6 - resolution)
        offset = options.get(14, b"")
        seconds = unpack_from(self._order + "q", offset)[0] if len(offset) >= 8 else 0
        interface = Interface(link_type, name, fcs[0] if fcs else 0)
        return interface, _Clock(up, down, seconds * 1_000_000), snap

    def _options(self, raw: bytes) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        offset = 0
        while offset + 4 <= len(raw):
            code, length = unpack_from(self._order + "HH", raw, offset)
            if code == 0:
                break
            found.setdefault(code, raw[offset + 4 : offset + 4 + length])
            offset += 4 + (length + 3 & ~3)
        return found
