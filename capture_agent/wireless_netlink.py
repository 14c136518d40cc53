"""nl80211 by netlink: what is set, we ask for ourselves; what is listed, `wireless_cards` asks."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from capture_agent import wireless_cards
from capture_agent.channels import Channel
from capture_agent.genetlink import Family, attribute
from capture_agent.wireless import NO_NL80211, Card, NoWireless

_SET_WIPHY, _SET_INTERFACE, _NEW_INTERFACE, _DEL_INTERFACE = 2, 6, 7, 8
_WIPHY, _IFINDEX, _IFNAME, _IFTYPE, _FREQ, _WIDTH, _CENTRE = 1, 3, 4, 5, 38, 159, 160
"""Commands and attributes, by linux/nl80211.h."""
_WIDTHS = {20: 1, 40: 2, 80: 3, 160: 5}  # enum nl80211_chan_width
_MODES = {"managed": 2, "monitor": 6}  # enum nl80211_iftype
_LIST_SECONDS = 60.0  # starting Python and pyroute2 takes seconds on a small computer


_COMMANDS = {_SET_WIPHY: "SET_WIPHY", _SET_INTERFACE: "SET_INTERFACE"}
_COMMANDS |= {_NEW_INTERFACE: "NEW_INTERFACE", _DEL_INTERFACE: "DEL_INTERFACE"}


class Netlink:
    """See `wireless.Wireless`."""

    def __init__(self, family: Family, cards: Callable[[], list[Card]]) -> None:
        self._family, self.cards = family, cards

    def add_monitor(self, card: Card, name: str) -> None:
        mode = attribute(_IFTYPE, _MODES["monitor"])
        self._ask(_NEW_INTERFACE, attribute(_WIPHY, card.index), attribute(_IFNAME, name), mode)

    def remove(self, name: str) -> None:
        self._ask(_DEL_INTERFACE, _interface(name))

    def set_mode(self, name: str, mode: str) -> None:
        self._ask(_SET_INTERFACE, _interface(name), attribute(_IFTYPE, _MODES[mode]))

    def tune(self, name: str, channel: Channel) -> None:
        freq = attribute(_FREQ, channel.freq_mhz)
        width = attribute(_WIDTH, _WIDTHS[channel.width_mhz])
        wide = channel.width_mhz > 20
        centre = attribute(_CENTRE, channel.centre_mhz) if wide else b""
        self._ask(_SET_WIPHY, _interface(name), freq, width, centre)

    def close(self) -> None:
        self._family.close()

    def _ask(self, command: int, *attributes: bytes) -> None:
        try:
            self._family.ask(command, *attributes)
        except OSError as error:
            said = f"nl80211 {_COMMANDS[command]}: {error.strerror}"
            raise OSError(error.errno, said) from error


def connect() -> Netlink:
    """Raises NoWireless where the library isn't installed, or the kernel has no nl80211."""
    if find_spec("pyroute2") is None:
        raise NoWireless("the package pyroute2 is not installed (datastalker[agent])")
    try:
        return Netlink(Family("nl80211"), listed)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NoWireless(NO_NL80211) from None
        raise OSError(error.errno, f"nl80211: {error.strerror}") from error


def listed() -> list[Card]:
    """The cards, by a process that ends when it has said them. Raises OSError."""
    here = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", wireless_cards.__name__]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=_LIST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, "the cards were not listed in time") from None
    if done.returncode:  # above its last words there may be warnings of Python's, or of pyroute2's
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        number, _, text = last.partition(" ")
        if done.returncode == wireless_cards.REFUSED and number.isdecimal():
            raise OSError(int(number), f"nl80211: {text}")
        raise OSError(errno.EIO, f"the cards can't be listed: {last}")
    return wireless_cards.read(done.stdout)


def _interface(name: str) -> bytes:
    try:
        return attribute(_IFINDEX, socket.if_nametoindex(name))
    except OSError:
        raise OSError(errno.ENODEV, f"there is no interface {name}") from None
