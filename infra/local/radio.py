"""A monitor interface without a Wi-Fi card: a TUN device whose frames are said to be 802.11.

To whoever listens it is as real as any: the kernel stamps, filters, queues and drops. What it lacks
is what nl80211 does: modes and channels. Needs /dev/net/tun and CAP_NET_ADMIN.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from fcntl import ioctl
from struct import pack, unpack_from

RADIOTAP, PRISM, BARE, ETHERNET = 803, 802, 801, 1
"""Link types (ARPHRD)."""

_TUNSETIFF, _TUNSETPERSIST, _TUNSETLINK = 0x400454CA, 0x400454CB, 0x400454CD
_TUN, _TAP, _BARE_TAP = 0x0001, 0x0002, 0x1000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_UP, _NO_ARP, _MULTICAST = 0x1, 0x80, 0x1000
# What a TUN device wants before each frame: flags, protocol. With ETH_P_802_2, as mac80211 has it,
# the kernel looks into none of it; a TAP would take the frame's 12th byte for its protocol.
_PREFIX = pack(">HH", 0, 0x0004)
_AT_ONCE = 16


class Radio:
    """An interface that hears what `send` is given; gone with `remove`."""

    def __init__(self, name: str, link_type: int = RADIOTAP) -> None:
        self.name, self.link_type = name, link_type
        self._device = -1
        self.create()

    @classmethod
    def kept(cls, name: str) -> Radio:
        """One that another process has made and let `keep`, as it is."""
        radio = cls.__new__(cls)
        radio.name = name
        return radio._open()

    def create(self) -> Radio:
        """Make it, up; after `remove` it is another interface of the same name."""
        return self._open().become(self.link_type)

    def _open(self) -> Radio:
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        ioctl(self._device, _TUNSETIFF, pack("16sH22x", self.name.encode(), _TUN))
        return self

    def keep(self) -> Radio:
        """Have it stay when this process has ended: `ip link del` removes it then."""
        ioctl(self._device, _TUNSETPERSIST, 1)
        return self

    def become(self, link_type: int) -> Radio:
        """Change the link type, for which it goes down for a moment."""
        self.down()
        ioctl(self._device, _TUNSETLINK, link_type)
        self.link_type = link_type
        return self.up()

    def up(self) -> Radio:
        return self._flags(_UP | _NO_ARP, _MULTICAST)

    def down(self) -> Radio:
        return self._flags(0, _UP)

    def _flags(self, on: int, off: int) -> Radio:
        name = self.name.encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            flags: int = unpack_from("H", ioctl(asked, _SIOCGIFFLAGS, pack("16s24x", name)), 16)[0]
            ioctl(asked, _SIOCSIFFLAGS, pack("16sH22x", name, (flags | on) & ~off))
        return self

    def send(self, frames: Iterable[bytes], rate: float = 0) -> int:
        """Have it hear frames, so many a second (0: as fast as can be). Gives how many it took:
        one that is down takes none."""
        started, sent, taken = time.monotonic(), 0, 0
        for frame in frames:
            if rate and sent % _AT_ONCE == 0:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
            sent += 1
            try:
                os.write(self._device, _PREFIX + frame)
                taken += 1
            except OSError:
                continue
        return taken

    def remove(self) -> None:
        if self._device >= 0:
            os.close(self._device)
            self._device = -1


class Uplink:
    """An Ethernet interface with an address of its own, as a host's uplink has."""

    def __init__(self, name: str) -> None:
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        raw = os.fsencode(name)
        ioctl(self._device, _TUNSETIFF, pack("16sH22x", raw, _TAP | _BARE_TAP))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            found = ioctl(asked, 0x8927, pack("16s24x", raw))
        self.address = bytes(found[18:24])

    def remove(self) -> None:
        os.close(self._device)
