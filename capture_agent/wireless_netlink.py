"""nl80211 by netlink. pyroute2 knows the protocol and the kernel's attributes; here is what we ask.

A dump of cards comes in pieces (`SPLIT_WIPHY_DUMP`), without which the kernel leaves out all that
did not fit one message in 2013: among it the 6 GHz band. A card's pieces are put together here.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from capture_agent.channels import Channel
from capture_agent.wireless import NO_NL80211, Card, NoWireless, Offer, Port

_WIDTHS = {20: 1, 40: 2, 80: 3, 160: 5}  # enum nl80211_chan_width
_MODES = {"managed": 2, "monitor": 6}  # enum nl80211_iftype
_NAMES = {1: "IBSS", 2: "managed", 3: "AP", 4: "AP/VLAN", 6: "monitor", 7: "mesh point"}
_NAMES |= {8: "P2P-client", 9: "P2P-GO", 10: "P2P-device"}
_BY_WORD = {"station": "managed", "adhoc": "IBSS", "ap": "AP", "ap_vlan": "AP/VLAN"}
_BY_WORD |= {"mesh_point": "mesh point", "p2p_client": "P2P-client", "p2p_go": "P2P-GO"}
_BY_WORD |= {"p2p_device": "P2P-device"}


class Netlink:
    """See `wireless.Wireless`."""

    def __init__(self, library: Any, connection: Any, error: type[Exception]) -> None:
        self._library, self._connection, self._error = library, connection, error

    def cards(self) -> list[Card]:
        cards = merge(self._ask("GET_WIPHY", dump=True, SPLIT_WIPHY_DUMP=""))
        by_index = {card.index: card for card in cards}
        for message in self._ask("GET_INTERFACE", dump=True):
            card, name = by_index.get(_get(message, "WIPHY")), _get(message, "IFNAME")
            if card is not None and name:  # a P2P device has no interface
                mode = _NAMES.get(_get(message, "IFTYPE"), "unknown")
                card.ports.append(Port(name, mode, _get(message, "WIPHY_FREQ")))
        return cards

    def add_monitor(self, card: str, name: str) -> None:
        index = next((known.index for known in self.cards() if known.name == card), None)
        if index is None:
            raise OSError(errno.ENODEV, f"there is no card {card}")
        self._ask("NEW_INTERFACE", WIPHY=index, IFNAME=name, IFTYPE=_MODES["monitor"])

    def remove(self, name: str) -> None:
        self._ask("DEL_INTERFACE", IFINDEX=_index(name))

    def set_mode(self, name: str, mode: str) -> None:
        self._ask("SET_INTERFACE", IFINDEX=_index(name), IFTYPE=_MODES[mode])

    def tune(self, name: str, channel: Channel) -> None:
        self._ask("SET_WIPHY", **tuning(_index(name), channel))

    def close(self) -> None:
        _end(self._connection)

    def _ask(self, command: str, *, dump: bool = False, **attributes: Any) -> list[Any]:
        message = request(self._library, command, attributes)
        flags = 0x1 | (0x300 if dump else 0x4)  # REQUEST, and DUMP or ACK
        try:
            return list(self._connection.nlm_request(message, self._connection.prid, flags))
        except self._error as error:
            number = getattr(error, "code", errno.EIO)
            raise OSError(number, f"nl80211 {command}: {error.args[-1]}") from error


def connect() -> Netlink:
    """Raises NoWireless where the library isn't installed, or the kernel has no nl80211."""
    try:
        from pyroute2.netlink import nl80211
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError:
        raise NoWireless("the package pyroute2 is not installed (datastalker[agent])") from None
    connection = nl80211.NL80211()
    try:
        connection.bind()
    except NetlinkError as error:
        _end(connection)
        if error.code == errno.ENOENT:
            raise NoWireless(NO_NL80211) from None
        raise OSError(error.code, f"nl80211: {error.args[-1]}") from error
    return Netlink(nl80211, connection, NetlinkError)


def _end(connection: Any) -> None:
    """Close it, and the event loop that the library made for it and leaves open."""
    loop = connection.asyncore.event_loop
    connection.close()
    if not loop.is_closed():
        loop.close()


def request(library: Any, command: str, attributes: dict[str, Any]) -> Any:
    """A message of pyroute2's that asks for that."""
    message = library.nl80211cmd()
    message["cmd"] = library.NL80211_NAMES[f"NL80211_CMD_{command}"]
    message["attrs"] = [[f"NL80211_ATTR_{name}", value] for name, value in attributes.items()]
    return message


def tuning(index: int, channel: Channel) -> dict[str, Any]:
    """The attributes that set a channel."""
    attributes = {"IFINDEX": index, "WIPHY_FREQ": channel.freq_mhz}
    attributes["CHANNEL_WIDTH"] = _WIDTHS[channel.width_mhz]
    if channel.width_mhz > 20:
        attributes["CENTER_FREQ1"] = channel.centre_mhz
    return attributes


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


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise OSError(errno.ENODEV, f"there is no interface {name}") from None
