"""Radio facts that are computed: channel numbers and data rates.

Channels: IEEE 802.11-2020 annex E, 802.11ax. Rates: 802.11-2020 tables 19-27 ff. (HT) and 21-30 ff.
(VHT), 802.11ax-2021 table 27-54 ff. (HE; rounded to 0.1 Mbit/s as they are printed there).
A rate is null where the receiver didn't tell all of modulation, width and guard interval.
"""

from __future__ import annotations

BANDS = (2.4, 5.0, 6.0)
"""In GHz, as people call them: those in which there are channels to listen to."""


def channel_number(freq_mhz: int) -> int | None:
    """The channel at a frequency in MHz; None outside the bands that have numbers."""
    if 2412 <= freq_mhz <= 2472:
        return (freq_mhz - 2407) // 5
    if freq_mhz == 2484:
        return 14
    if 5000 <= freq_mhz <= 5925:
        return (freq_mhz - 5000) // 5
    if freq_mhz == 5935:
        return 2  # operating class 136: the one channel below the others of its band
    if 5950 <= freq_mhz <= 7125:
        return (freq_mhz - 5950) // 5
    if 4910 <= freq_mhz <= 4980:
        return (freq_mhz - 4000) // 5
    return None


def frequency(channel: int, band: float) -> int | None:
    """MHz of a channel of a band, one of BANDS."""
    if band == 6:
        return 5935 if channel == 2 else 5950 + 5 * channel if 1 <= channel <= 233 else None
    if band == 5:
        return 5000 + 5 * channel if 7 <= channel <= 181 else None
    if 1 <= channel <= 13:
        return 2407 + 5 * channel
    return 2484 if channel == 14 else None


def band(freq_mhz: int) -> float | None:
    """The band of a frequency, one of BANDS; None: another, or none."""
    if 2400 < freq_mhz < 2500:
        return 2.4
    if 5150 <= freq_mhz <= 5925:
        return 5.0
    return 6.0 if 5925 < freq_mhz <= 7125 else None


# The lowest 20 MHz channel of each stretch that wider channels divide without a gap, and how many
# 20 MHz channels it has (annex E, operating classes 115 to 130, 131 to 134).
_STRETCHES = ((5180, 8), (5500, 12), (5745, 8), (5955, 59))
_NARROW = {*range(2412, 2473, 5), 2484, 5935}


def centre(freq_mhz: int, width_mhz: int) -> int | None:
    """The centre of the channel of that width (20, 40, 80, 160) whose primary 20 MHz channel is at
    `freq_mhz`; None where there is no such channel."""
    if freq_mhz in _NARROW:
        if (
            width_mhz == 40 and freq_mhz <= 2472
        ):  # above or below: below, where there is little above
            return freq_mhz + 10 if freq_mhz <= 2442 else freq_mhz - 10
        return freq_mhz if width_mhz == 20 else None
    for first, count in _STRETCHES:
        place, off = divmod(freq_mhz - first, 20)
        if off == 0 and 0 <= place < count:
            parts = width_mhz // 20
            begin = place - place % parts
            return first + 20 * begin + 10 * (parts - 1) if begin + parts <= count else None
    return None


def legacy_kbps(units: int) -> int:
    """From units of 500 kbit/s."""
    return units * 500


# Data bits a symbol at 20 MHz, by MCS index (76 is the last; 32 is for 40 MHz only).
_HT_BITS = (
    26, 52, 78, 104, 156, 208, 234, 260, 52, 104, 156, 208, 312, 416, 468, 520,
    78, 156, 234, 312, 468, 624, 702, 780, 104, 208, 312, 416, 624, 832, 936, 1040,
    12, 156, 208, 260, 234, 312, 390, 208, 260, 260, 312, 364, 364, 416, 312, 390, 390, 468,
    546, 546, 624, 260, 312, 364, 312, 364, 416, 468, 416, 468, 520, 520, 572, 390, 468, 546,
    468, 546, 624, 702, 624, 702, 780, 780, 858,
)  # fmt: skip


def ht_kbps(known: int, flags: int, index: int) -> int | None:
    """Radiotap's MCS field: what is known (width 1, index 2, guard interval 4), flags, index."""
    if known & 0x07 != 0x07 or index >= len(_HT_BITS):
        return None
    carriers = 108 if flags & 0x03 == 1 else 52
    return round(_HT_BITS[index] * carriers / 52 / (3.6 if flags & 0x04 else 4.0) * 1000)


_VHT_BITS = (26, 52, 78, 104, 156, 208, 234, 260, 312, 1040 / 3)
_VHT_CARRIERS = (52, 108, 234, 468)
# Radiotap's bandwidth code: the part of a wider channel that was used counts.
_VHT_WIDTH = (0, 1, 0, 0, 2, 1, 1, 0, 0, 0, 0, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
_VHT_INVALID = {(9, 0): (1, 2, 4, 5, 7, 8), (6, 2): (3, 7), (9, 2): (6,), (9, 3): (3,)}


def vht_kbps(known: int, flags: int, bandwidth: int, users: bytes) -> int | None:
    """Radiotap's VHT field; of several users' rates the last."""
    if known & 0x44 != 0x44 or bandwidth >= len(_VHT_WIDTH):
        return None
    width, rate = _VHT_WIDTH[bandwidth], None
    for user in users:
        mcs, streams = user >> 4, user & 0x0F
        if 1 <= streams <= 8 and mcs <= 9 and streams not in _VHT_INVALID.get((mcs, width), ()):
            per_symbol = _VHT_BITS[mcs] * _VHT_CARRIERS[width] * streams / 52
            rate = round(per_symbol / (3.6 if flags & 0x04 else 4.0) * 1000)
    return rate


_HE_BITS = (0.5, 1, 1.5, 2, 3, 4, 4.5, 5, 6, 20 / 3, 7.5, 25 / 3)
_HE_CARRIERS = (234, 468, 980, 1960, 24, 48, 102, 234, 468, 980)
_HE_SYMBOL_US = (13.6, 14.4, 16.0)


def he_kbps(known1: int, known2: int, data3: int, data5: int, data6: int) -> int | None:
    """Radiotap's HE field: words 1 and 2 say what is known, 3, 5 and 6 hold MCS, width, streams."""
    mcs, width, guard, streams = data3 >> 8 & 15, data5 & 15, data5 >> 4 & 3, data6 & 15
    if not (known1 & 0x4020 == 0x4020 and known2 & 0x02):
        return None
    if mcs > 11 or width > 9 or guard > 2 or not 1 <= streams <= 8:
        return None
    mbps = _HE_CARRIERS[width] * _HE_BITS[mcs] * streams / _HE_SYMBOL_US[guard]
    return int(mbps * 10 + 0.5) * 100
