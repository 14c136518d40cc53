"""The cards of this machine, asked of nl80211 through pyroute2, in a process of its own.

pyroute2 knows the protocol and the kernel's attributes. It takes 16 MiB, so a capture agent starts
`python -m capture_agent.wireless_cards` when it asks, and reads lines of JSON, a card each.

A dump of cards comes in pieces (`SPLIT_WIPHY_DUMP`), without which the kernel leaves out all that
did not fit one message in 2013: among it the 6 GHz band. A card's pieces are put together here.
"""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import asdict
from typing import Any

from capture_agent.wireless import Card, Offer, Port

_NAMES = {1: "IBSS", 2: "managed", 3: "AP", 4: "AP/VLAN", 6: "monitor", 7: "mesh point"}
_NAMES |= {8: "P2P-client", 9: "P2P-GO", 10: "P2P-device"}
_BY_WORD = {"station": "managed", "adhoc": "IBSS", "ap": "AP", "ap_vlan": "AP/VLAN"}
_BY_WORD |= {"mesh_point": "mesh point", "p2p_client": "P2P-client", "p2p_go": "P2P-GO"}
_BY_WORD |= {"p2p_device": "P2P-device"}

REFUSED = 3
"""The exit code where the kernel refuses; its error number is the first word on standard error."""


def ask() -> list[Card]:
    """Raises OSError where the kernel refuses."""
    from pyroute2.netlink import nl80211
    from pyroute2.netlink.exceptions import NetlinkError

    connection = nl80211.NL80211()
    try:
        connection.bind()
        return cards(nl80211, connection)
    except NetlinkError as error:
        raise OSError(error.code, str(error.args[-1])) from error
    finally:
        end(connection)


def cards(library: Any, connection: Any) -> list[Card]:
    """By a connection of pyroute2's."""
    found = merge(_dump(library, connection, "GET_WIPHY", SPLIT_WIPHY_DUMP=""))
    by_index = {card.index: card for card in found}
    for message in _dump(library, connection, "GET_INTERFACE"):
        card, name = by_index.get(_get(message, "WIPHY")), _get(message, "IFNAME")
        if card is not None and name:  # a P2P device has no interface
            mode = _NAMES.get(_get(message, "IFTYPE"), "unknown")
            card.ports.append(Port(name, mode, _get(message, "WIPHY_FREQ")))
    return found


def _dump(library: Any, connection: Any, command: str, **attributes: Any) -> list[Any]:
    message = library.nl80211cmd()
    message["cmd"] = library.NL80211_NAMES[f"NL80211_CMD_{command}"]
    message["attrs"] = [[f"NL80211_ATTR_{name}", value] for name, value in attributes.items()]
    return list(connection.nlm_request(message, connection.prid, 0x301))  # REQUEST, DUMP


def end(connection: Any) -> None:
    """Close it, and the event loop that the library made for it and leaves open."""
    loop = connection.asyncore.event_loop
    connection.close()
    if not loop.is_closed():
        loop.close()


def merge(messages: list[Any]) -> list[Card]:
    """The cards of a dump; what is told of a card in pieces, put together."""
    cards: dict[int, Card] = {}
    bands: dict[tuple[int, int], set[int]] = {}
    for message in messages:
        index = _get(message, "WIPHY")
        if index is None:
            continue
        card = cards.setdefault(index, Card(f"phy{index}", index))
        card.name = _get(message, "WIPHY_NAME") or card.name
        modes = [_BY_WORD.get(word, word) for word in _get(message, "SUPPORTED_IFTYPES") or ()]
        card.modes = (*card.modes, *modes)
        for band in _get(message, "WIPHY_BANDS") or ():
            number = band["header"]["type"] if "header" in band else 0
            widths = bands.setdefault((index, number), {20})
            widths |= _widths(band)
            for told in band.get_attr("NL80211_BAND_ATTR_FREQS") or ():
                offer = _offer(told, widths)
                card.offers[offer.freq_mhz] = offer
    return list(cards.values())


def _offer(told: Any, widths: set[int]) -> Offer:
    def has(name: str) -> bool:
        return told.get_attr(f"NL80211_FREQUENCY_ATTR_{name}") is not None

    allowed = widths - {40 if has("NO_HT40_MINUS") and has("NO_HT40_PLUS") else 0}
    allowed -= {80 if has("NO_80MHZ") else 0, 160 if has("NO_160MHZ") else 0}
    return Offer(
        told.get_attr("NL80211_FREQUENCY_ATTR_FREQ") or 0,
        disabled=has("DISABLED"),
        no_ir=has("NO_IR"),
        radar=has("RADAR"),
        widths=tuple(sorted(allowed)),
    )


def _widths(band: Any) -> set[int]:
    """What the card can do in a band: its HT, VHT and HE capabilities."""
    found: set[int] = set()
    if (band.get_attr("NL80211_BAND_ATTR_HT_CAPA") or 0) & 0x2:
        found.add(40)
    vht = band.get_attr("NL80211_BAND_ATTR_VHT_CAPA")
    if vht is not None:
        found |= {80, 160} if vht & 0xC else {80}
    for kind in band.get_attr("NL80211_BAND_ATTR_IFTYPE_DATA") or ():
        he = kind.get_attr("NL80211_BAND_IFTYPE_ATTR_HE_CAP_PHY")
        first = he[0] if he else 0
        found |= {40} if first & 0x02 else set()
        found |= {40, 80} if first & 0x04 else set()
        found |= {160} if first & 0x08 else set()
    return found


def _get(message: Any, name: str) -> Any:
    return message.get_attr(f"NL80211_ATTR_{name}")


def read(text: str) -> list[Card]:
    """The cards, from what `main` has written."""
    found = []
    for line in text.splitlines():
        told = json.loads(line)
        offers = [Offer(**each | {"widths": tuple(each["widths"])}) for each in told["offers"]]
        ports = [Port(**port) for port in told["ports"]]
        found.append(
            Card(
                told["name"],
                told["index"],
                tuple(told["modes"]),
                {each.freq_mhz: each for each in offers},
                ports,
            )
        )
    return found


def write(found: list[Card]) -> str:
    """A card a line."""
    told = [asdict(card) | {"offers": list(map(asdict, card.offers.values()))} for card in found]
    return "".join(json.dumps(card) + "\n" for card in told)


def main() -> int:
    """Writes the cards to standard output; gives the exit code."""
    try:
        sys.stdout.write(write(ask()))
    except OSError as error:
        print(error.errno or errno.EIO, error.strerror, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
