"""The radiotap header: link type 127. https://www.radiotap.org, all its present words, namespaces
and TLVs.

Where a field lies depends on the length of the header and its present words alone, and there are
a handful of these in a capture. So `Layout` finds the fields once; then a frame's `Radio` is read
at known offsets, or, faster, looked up by `Layout.pick`: the header's bytes that matter and the
two bytes of frame control behind them, without what changes from frame to frame (TSFT, A-MPDU
status, timestamps, the antennas of later namespaces).

As tshark does: the first occurrence of a field counts; what runs over the end of the header, and
all behind it, is not there; of a header of another version only the length is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct, unpack_from
from typing import Any

from capture_agent import phy

Pick = Callable[[bytes], tuple[bytes, ...]]


class HeaderError(Exception):
    """A radio header that can't be followed. `args[0]` is the reason under which it is counted."""


@dataclass(slots=True)
class Radio:
    """What a radio header said: where the MAC frame starts, its FCS, and keys of the message."""

    start: int
    fcs_length: int = 0
    bad_fcs: bool = False
    padded: bool = False
    fields: dict[str, Any] = field(default_factory=dict)


# Bit: alignment, size, and the parts that are wanted as (offset in the field, size). The field
# of an empty tuple stays the same from frame to frame, that of None doesn't.
_FIELDS: dict[int, tuple[int, int, tuple[tuple[int, int], ...] | None]] = {
    0: (8, 8, None),  # TSFT
    1: (1, 1, ((0, 1),)),  # Flags
    2: (1, 1, ((0, 1),)),  # Rate
    3: (2, 4, ((0, 2),)),  # Channel: frequency, flags
    4: (2, 2, ()),  # FHSS
    5: (1, 1, ((0, 1),)),  # Antenna signal, dBm
    6: (1, 1, ((0, 1),)),  # Antenna noise, dBm
    7: (2, 2, None),  # Lock quality
    8: (2, 2, None),  # TX attenuation
    9: (2, 2, None),  # TX attenuation, dB
    10: (1, 1, ()),  # TX power, dBm
    11: (1, 1, ((0, 1),)),  # Antenna
    12: (1, 1, None),  # Antenna signal, dB
    13: (1, 1, None),  # Antenna noise, dB
    14: (2, 2, ()),  # RX flags
    15: (2, 2, ()),  # TX flags
    16: (1, 1, None),  # RTS retries
    17: (1, 1, None),  # data retries
    18: (4, 8, ((4, 2),)),  # XChannel: flags, frequency, channel, power
    19: (1, 3, ((0, 3),)),  # MCS: known, flags, index
    20: (4, 8, None),  # A-MPDU status
    21: (2, 12, ((0, 3), (3, 5))),  # VHT: known, flags, width, users
    22: (8, 12, None),  # timestamp
    23: (2, 12, ((0, 6), (8, 3))),  # HE: known, known, data 3; data 5, data 6
    24: (2, 12, None),  # HE-MU
    25: (2, 6, None),  # HE-MU other user
    26: (1, 1, ()),  # 0-length PSDU
    27: (2, 4, None),  # L-SIG
}
_TLV, _RADIOTAP_NAMESPACE, _VENDOR_NAMESPACE, _EXTENDED = (1 << bit for bit in (28, 29, 30, 31))

_FLAG_FCS, _FLAG_PAD, _FLAG_BAD, _FLAG_SHORT_GI = 0x10, 0x20, 0x40, 0x80


