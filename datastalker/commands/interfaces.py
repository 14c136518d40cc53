"""`stalk interfaces`: the Wi-Fi cards here, their modes and channels, and what can be captured on."""

from __future__ import annotations

from collections.abc import Iterable

import click

from capture_agent import device, phy
from capture_agent.wireless import Card, NoWireless, Offer, Port, connect, reason
from datastalker.commands.tables import table
from datastalker.errors import InputError
from datastalker.text import printable


@click.command("interfaces")
@click.argument("name", required=False)
def interfaces_command(name: str | None) -> None:
    """List Wi-Fi cards, their interfaces and channels; with a NAME, each channel of that card.

    NAME is a card or an interface of it. Exit code 0: there is something to capture on; 1: there is
    nothing, or no card of that name.
    """
    cards, said = _cards()
    if name is not None:
        card = next((c for c in cards if name in (c.name, *(p.name for p in c.ports))), None)
        if card is None:
            known = ", ".join(c.name for c in cards) or said or "there is none"
            raise InputError(f"no Wi-Fi card is called {printable(name)} ({known})")
        click.echo(_channels(card))
        return
    for card in cards:
        click.echo(_about(card))
    of_cards = {port.name for card in cards for port in card.ports}
    others = [each for each in device.names() if each not in of_cards and _hears(each)]
    for each in others:
        found = device.find(each)
        kind = found.type_name if found is not None else ""
        click.echo(
            f"{printable(each)}  {kind}: capture works; no card of nl80211, so its channel can't be set"
        )
    if said:
        click.echo(said, err=True)
    elif not cards:
        click.echo("nl80211 knows no Wi-Fi card here", err=True)
    if not others and not any(card.can_monitor for card in cards):
        click.echo("there is nothing here to capture on", err=True)
        raise SystemExit(1)


def _cards() -> tuple[list[Card], str]:
    """The cards, or why they are not known."""
    try:
        wireless = connect()
        try:
            return sorted(wireless.cards(), key=lambda card: card.index), ""
        finally:
            wireless.close()
    except NoWireless as error:
        return [], str(error)
    except OSError as error:
        return [], f"the cards can't be listed: {reason(error)}"


def _hears(name: str) -> bool:
    found = device.find(name)
    return found is not None and found.type in device.LINK_TYPES


def _about(card: Card) -> str:
    usable = "can capture" if card.can_monitor else "no monitor mode: can't capture"
    lines = [click.style(f"{printable(card.name)}  {usable}", bold=True)]
    lines.append(f"  modes       {', '.join(card.modes) or 'none named'}")
    for port in card.ports:
        lines.append(f"  interface   {printable(_port(port))}")
    for band in phy.BANDS:
        offers = [offer for freq, offer in card.offers.items() if phy.band(freq) == band]
        if offers:
            lines.append(f"  {f'{band:g} GHz':<10}  {_summary(offers)}")
    return "\n".join(lines) + "\n"


def _port(port: Port) -> str:
    found = device.find(port.name)
    state = "" if found is None else ", up" if found.up else ", down"
    at = ""
    if port.freq_mhz:
        at = f", on channel {phy.channel_number(port.freq_mhz)} ({port.freq_mhz} MHz)"
    return f"{port.name} ({port.mode}{state}{at})"


def _summary(offers: list[Offer]) -> str:
    """`1-11, 12-13 no-IR, 14 disabled`: channels that are alike and follow each other as one."""
    parts: list[str] = []
    begin = before = None
    for offer in [*sorted(offers, key=lambda o: o.freq_mhz), None]:
        alike = offer is not None and before is not None and _state(offer) == _state(before)
        if before is not None and begin is not None and not alike:
            first, last = phy.channel_number(begin.freq_mhz), phy.channel_number(before.freq_mhz)
            parts.append(f"{first}{f'-{last}' if last != first else ''} {_state(before)}".rstrip())
        begin, before = (begin if alike else offer), offer
    wide = max(width for offer in offers for width in offer.widths)
    return f"{', '.join(parts)}; {wide} MHz wide at most"


def _state(offer: Offer) -> str:
    if offer.disabled:
        return "disabled"
    words = [word for word, holds in (("no-IR", offer.no_ir), ("radar", offer.radar)) if holds]
    return " ".join(words)


def _channels(card: Card) -> str:
    def rows() -> Iterable[list[object]]:
        for offer in sorted(card.offers.values(), key=lambda o: o.freq_mhz):
            band = phy.band(offer.freq_mhz)
            yield [
                "" if band is None else f"{band:g} GHz",
                phy.channel_number(offer.freq_mhz),
                str(offer.freq_mhz),
                " ".join(map(str, offer.widths)),
                _state(offer),
                card.can_monitor and card.can(offer.freq_mhz),
            ]

    return table(["band", "channel", "MHz", "widths", "regulations", "can listen"], rows())
