"""Bytes to frames, as fast as pure Python goes: what was read once is remembered by its bytes.

In Avro the bytes of a run of fields tell themselves where they end, so bytes that are equal to
those of a run that was read before are that run, whatever follows. So the fields that repeat
together (kind, flags and radio header; addresses; what a beacon says) are looked up by their
bytes, and what they gave is copied; which lengths to try is remembered as well. What differs from
frame to frame is read byte by byte. Whatever is unusual is read again from the frame's start by
the plain way: the codec, then `frames.from_record`.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any

from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire import frames
from datastalker.wire.batch import Batch
from datastalker.wire.codec import blocks
from datastalker.wire.frames import Origin
from datastalker.wire.primitives import read_long
from datastalker.wire.runs import READ, Runs

LEAST_FRAME = 35
"""Bytes of the shortest frame: one for each field."""

_TIME = Struct("<HHI").unpack_from
_UNUSUAL = (LookupError, ValueError, StructError)


Wire = tuple[tuple[str, ...], list[Any], bytes, tuple[Any, ...], bytes]
"""What a message was read from, for whoever writes it again: its keys, its values, the bytes before
`sender`, what stood from there to `labels` (the same object for all that say the same), the bytes
from `ta` to `management`. As long as the message begins with these keys and values, and what
follows has no field of its own, its bytes are these, with who sent it written anew, and `extra`.
"""


class FrameReader:
    """Reads batches of the current schema, without framing."""

    def __init__(self, *, to_pass_on: bool = False) -> None:
        """`to_pass_on`: messages get a `wire`, for who will write most of them again."""
        self._runs = Runs()
        self._to_pass_on = to_pass_on
        self._low, self._upper = _Low(), _Upper()

    def read(self, data: bytes, offset: int) -> Batch:
        """The batch that starts at `offset` and ends with the data. Raises WireError."""
        values = []
        for name, codec in frames.BATCH.fields.items():
            if name != "frames":
                value, offset = codec.read(data, offset)
                values.append(value)
        batch = Batch(*values)
        while True:
            count, offset = blocks(data, offset, LEAST_FRAME)
            if not count:
                break
            offset = self._block(data, offset, count, batch.origin, batch.messages)
        if offset != len(data):
            raise WireError(f"{len(data) - offset} bytes follow the end of the batch")
        return batch

    def _block(
        self, data: bytes, offset: int, count: int, origin: Origin, out: list[Message]
    ) -> int:
        """Read frames until there are `count`; returns the offset behind them."""
        runs, low, upper, to_pass_on = self._runs, self._low, self._upper, self._to_pass_on
        heads, addresses, bodies = runs.heads_of(origin), runs.addresses, runs.bodies
        head_sizes, address_sizes = runs.head_sizes, runs.address_sizes
        append = out.append
        for _ in range(count):
            try:
                # timestamp, 8 bytes for any in our century
                first, second, third = _TIME(data, offset)
                time = low[first] | low[second] << 14 | upper[third]
                # id
                size = data[offset + 8]
                at = offset + 9 + (size >> 1)
                if size & 129 or time & 1:
                    raise ValueError
                identity = data[offset + 9 : at].decode()
                # frame_number
                number: int | None = None
                if data[at]:
                    first = data[at + 1] | data[at + 2] << 8
                    if first & 0x8080 == 0x8080 and 0 < data[at + 3] < 128 and data[at] == 2:
                        number = low[first] | data[at + 3] << 14
                        number = number >> 1 ^ -(number & 1)
                        at += 4
                    else:
                        number, at = _number(data, at)
                else:
                    at += 1
                # seq
                seq: int | None = None
                if data[at] == 2:
                    seq = data[at + 1]
                    at += 2
                    if seq > 127:
                        seq = seq & 127 | _LAST[data[at]] << 7
                        at += 1
                elif data[at]:
                    raise ValueError
                else:
                    at += 1
                # length
                length = data[at]
                at += 1
                if length > 127:
                    length = length & 127 | _LAST[data[at]] << 7
                    at += 1
                # duration
                duration: int | None = None
                if data[at] == 2:
                    duration = data[at + 1]
                    at += 2
                    if duration > 127:
                        if data[at] > 127:
                            duration, at = READ["duration"](data, at - 2)
                            duration <<= 1
                            if not data[at - 1]:
                                raise ValueError
                        else:
                            duration = duration & 127 | _LAST[data[at]] << 7
                            at += 1
                elif data[at]:
                    raise ValueError
                else:
                    at += 1
                # kind to labels
                head_at = at
                kind = data[at]
                for size in head_sizes[kind]:
                    head = heads.get(data[at : at + size])
                    if head is not None:
                        break
                else:
                    head, size = runs.learn_head(data, at, origin, heads)
                keys, size_before, sender = head
                at += size
                message = Message(keys)
                message["timestamp"] = time >> 1
                message["id"] = identity
                if number is not None:
                    message["frame_number"] = number
                if seq is not None:
                    message["seq"] = seq >> 1
                message["length"] = length >> 1
                if duration is not None:
                    message["duration"] = duration >> 1
                # ta to bssid
                addresses_at = at
                for size in address_sizes[kind]:
                    found = addresses.get(data[at : at + size])
                    if found is not None:
                        break
                else:
                    found, size = runs.learn_addresses(data, at, address_sizes[kind])
                at += size
                message.update(found[0])
                # management
                lists, canonical = _NO_LISTS, True
                if data[at] == 2:
                    at += 1
                    if data[at]:
                        tsf, at = _number(data, at)
                        message["tsf"] = tsf & _UNSIGNED
                    else:
                        at += 1
                    for size in found[1]:
                        body = bodies.get(data[at : at + size])
                        if body is not None:
                            break
                    else:
                        body, size = runs.learn_body(data, at, found[1])
                    at += size
                    shared, lists, canonical = body
                    message.update(shared)
                    for name, values in lists:
                        message[name] = values
                elif data[at]:
                    raise ValueError
                else:
                    at += 1
                if to_pass_on and canonical and size_before:
                    before, after = data[offset : head_at + size_before], data[addresses_at:at]
                    message.wire = tuple(message), list(message.values()), before, sender, after
                # What can be changed in its place is each message's own.
                for name, values in lists:
                    message[name] = values[:]
                if "labels" in keys:
                    message["labels"] = keys["labels"].copy()
                # heard_by, extra
                if data[at] or data[at + 1]:
                    heard_by, at = READ["heard_by"](data, at)
                    if heard_by is not None:
                        message["heard_by"] = heard_by
                    extra, at = READ["extra"](data, at)
                    frames.apply_extra(message, extra)
                else:
                    at += 2
                if (seq is not None and seq & 1) or length & 1 or (duration or 0) & 1:
                    raise ValueError
                offset = at
                append(message)
            except _UNUSUAL:
                record, offset = frames.FRAME.read(data, offset)
                append(frames.from_record(record, origin))
        return offset


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number behind the 2 of [null, number]."""
    if data[at] != 2:
        raise ValueError
    number, end = read_long(data, at + 1)
    if not data[end - 1] and end - at > 2:
        raise ValueError  # longer than it need be, so not as it would be written again
    return number, end


_UNSIGNED = (1 << 64) - 1
_LAST = {byte: byte for byte in range(1, 128)}
"""The last byte of a number of two; anything else is a KeyError, so unusual."""
_NO_LISTS: list[tuple[str, list[Any]]] = []


class _Low(dict[int, int]):
    """Two bytes of a number with more to come → 14 bits."""

    def __missing__(self, word: int) -> int:
        if word & 0x8080 != 0x8080:
            raise KeyError
        value = self[word] = word & 127 | word >> 1 & 0x3F80
        return value


class _Upper(dict[int, int]):
    """The last four bytes of a number of eight → its bits, in their place."""

    def __missing__(self, word: int) -> int:
        if word & 0x80808080 != 0x00808080 or not word >> 24:
            raise KeyError
        if len(self) >= 1 << 8:
            self.clear()
        parts = (word >> 8 * n & 127 for n in range(4))
        value = self[word] = sum(part << 28 + 7 * n for n, part in enumerate(parts))
        return value
