"""Network interfaces as the kernel knows them: is it there, is it up, what do its frames begin with,
and which addresses are our own.

Asked by ioctl, which needs no rights and works where /sys is not mounted.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from struct import pack, unpack_from

from capture_agent import link

LINK_TYPES = {801: link.BARE, 802: link.PRISM, 803: link.RADIOTAP}
"""The kernel's link types (ARPHRD) that carry 802.11 frames as they are on the air."""

_NAMES = {1: "Ethernet", 772: "loopback", 801: "bare 802.11"}
_NAMES |= {802: "Prism", 803: "radiotap"}
_ETHERNET = 1

_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927
_IFF_UP = 0x1


@dataclass(frozen=True, slots=True)
class Device:
    """An interface now. `type`: of its link, ARPHRD. `address`: 6 bytes, zeros where it has none."""

    index: int
    type: int
    up: bool
    address: bytes

    @property
    def type_name(self) -> str:
        return type_name(self.type)


def type_name(number: int) -> str:
    """An ARPHRD for people."""
    return _NAMES.get(number, f"link type {number}")


def find(name: str) -> Device | None:
    """The interface of that name; None: there is none."""
    raw = os.fsencode(name)
    try:
        index = socket.if_nametoindex(name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            flags = unpack_from("H", ioctl(asked, _SIOCGIFFLAGS, pack("16s24x", raw)), 16)[0]
            found = ioctl(asked, _SIOCGIFHWADDR, pack("16s24x", raw))
    except OSError:  # none, or gone between two questions
        return None
    return Device(index, unpack_from("H", found, 16)[0], bool(flags & _IFF_UP), found[18:24])


def names() -> list[str]:
    """All interfaces there are."""
    return [name for _, name in socket.if_nameindex()]


def own_addresses() -> set[str]:
    """Every link address of this host: of each interface, and those that its Wi-Fi cards may use
    for others (virtual interfaces, links)."""
    found = set()
    for name in names():
        device = find(name)
        if device is not None and device.type in (_ETHERNET, *LINK_TYPES) and any(device.address):
            found.add(device.address.hex(":"))
    for file in Path("/sys/class/ieee80211").glob("*/addresses"):
        try:
            found.update(file.read_text().lower().split())
        except OSError:
            continue
    return found
