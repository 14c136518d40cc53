"""Channels as people write them, and which of them a hopper visits in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

from capture_agent import phy

WIDTHS = (20, 40, 80, 160)

# 22 MHz wide signals, 5 MHz apart: first those that hear all of the band with little overlap, then
# what lies between. As the first DataStalker hopped.
_ORDER_2_4 = (1, 6, 11, 3, 8, 13, 2, 7, 12, 4, 10, 5, 9, 14)
_WRITTEN = re.compile(r"(\d+)(?:/(\d+))?")


@dataclass(frozen=True, slots=True)
class Channel:
    """A primary 20 MHz channel and how wide to listen."""

    freq_mhz: int
    width_mhz: int = 20

    @property
    def number(self) -> int:
        return phy.channel_number(self.freq_mhz) or 0

    @property
    def centre_mhz(self) -> int:
        return phy.centre(self.freq_mhz, self.width_mhz) or self.freq_mhz

    def __str__(self) -> str:
        """`36`, `36/80`; with the frequency where the number alone says another channel."""
        text = str(self.number) if _plain(self.number) == self.freq_mhz else f"{self.freq_mhz} MHz"
        return text if self.width_mhz == 20 else f"{text}/{self.width_mhz}"


def _plain(number: int) -> int | None:
    return phy.frequency(number, 2.4) or phy.frequency(number, 5)


def parse(written: int | str, bands: Iterable[float] = (), width_mhz: int = 20) -> Channel:
    """`6`, `36/80` (a width of its own), `5955` (MHz), `"37/80"`.

    A number is that of the first of `bands` that has it; without bands 2.4 GHz, then 5. Raises
    ValueError with what is wrong in words.
    """
    found = _WRITTEN.fullmatch(str(written).strip())
    if found is None:
        raise ValueError(f"'{written}' is no channel: write 6, 36/80 (width 80 MHz) or 5955 (MHz)")
    number, width = int(found[1]), int(found[2] or width_mhz)
    if width not in WIDTHS:
        raise ValueError(f"'{written}': a width is 20, 40, 80 or 160 MHz")
    freq = number if number > 1000 else _lookup(number, tuple(bands))
    if freq is None or not _exists(freq):
        if number > 1000:
            raise ValueError(f"'{written}' is not at a channel's frequency")
        where = " or ".join(f"{band:g}" for band in tuple(bands) or (2.4, 5.0))
        other = [b for b in phy.BANDS if (f := phy.frequency(number, b)) and _exists(f)]
        hint = "".join(f"; one of {band:g} GHz: {phy.frequency(number, band)}" for band in other)
        raise ValueError(f"'{written}' is no channel of {where} GHz{hint}")
    if found[2] and phy.centre(freq, width) is None:
        raise ValueError(f"'{written}': no channel of {width} MHz has it as its primary")
    return Channel(freq, width)


def _lookup(number: int, bands: tuple[float, ...]) -> int | None:
    for band in bands or (2.4, 5.0):
        freq = phy.frequency(number, band)
        if freq is not None and _exists(freq):
            return freq
    return None


def _exists(freq_mhz: int) -> bool:
    return phy.centre(freq_mhz, 20) is not None


def of_band(band: float, offered: Iterable[int]) -> list[int]:
    """Those of the frequencies that a card offers to visit in a band, in the order to visit them.

    Of 6 GHz the preferred scanning channels, every fourth: a network is found and joined on those.
    """
    inside = sorted(freq for freq in offered if phy.band(freq) == band and _exists(freq))
    if band == 2.4:
        numbers = {phy.channel_number(freq): freq for freq in inside}
        return [numbers[number] for number in _ORDER_2_4 if number in numbers]
    if band == 6:
        inside = [freq for freq in inside if (freq - 5975) % 80 == 0]
    return spread(inside)


def spread(frequencies: list[int]) -> list[int]:
    """The same in another order: one and the next lie far apart, so a signal that reaches over
    several channels is not met several times and then not for long."""
    count = len(frequencies)
    step = next((s for s in range(max(2, round(count * 0.382)), count) if gcd(s, count) == 1), 1)
    return [frequencies[index * step % count] for index in range(count)]


def narrowed(channel: Channel, widths: Iterable[int]) -> Channel:
    """The channel as wide as wanted, or as wide as can be: by the standard, and by the card."""
    fits = [w for w in widths if w <= channel.width_mhz and phy.centre(channel.freq_mhz, w)]
    return Channel(channel.freq_mhz, max(fits, default=20))
