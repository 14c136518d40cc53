"""Wi-Fi cards as the kernel's nl80211 knows them: what they can do, and the few things we ask them.

Two ways lead there: netlink by a library (`wireless_netlink`), and the program `iw`
(`wireless_iw`). Both raise OSError with the kernel's error number for what it refuses.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from capture_agent.channels import Channel
from datastalker.errors import InputError


class NoWireless(InputError):  # noqa: N818 - as one says it
    """There is no nl80211 here, or nothing to speak to it with. Says what to do."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A frequency that a card knows, and what the regulations of the country make of it.

    `no_ir`: it may listen there, but not send first. `radar`: shared with radars.
    """

    freq_mhz: int
    disabled: bool = False
    no_ir: bool = False
    radar: bool = False
    widths: tuple[int, ...] = (20,)


@dataclass(slots=True)
class Port:
    """A network interface of a card. `mode` as in `iw`: managed, monitor, AP, …"""

    name: str
    mode: str
    freq_mhz: int | None = None


@dataclass(slots=True)
class Card:
    """A radio: one, however many interfaces it has; they share its channel."""

    name: str
    index: int = -1
    modes: tuple[str, ...] = ()
    offers: dict[int, Offer] = field(default_factory=dict)
    ports: list[Port] = field(default_factory=list)

    @property
    def can_monitor(self) -> bool:
        return "monitor" in self.modes

    def can(self, freq_mhz: int) -> bool:
        """Whether it may listen there. A card that names no frequency is believed to."""
        offer = self.offers.get(freq_mhz)
        return not self.offers or (offer is not None and not offer.disabled)

    def widths(self, freq_mhz: int) -> tuple[int, ...]:
        offer = self.offers.get(freq_mhz)
        return offer.widths if offer is not None else (20,)


class Wireless(Protocol):
    """What is asked of nl80211. Each raises OSError where the kernel refuses."""

    def cards(self) -> list[Card]:
        """Every card there is."""

    def add_monitor(self, card: Card, name: str) -> None:
        """A new interface in monitor mode; it is down."""

    def remove(self, name: str) -> None:
        """An interface away."""

    def set_mode(self, name: str, mode: str) -> None:
        """Of an interface that is down: `monitor` or `managed`."""

    def tune(self, name: str, channel: Channel) -> None:
        """The card of this interface listens on that channel from now on. Takes milliseconds."""

    def close(self) -> None:
        """Let go of what it holds."""


def connect() -> Wireless:
    """The best way to nl80211 that there is here. Raises NoWireless."""
    said: list[str] = []
    for module in ("capture_agent.wireless_netlink", "capture_agent.wireless_iw"):
        try:
            make: Callable[[], Wireless] = importlib.import_module(module).connect
            return make()
        except NoWireless as error:
            if str(error) not in said:
                said.append(str(error))
    raise NoWireless("; ".join(said))


NO_NL80211 = (
    "this kernel has no nl80211: no Wi-Fi driver is loaded, or (in a container or a virtual "
    "machine) there is none; channels and monitor mode are out of reach"
)


def reason(error: OSError) -> str:
    """Why the kernel refused, for people, with what to do about it."""
    said = {
        errno.EPERM: "not permitted: it needs CAP_NET_ADMIN (root, or AmbientCapabilities= of a unit)",
        errno.EBUSY: "the card is in use: another interface of it is up, or connected",
        errno.EINVAL: "not allowed on this channel, here and now",
        errno.ENODEV: "the interface is gone",
        errno.ENETDOWN: "the interface is down",
        errno.EOPNOTSUPP: "the driver can't do it",
        errno.ERFKILL: "the radio is switched off (rfkill unblock wifi)",
        errno.ETIMEDOUT: "the driver does not answer",
    }.get(error.errno or 0)
    return said or error.strerror or str(error)
