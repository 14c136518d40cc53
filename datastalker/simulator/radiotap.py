"""The radiotap header that a sensor puts before what it heard (https://www.radiotap.org/fields/)."""

from __future__ import annotations

import struct
from typing import NamedTuple

_HEADER = struct.Struct("<BBHIQBBHHbbB")
_PRESENT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 11
_FCS_AT_END = 0x10
_CCK_RATES_KBPS = frozenset((1000, 2000, 5500, 11000))
_CCK, _OFDM, _2_GHZ = 0x0020, 0x0040, 0x0080


class Copy(NamedTuple):
    """One transmission as one sensor heard it."""

    timestamp_us: int
    tsft_us: int
    signal_dbm: int
    noise_dbm: int
    antenna: int


def channel_mhz(channel: int) -> int:
    """Of the 2.4 GHz band."""
    return 2407 + 5 * channel


def radiotap(copy: Copy, rate_kbps: int, freq_mhz: int) -> bytes:
    """TSFT, flags (an FCS follows the frame), rate, channel, signal, noise and antenna."""
    modulation = _CCK if rate_kbps in _CCK_RATES_KBPS else _OFDM
    return _HEADER.pack(
        0, 0, _HEADER.size, _PRESENT,
        copy.tsft_us, _FCS_AT_END, rate_kbps // 500, freq_mhz, _2_GHZ | modulation,
        copy.signal_dbm, copy.noise_dbm, copy.antenna,
    )  # fmt: skip
