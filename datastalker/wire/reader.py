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
from datastalker.wire.frames import ADDRESSES, IN_WPS, INHERITED, LISTS, Origin
from datastalker.wire.primitives import read_long

LIMIT = 1 << 14
"""Runs of fields that are remembered."""
LEAST_FRAME = 35
"""Bytes of the shortest frame: one for each field."""
LONGEST_RUN = 1 << 12
"""Bytes of the longest run that is remembered."""
SIZES = 16
"""Sizes that are tried for a run."""

_HEAD = ("kind", "frag", "tid", "retry", "protected", "to_ds", "from_ds", "power_mgmt", "more_data",
         "signal_dbm", "noise_dbm", "freq_mhz", "channel", "rate_kbps", "antenna", "fcs_ok", "eapol",
         "sensor", "interface", "file", "labels")  # fmt: skip
_BODY = ("beacon_interval", "ssid", "ssid_hex", "security", "group_cipher", "pmf", "bss_channel",
         "country", "ht", "vht", "he", "eht", "reason", "status", "wps", *LISTS)  # fmt: skip

_TIME = Struct("<HHI").unpack_from
_READ = {
    **{name: codec.read for name, codec in frames.FRAME.fields.items()},
    **{name: codec.read for name, codec in frames.MANAGEMENT.fields.items()},
}
_Addresses = tuple[dict[str, str], list[int]]
"""The keys, and the sizes of bodies to try behind them."""
_Body = tuple[dict[str, Any], list[tuple[str, list[Any]]]]
"""The keys that messages may share, and the lists, of which each gets its own."""
_UNUSUAL = (LookupError, ValueError, StructError)


class FrameReader:
    """Reads batches of the current schema, without framing."""

    def __init__(self) -> None:
        self._count = 0
        self._heads: dict[Any, dict[bytes, dict[str, Any]]] = {}
        self._addresses: dict[bytes, _Addresses] = {}
        self._bodies: dict[bytes, _Body] = {}
        # The sizes to try: by the kind's byte, and by transmitter.
        self._head_sizes: list[list[int]] = [[] for _ in range(256)]
        self._address_sizes: list[list[int]] = [[] for _ in range(256)]
        self._body_sizes: dict[str | None, list[int]] = {}
        self._recent_sizes: list[int] = []
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
        key = (*origin[:3], *origin.labels.items())
        if key not in self._heads:
            self._may_remember(0)
        heads = self._heads.setdefault(key, {})
        low, upper, addresses, bodies = self._low, self._upper, self._addresses, self._bodies
        head_sizes, address_sizes = self._head_sizes, self._address_sizes
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
                            duration, at = _READ["duration"](data, at - 2)
                            duration <<= 1
                        else:
                            duration = duration & 127 | data[at] << 7
                            at += 1
                elif data[at]:
                    raise ValueError
                else:
                    at += 1
                # kind to labels
                kind = data[at]
                for size in head_sizes[kind]:
                    head = heads.get(data[at : at + size])
                    if head is not None:
                        break
                else:
                    head, size = self._learn_head(data, at, origin, heads)
                at += size
                message = Message(head)
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
                for size in address_sizes[kind]:
                    found = addresses.get(data[at : at + size])
                    if found is not None:
                        break
                else:
                    found, size = self._learn_addresses(data, at, address_sizes[kind])
                at += size
                message.update(found[0])
                # management
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
                        body, size = self._learn_body(data, at, found[1])
                    at += size
                    message.update(body[0])
                    for name, values in body[1]:
                        message[name] = values[:]
                elif data[at]:
                    raise ValueError
                else:
                    at += 1
                # heard_by, extra
                if data[at] or data[at + 1]:
                    heard_by, at = _READ["heard_by"](data, at)
                    if heard_by is not None:
                        message["heard_by"] = heard_by
                    extra, at = _READ["extra"](data, at)
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

    def _learn_head(
        self, data: bytes, at: int, origin: Origin, heads: dict[bytes, dict[str, Any]]
    ) -> tuple[dict[str, Any], int]:
        record, end = _read_run(_HEAD, data, at)
        keys = {"type": "frame", "timestamp": 0, "id": ""}
        for name, value in record.items():
            if value is None and name in INHERITED:
                value = getattr(origin, name) or None
            if value is not None:
                keys[name] = value
        if self._may_remember(end - at):
            heads[data[at:end]] = keys
        _first(self._head_sizes[data[at]], end - at)
        return keys, end - at

    def _learn_addresses(self, data: bytes, at: int, sizes: list[int]) -> tuple[_Addresses, int]:
        keys, end = {}, at
        for name in ADDRESSES:
            if data[end] == 2:
                raw, end = _READ[name](data, end)
                keys[name] = raw.hex(":")
            elif data[end]:
                raise ValueError
            else:
                end += 1
        known = self._addresses.get(data[at:end])
        if known is None:
            remember = self._may_remember(end - at)
            # A transmitter's bodies are of few sizes, to whomever it sends them.
            known = keys, self._body_sizes.setdefault(keys.get("ta"), [])
            if remember:
                self._addresses[data[at:end]] = known
        _first(sizes, end - at)
        return known, end - at

    def _learn_body(self, data: bytes, at: int, sizes: list[int]) -> tuple[_Body, int]:
        for size in self._recent_sizes:  # others, with another address, may have said the same
            known = self._bodies.get(data[at : at + size])
            if known is not None:
                _first(sizes, size)
                return known, size
        record, end = _read_run(_BODY, data, at)
        known = self._bodies.get(data[at:end])
        if known is None:
            wps = record.pop("wps") or {}
            record.update((key, wps.get(name)) for key, name in IN_WPS.items())
            lists = [(name, record.pop(name)) for name in LISTS]
            known = (
                {name: value for name, value in record.items() if value is not None},
                [(name, values) for name, values in lists if values],
            )
            if self._may_remember(end - at):
                self._bodies[data[at:end]] = known
        _first(sizes, end - at)
        _first(self._recent_sizes, end - at)
        return known, end - at

    def _may_remember(self, size: int) -> bool:
        """Whether a run is short enough; forgets all when there are too many."""
        if size > LONGEST_RUN:
            return False
        self._count += 1
        if self._count > LIMIT:
            for heads in self._heads.values():
                heads.clear()
            for known in (self._heads, self._addresses, self._bodies, self._body_sizes):
                known.clear()
            self._count = 1
        return True


def _read_run(names: tuple[str, ...], data: bytes, at: int) -> tuple[dict[str, Any], int]:
    record = {}
    for name in names:
        record[name], at = _READ[name](data, at)
    return record, at


def _first(sizes: list[int], size: int) -> None:
    """Put a size in front of those that are tried."""
    if size in sizes:
        sizes.remove(size)
    sizes.insert(0, size)
    del sizes[SIZES:]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number behind the 2 of [null, number]."""
    if data[at] != 2:
        raise ValueError
    return read_long(data, at + 1)


_UNSIGNED = (1 << 64) - 1
_LAST = {byte: byte for byte in range(128)}
"""The last byte of a number of two; anything else is a KeyError, so unusual."""


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
        if word & 0x80808080 != 0x00808080:
            raise KeyError
        if len(self) >= 1 << 8:
            self.clear()
        parts = (word >> 8 * n & 127 for n in range(4))
        value = self[word] = sum(part << 28 + 7 * n for n, part in enumerate(parts))
        return value
