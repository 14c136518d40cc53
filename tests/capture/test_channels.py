"""Channels and frequencies, by IEEE 802.11-2020 annex E; channels as people write them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from capture_agent import phy
from capture_agent.channels import Channel, narrowed, of_band, parse, spread

FIVE = [*range(36, 65, 4), *range(100, 145, 4), *range(149, 178, 4)]
SIX = range(1, 234, 4)


@pytest.mark.parametrize(
    ("band", "number", "freq"),
    [
        (2.4, 1, 2412), (2.4, 13, 2472), (2.4, 14, 2484), (2.4, 15, None), (2.4, 0, None),
        (5, 36, 5180), (5, 144, 5720), (5, 165, 5825), (5, 177, 5885), (5, 3, None),
        (6, 1, 5955), (6, 2, 5935), (6, 93, 6415), (6, 233, 7115), (6, 234, None),
    ],
)  # fmt: skip
def test_a_channel_of_a_band_has_a_frequency(band: float, number: int, freq: int | None) -> None:
    assert phy.frequency(number, band) == freq
    if freq is not None:
        assert (phy.channel_number(freq), phy.band(freq)) == (number, band)


def test_every_channel_comes_back_from_its_frequency() -> None:
    for band, numbers in ((2.4, range(1, 15)), (5, FIVE), (6, [2, *SIX])):
        for number in numbers:
            freq = phy.frequency(number, band)
            assert freq is not None
            assert (phy.channel_number(freq), phy.band(freq)) == (number, band)


@pytest.mark.parametrize(
    ("number", "band", "width", "centre"),
    [
        (36, 5, 40, 38), (40, 5, 40, 38), (48, 5, 80, 42), (64, 5, 160, 50), (100, 5, 160, 114),
        (144, 5, 40, 142), (144, 5, 80, 138), (144, 5, 160, None), (161, 5, 80, 155),
        (165, 5, 40, 167), (165, 5, 80, 171), (177, 5, 160, 163), (13, 2.4, 80, None),
        (1, 6, 80, 7), (37, 6, 160, 47), (93, 6, 160, 79), (229, 6, 40, 227), (233, 6, 40, None),
        (2, 6, 40, None), (221, 6, 160, 207),
    ],
)  # fmt: skip
def test_wider_channels_lie_where_the_standard_has_them(
    number: int, band: float, width: int, centre: int | None
) -> None:
    freq = phy.frequency(number, band)
    assert freq is not None

    assert phy.centre(freq, width) == (phy.frequency(centre, band) if centre else None)


def test_40_mhz_at_2_4_ghz_lies_where_there_is_room() -> None:
    assert [phy.centre(phy.frequency(n, 2.4) or 0, 40) for n in (1, 7, 8, 13)] == [
        2422, 2452, 2437, 2462,
    ]  # fmt: skip
    assert phy.centre(2484, 40) is None


@pytest.mark.parametrize(
    ("written", "bands", "channel"),
    [
        (6, (), Channel(2437)),
        ("36/80", (), Channel(5180, 80)),
        (5955, (), Channel(5955)),
        ("5955/160", (), Channel(5955, 160)),
        (37, (6,), Channel(6135)),
        (1, (2.4, 6), Channel(2412)),
        (149, (2.4, 6), Channel(6695)),
        (" 11 ", (), Channel(2462)),
    ],
)
def test_a_channel_as_it_is_written(
    written: int | str, bands: tuple[float, ...], channel: Channel
) -> None:
    assert parse(written, bands) == channel


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("x", "'x' is no channel: write 6, 36/80 (width 80 MHz) or 5955 (MHz)"),
        (15, "'15' is no channel of 2.4 or 5 GHz"),
        (37, "'37' is no channel of 2.4 or 5 GHz; one of 6 GHz: 6135"),
        ("36/81", "'36/81': a width is 20, 40, 80 or 160 MHz"),
        ("144/160", "'144/160': no channel of 160 MHz has it as its primary"),
        (5956, "'5956' is not at a channel's frequency"),
        (-6, "'-6' is no channel: write 6, 36/80 (width 80 MHz) or 5955 (MHz)"),
        (99999999999999999999, "'99999999999999999999' is not at a channel's frequency"),
    ],
)
def test_what_is_no_channel_is_said(written: int | str, said: str) -> None:
    with pytest.raises(ValueError, match=r"channel|width") as caught:
        parse(written)

    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        (Channel(2437), "6"), (Channel(5180, 80), "36/80"), (Channel(6135), "6135 MHz"),
        (Channel(5955, 160), "5955 MHz/160"),
    ],
)  # fmt: skip
def test_a_channel_shows_as_it_can_be_told_apart(channel: Channel, text: str) -> None:
    assert str(channel) == text


def test_2_4_ghz_is_visited_in_the_order_of_the_first_datastalker() -> None:
    offered = [phy.frequency(number, 2.4) or 0 for number in range(1, 14)]

    numbers = [phy.channel_number(freq) for freq in of_band(2.4, offered)]

    assert numbers == [1, 6, 11, 3, 8, 13, 2, 7, 12, 4, 10, 5, 9]


def test_5_ghz_is_visited_with_jumps_each_channel_once() -> None:
    offered = [phy.frequency(number, 5) or 0 for number in [*FIVE, 34, 38]]

    order = of_band(5, offered)

    assert sorted(order) == [phy.frequency(number, 5) for number in FIVE]
    assert min(abs(a - b) for a, b in pairwise(order)) > 80


def test_6_ghz_is_visited_on_its_15_preferred_scanning_channels() -> None:
    order = of_band(6, [phy.frequency(number, 6) or 0 for number in SIX])

    assert sorted(phy.channel_number(freq) or 0 for freq in order) == list(range(5, 230, 16))


@pytest.mark.parametrize("count", range(30))
def test_a_spread_loses_nothing(count: int) -> None:
    assert sorted(spread(list(range(count)))) == list(range(count))


def test_a_channel_is_as_wide_as_card_and_standard_allow() -> None:
    assert narrowed(Channel(5180, 160), (20, 40, 80)) == Channel(5180, 80)
    assert narrowed(Channel(5720, 160), (20, 40, 80, 160)) == Channel(5720, 80)
    assert narrowed(Channel(2484, 40), (20, 40)) == Channel(2484, 20)
