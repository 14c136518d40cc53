"""Which channels are visited, in which order, by which card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capture_agent.channels import Channel, narrowed, of_band, parse
from capture_agent.wireless import Card
from datastalker.options import option, options_of


def _bands(bands: list[float]) -> str | None:
    wrong = [band for band in bands if band not in (2.4, 5, 6)]
    return f"has bands 2.4, 5 and 6 (GHz), not {wrong[0]:g}" if wrong else None


class HopperOptions:
    """What stands under `hopper:`."""

    channels: list[int | str] | None = option(
        None,
        "the channels, in the order in which they are visited: 6, 36/80 (80 MHz wide), 5955 (MHz); "
        "numbers are of `bands`; null: all of `bands` that the cards can hear",
    )
    bands: list[float] = option(
        [2.4, 5], "in GHz: 2.4, 5, 6 (there the preferred scanning channels)",
        check=_bands,
    )  # fmt: skip
    width_mhz: int = option(
        20, "how wide to listen, where channel and card allow: 20, 40, 80, 160",
        check=lambda width: None if width in (20, 40, 80, 160) else "must be 20, 40, 80 or 160",
    )  # fmt: skip
    dwell_ms: int = option(250, "how long it listens to a channel", minimum=20, maximum=600_000)
    karma: bool = option(True, "stay longer on a channel where clients are heard")
    max_karma: int = option(10, "how many times dwell_ms longer, at most", minimum=1, maximum=1000)


def defaults() -> dict[str, Any]:
    """The options where nothing but `hopper: true` is given."""
    return {opt.name: opt.default for opt in (options_of(HopperOptions) or {}).values()}


def check_channels(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the channels: yields (option, what)."""
    if options["channels"] == []:
        yield "channels", "must name at least one channel; without it, all of `bands` are visited"
    if not options["bands"]:
        yield "bands", "must name at least one band"
    for index, written in enumerate(options["channels"] or ()):
        try:
            parse(written, options["bands"], options["width_mhz"])
        except ValueError as error:
            yield f"channels.{index}", str(error)


@dataclass(slots=True)
class Plan:
    """Channels by card, in the order of visits. `nobody`: no card can hear these."""

    shares: dict[str, list[Channel]] = field(default_factory=dict)
    nobody: list[Channel] = field(default_factory=list)


def wanted(options: Mapping[str, Any], cards: Iterable[Card] = ()) -> list[Channel]:
    """The channels that a configuration asks for. Raises ValueError for what is no channel."""
    bands, width = options["bands"], options["width_mhz"]
    if options["channels"] is not None:
        found = [parse(written, bands, width) for written in options["channels"]]
    else:
        offered = {freq for card in cards for freq in card.offers if card.can(freq)}
        found = [Channel(freq, width) for band in bands for freq in of_band(band, offered)]
    return list(dict.fromkeys(found))


def split(
    channels: Iterable[Channel],
    cards: Mapping[str, Card],
    refused: Iterable[tuple[str, int]] = (),
) -> Plan:
    """Divide the channels among the cards: each goes to one that can hear it, so that all are
    visited about equally often; a card for which nothing is left shares with the others.

    `cards` by the interface that tunes them. `refused`: (interface, MHz) that proved impossible.
    """
    not_those = set(refused)
    able = {
        channel: [
            name
            for name, card in cards.items()
            if card.can(channel.freq_mhz) and (name, channel.freq_mhz) not in not_those
        ]
        for channel in channels
    }
    plan = Plan({name: [] for name in cards}, [channel for channel in able if not able[channel]])
    # What few can do is given away first; the order of visits is that of the plan all the same.
    owner: dict[Channel, str] = {}
    load = dict.fromkeys(cards, 0)
    for channel in sorted((c for c in able if able[c]), key=lambda c: len(able[c])):
        owner[channel] = min(able[channel], key=load.__getitem__)
        load[owner[channel]] += 1
    for name, card in cards.items():
        mine = [c for c in able if owner.get(c) == name] or [c for c in able if name in able[c]]
        plan.shares[name] = [narrowed(c, card.widths(c.freq_mhz)) for c in mine]
    return plan