class Layout:
    """Where the fields of one kind of radiotap header are.

    `length`: of the header. `offsets`: of the first occurrence of each field, by its bit.
    `pick(data)`: a hashable key of all that matters; struct.error where `data` is too short.
    `memo`: the caller's, by that key.
    """

    def __init__(self, data: bytes) -> None:
        """Raises HeaderError where `data` doesn't hold the header that it speaks of."""
        if len(data) < 8:
            raise HeaderError("radio_header_cut")
        self.length: int = unpack_from("<H", data, 2)[0]
        if self.length < 8:
            raise HeaderError("radio_header_invalid")
        if self.length > len(data):
            raise HeaderError("radio_header_cut")
        self.offsets: dict[int, int] = {}
        self.memo: dict[Any, Any] = {}
        self._matters = bytearray(self.length + 2)  # 0 changes, 1 stays the same, 2 is wanted
        self._walk(data)
        self._matters[self.length :] = b"\2\2"
        ranges = _ranges(self._matters)
        self.pick: Pick = Struct(_format(ranges)).unpack_from
        self._structure = [
            (begin, data[begin:end]) for begin, end in self._spans if end <= self.length
        ]

    def fits(self, data: bytes) -> bool:
        """Has `data`, whose first 8 bytes are those of this layout, its other structure too?"""
        return len(data) >= self.length and all(
            data.startswith(raw, begin) for begin, raw in self._structure
        )

    def _want(self, begin: int, end: int) -> None:
        self._matters[begin:end] = b"\2" * (end - begin)

    def _walk(self, data: bytes) -> None:
        words, offset = [], 4
        self._spans: list[tuple[int, int]] = []
        while True:
            if offset + 4 > self.length:  # present words without end: no field can be found
                self._spans.append((8, offset))
                self._want(8, offset)
                return
            words.append(int.from_bytes(data[offset : offset + 4], "little"))
            offset += 4
            if not words[-1] & _EXTENDED:
                break
        if offset > 8:
            self._spans.append((8, offset))
            self._want(8, offset)
        both = _RADIOTAP_NAMESPACE | _VENDOR_NAMESPACE
        if data[0] != 0 or any(word & both == both for word in words):
            return  # of another version, or contradicting itself
        radiotap, fresh, skip_to, tlv = True, True, 0, False
        for word in words:
            if radiotap and word & 0x0FFFFFFF:
                # A word behind another of the same namespace has fields that nobody defined.
                found = self._fields(word & 0x0FFFFFFF, offset) if fresh else None
                if found is None:
                    return
                offset = found
            fresh = False
            tlv = tlv or bool(word & _TLV and radiotap)
            if word & _RADIOTAP_NAMESPACE:
                radiotap, fresh, offset = True, True, max(offset, skip_to)
            elif word & _VENDOR_NAMESPACE:
                offset = max(offset, skip_to)
                offset += offset & 1
                if offset + 6 > self.length:
                    return
                self._spans.append((offset + 4, offset + 6))
                self._want(offset + 4, offset + 6)
                skip_to = offset + 6 + int.from_bytes(data[offset + 4 : offset + 6], "little")
                offset, radiotap = skip_to, False
        if tlv:
            self._tlvs(data, max(offset, skip_to))

    def _fields(self, present: int, offset: int) -> int | None:
        bit = 0
        while present:
            if present & 1:
                if bit not in _FIELDS:
                    return None
                align, size, parts = _FIELDS[bit]
                offset = (offset + align - 1) & -align
                if offset + size > self.length:
                    return None
                self._found(bit, offset, size, parts)
                offset += size
            present >>= 1
            bit += 1
        return offset

    def _found(
        self, bit: int, offset: int, size: int, parts: tuple[tuple[int, int], ...] | None
    ) -> None:
        if parts is not None and bit not in self.offsets:
            self._matters[offset : offset + size] = b"\1" * size
            for begin, length in parts:
                self._want(offset + begin, offset + begin + length)
            self.offsets[bit] = offset

    def _tlvs(self, data: bytes, offset: int) -> None:
        offset = (offset + 3) & ~3
        while offset + 4 <= self.length:
            kind, size = unpack_from("<HH", data, offset)
            self._spans.append((offset, offset + 4))
            self._want(offset, offset + 4)
            offset += 4
            if offset + size > self.length:
                return
            _, wanted, parts = _FIELDS.get(kind, (0, 0, None))
            if size >= wanted:
                self._found(kind, offset, wanted, parts)
            offset += size + 3 & ~3

    def radio(self, data: bytes) -> Radio:
        """Read a header of this layout."""
        at = self.offsets
        radio = Radio(self.length)
        fields = radio.fields
        if 5 in at:
            fields["signal_dbm"] = _signed(data[at[5]])
        if 6 in at:
            fields["noise_dbm"] = _signed(data[at[6]])
        freq = int.from_bytes(data[at[3] : at[3] + 2], "little") if 3 in at else 0
        if not freq and 18 in at:
            freq = int.from_bytes(data[at[18] + 4 : at[18] + 6], "little")
        if freq:
            fields["freq_mhz"] = freq
            channel = phy.channel_number(freq)
            if channel is not None:
                fields["channel"] = channel
        rate = self._rate(data)
        if rate is not None:
            fields["rate_kbps"] = rate
        if 11 in at:
            fields["antenna"] = data[at[11]]
        if 1 in at:
            flags = data[at[1]]
            radio.bad_fcs = bool(flags & _FLAG_BAD)
            radio.fcs_length = 4 if flags & _FLAG_FCS else 0
            radio.padded = bool(flags & _FLAG_PAD)
            fields["fcs_ok"] = not radio.bad_fcs
        return radio

    def _rate(self, data: bytes) -> int | None:
        at = self.offsets
        rate: int | None = None
        if 2 in at and data[at[2]]:
            return phy.legacy_kbps(data[at[2]])
        if 19 in at:
            known, flags, index = data[at[19] : at[19] + 3]
            if 1 in at and not known & 0x04:  # the guard interval, else told by Flags
                known |= 0x04
                flags = flags & ~0x04 | (0x04 if data[at[1]] & _FLAG_SHORT_GI else 0)
            rate = phy.ht_kbps(known, flags, index)
        elif 21 in at:
            known, flags, width, users = unpack_from("<HBB4s", data, at[21])
            rate = phy.vht_kbps(known, flags, width, users)
        elif 23 in at:
            word = unpack_from("<6H", data, at[23])
            rate = phy.he_kbps(word[0], word[1], word[2], word[4], word[5])
        return rate


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _format(ranges: list[tuple[int, int]]) -> str:
    """Of a Struct that picks these ranges out of bytes, and raises struct.error where they end
    before the last of them."""
    out, at = "<", 0
    for begin, end in ranges:
        out += f"{begin - at}x{end - begin}s"
        at = end
    return out


def _ranges(matters: bytearray) -> list[tuple[int, int]]:
    """Runs of bytes that matter (2), bridged over bytes that stay the same (1)."""
    runs: list[tuple[int, int]] = []
    begin = last = -1
    for offset, kind in enumerate(matters):
        if kind == 2:
            if begin < 0:
                begin = offset
            last = offset + 1
        elif kind == 0 and begin >= 0:
            runs.append((begin, last))
            begin = -1
    if begin >= 0:
        runs.append((begin, last))
    return runs
