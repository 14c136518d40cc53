"""What is changed about a network interface: up or down, and the note that stands on it."""

from __future__ import annotations

import os
import socket
from fcntl import ioctl
from pathlib import Path
from struct import calcsize, pack, unpack_from

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def set_up(name: str, up: bool) -> None:
    """Take an interface up or down. Raises OSError."""
    raw = os.fsencode(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        flags = unpack_from("H", ioctl(asked, _SIOCGIFFLAGS, pack("16s24x", raw)), 16)[0]
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        ioctl(asked, _SIOCSIFFLAGS, pack("16sH22x", raw, flags))


def alias(name: str) -> str:
    """The note that stands on an interface; empty: none."""
    try:
        return Path(f"/sys/class/net/{name}/ifalias").read_text().strip()
    except OSError:
        return ""


_HEADER, _LINK, _ATTRIBUTE = "IHHII", "BxHiII", "HH"
_RTM_SETLINK, _REQUEST_ACK, _IFLA_IFALIAS = 19, 0x5, 20


def set_alias(name: str, text: str) -> None:
    """Put a note on an interface, by rtnetlink: the file in /sys can be written by root alone, this
    by whoever may make interfaces. Raises OSError."""
    note = text.encode()
    attribute = pack(_ATTRIBUTE, calcsize(_ATTRIBUTE) + len(note), _IFLA_IFALIAS) + note
    attribute += bytes(-len(attribute) % 4)
    body = pack(_LINK, 0, 0, socket.if_nametoindex(name), 0, 0) + attribute
    header = pack(_HEADER, calcsize(_HEADER) + len(body), _RTM_SETLINK, _REQUEST_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.send(header + body)
        number = -unpack_from("i", asked.recv(4096), calcsize(_HEADER))[0]
    if number:
        raise OSError(number, os.strerror(number), name)
