"""Monitor mode: from the interfaces that a configuration names to those that hear the whole air.

One that is in monitor mode already is taken as it is. For another the agent makes an interface of
its own beside it, `dsmon0` on the card phy0, and removes it at the end. Where the driver can't have
two, the card's own is switched, if nobody uses it, and switched back.

What is ours says so: its alias is OURS, and who made it holds a name in the abstract namespace of
sockets, which lives and dies with the process, in the same network namespace. So a crash's leftover
is told from an interface that a living agent uses, and from one that is somebody else's.
"""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from capture_agent import device, device_change
from capture_agent.wireless import Card, NoWireless, Wireless, connect, reason
from datastalker.errors import InputError

log = logging.getLogger("datastalker.stage.wifi_sniffer")

OURS = "datastalker"
_AGAIN_SECONDS = (5.0, 300.0)
"""Until it is tried again; more each time, for asking for the cards keeps us from hearing."""
_DISTURBERS = ("NetworkManager", "wpa_supplicant", "hostapd", "iwd", "dhcpcd", "connmand")
_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSPC, errno.ENFILE, errno.EBUSY)


class Monitors:
    """The interfaces to capture on, in the order of those that were named.

    `prepare` may be asked again when a card has come back: what is there already stays.
    """

    def __init__(self, wireless: Callable[[], Wireless] = connect) -> None:
        self._connect = wireless
        self._wireless: Wireless | None = None
        self._made: dict[str, tuple[str, socket.socket]] = {}
        self._switched: set[str] = set()
        self._tried, self._pause = 0.0, _AGAIN_SECONDS[0]
        self._said: dict[str, str] = {}

    @property
    def changed(self) -> bool:
        """Whether there is something to put back at the end, which takes CAP_NET_ADMIN."""
        return bool(self._made or self._switched)

    def prepare(self, names: list[str]) -> list[str]:
        """One that is no interface of a card is given back as it is: who opens it says more.

        Raises InputError where an interface can't be put into monitor mode.
        """
        return [self._prepare(name) for name in names]

    def turn(self, now: float) -> None:
        """What is ours and went away with its card is made again when the card is back."""
        if now - self._tried < self._pause:
            return
        self._tried = now
        wrong = {name: said for name, said in self._mend() if said}
        for name, said in wrong.items():
            if self._said.get(name) != said:
                log.warning("%s is back, but %s", name, said)
        self._said = wrong
        least, most = _AGAIN_SECONDS
        self._pause = min(most, self._pause * 2) if wrong else least

    def _mend(self) -> Iterator[tuple[str, str]]:
        """Interfaces that are back, and what is wrong with them; empty: nothing any more."""
        for name, (ours, _) in self._made.items():
            if device.find(ours) is None and device.find(name) is not None:
                try:
                    card = self._card(name)
                    if card is not None:
                        self._make(card, ours)
                        log.warning("%s is back; %s was made again", name, ours)
                        yield name, ""
                except (OSError, InputError) as error:
                    yield name, f"has no monitor interface: {error}"
        for name in self._switched:
            found = device.find(name)
            if found is not None and found.type not in device.LINK_TYPES:
                try:
                    self._switch(name, "monitor")
                except OSError as error:
                    yield name, f"not in monitor mode: {reason(error)}"

    def close(self) -> None:
        """Remove what was made, switch back what was switched."""
        for ours, lock in self._made.values():
            self._quietly(ours, self._remove)
            lock.close()
        for name in self._switched:
            self._quietly(name, lambda name: self._switch(name, "managed"))
        self._made.clear()
        self._switched.clear()
        if self._wireless is not None:
            self._wireless.close()
            self._wireless = None

    def _quietly(self, name: str, act: Callable[[str], None]) -> None:
        try:
            if device.find(name) is not None:
                act(name)
        except OSError as error:
            log.warning("%s can't be put back as it was: %s", name, reason(error))

    def _prepare(self, name: str) -> str:
        if name in self._made:
            return self._made[name][0]
        found = device.find(name)
        if found is None or found.type in device.LINK_TYPES:
            return name
        try:
            card = self._card(name)
            return name if card is None else self._own(name, card, found.up)
        except NoWireless as error:
            if not Path(f"/sys/class/net/{name}/phy80211").exists():
                return name
            text = str(error)
        except OSError as error:
            text = reason(error)
        raise InputError(f"interface: {name} can't be put into monitor mode: {text}")

    def _own(self, name: str, card: Card, up: bool) -> str:
        if not card.can_monitor:
            raise InputError(
                f"interface: the driver of {name} has no monitor mode; `stalk interfaces` lists "
                "cards that have"
            )
        ours = f"dsmon{card.index}"
        lock = _lock(ours)
        if lock is None:
            raise InputError(
                f"interface: {ours}, the monitor interface of {name}, is in use by another agent; "
                "one of them is enough for a card"
            )
        try:
            self._clear(name, ours)
            with _uninterrupted():
                self._make(card, ours)
                self._made[name] = ours, lock
        except BaseException as error:
            if name in self._made:  # a signal
                raise
            lock.close()
            if up or not isinstance(error, OSError) or error.errno not in _CANNOT:
                raise
            with _uninterrupted():
                self._switch(name, "monitor")
            return name
        if up:
            _warn_of_users(name)
        return ours

    def _clear(self, name: str, ours: str) -> None:
        """What a crash left behind goes; what is not ours stays, and is in the way."""
        if device.find(ours) is None:
            return
        if device_change.alias(ours) != OURS:
            raise InputError(
                f"interface: there is an interface {ours} that is not ours; remove it "
                f"(iw dev {ours} del), or name it in place of {name}"
            )
        log.warning("%s was left behind by a crash; it is made anew", ours)
        self._remove(ours)

    def _make(self, card: Card, ours: str) -> None:
        wireless = self._open()
        wireless.add_monitor(card, ours)
        try:
            device_change.set_alias(ours, OURS)
            device_change.set_up(ours, True)
        except OSError:
            wireless.remove(ours)
            raise

    def _remove(self, ours: str) -> None:
        self._open().remove(ours)

    def _switch(self, name: str, mode: str) -> None:
        device_change.set_up(name, False)
        self._open().set_mode(name, mode)
        if mode == "monitor":
            self._switched.add(name)  # now: it has to be put back also if it doesn't come up
        device_change.set_up(name, mode == "monitor")

    def _card(self, name: str) -> Card | None:
        cards = self._open().cards()
        return next((card for card in cards if any(port.name == name for port in card.ports)), None)

    def _open(self) -> Wireless:
        if self._wireless is None:
            self._wireless = self._connect()
        return self._wireless


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal comes before what is done here, or behind it: what is made is also noted.

    Its handler waits. To block it would not do: another thread takes it, and the main one handles it.
    """
    if threading.current_thread() is not threading.main_thread():  # which no handler interrupts
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught in dict.fromkeys(came):
            signal.raise_signal(caught)


def _lock(name: str) -> socket.socket | None:
    """A name that only one living process in this network namespace can hold."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0{OURS}/{name}")
    except OSError:
        held.close()
        return None
    return held


def disturbers() -> list[str]:
    """Programs that run here and set modes and channels of cards that they have in hand."""
    programs = _programs()
    return [program for program in _DISTURBERS if program in programs]


def _warn_of_users(name: str) -> None:
    who = disturbers()
    log.warning(
        "%s is up, so the card may follow its channel and refuse ours%s; take it down (ip link set "
        "%s down), and out of their hands (nmcli device set %s managed no)",
        name,
        f": {' and '.join(who)} run here" if who else "",
        name,
        name,
    )


def _programs() -> set[str]:
    found = set()
    for file in Path("/proc").glob("[0-9]*/comm"):
        try:
            found.add(file.read_text().strip())
        except OSError:  # it has ended
            continue
    return found
