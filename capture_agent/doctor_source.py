"""The doctor's look at the source: the interfaces, their modes, who disturbs, the rights; or files."""

from __future__ import annotations

import os
import pwd
import select
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from capture_agent import bpf, capture_set, device, monitor, rights
from capture_agent.device import LINK_TYPES
from capture_agent.wireless import Card, NoWireless, connect, reason
from datastalker import extras
from datastalker.config import Step
from datastalker.errors import DataStalkerError
from datastalker.finding import Check, Finding, failed, of_error, ok, warning

_HEAR_SECONDS = 2.0
_EVERYTHING = 0x0003  # ETH_P_ALL


def checks(step: Step) -> list[Check]:
    """What the source of a pipeline needs; of those of plug-ins nothing is known."""
    if step.name == "pcap":
        look = partial(_files, step.options["path"])
        return [Check("pcap", look, "is the disk of pcap: path still there?")]
    if step.name != "wifi_sniffer":
        return []
    options = step.options
    names = (
        [options["interface"]] if isinstance(options["interface"], str) else options["interface"]
    )
    found = [
        Check(
            f"interface {name}", partial(_interface, name, options), "does the driver hang? dmesg"
        )
        for name in names
    ]
    remedy = "does the driver hang? dmesg"
    found.append(Check("rights", partial(_rights, names, options), remedy))
    if options["hopper"]:
        found.append(Check("hopper", partial(_hopper, names), remedy))
    return found


def _files(path: str | list[str]) -> Iterator[Finding]:
    try:
        sources, left_out = capture_set.find(path)
    except DataStalkerError as error:
        yield of_error("pcap", "there is nothing to read", error, "correct pcap: path")
        return
    live = sum(source.live for source in sources)
    mb = sum(source.size for source in sources) / 1048576
    if left_out:
        text = f"{len(left_out)} of {len(left_out) + len(sources)} files can't be read"
        cause = f"{left_out[0]} is no capture file, or may not be read"
        yield warning("pcap", text, cause, "correct pcap: path, or the files' rights")
    files = "1 capture file" if len(sources) == 1 else f"{len(sources):,} capture files"
    yield ok("pcap", "a stream" if live else f"{files}, {mb:,.1f} MiB")


def _interface(name: str, options: dict[str, Any]) -> Iterator[Finding]:
    about = f"interface {name}"
    found = device.find(name)
    if found is None:
        there = ", ".join(device.names()) or "none"
        remedy = "plug it in, or correct wifi_sniffer: interface; `stalk interfaces` lists cards"
        yield failed(
            about, "it isn't there", f"no interface has that name; there are: {there}", remedy
        )
        return
    is_card = Path(f"/sys/class/net/{name}/phy80211").exists()
    if found.type not in LINK_TYPES:
        yield from _other_mode(about, name, found, is_card, options["monitor"] == "auto")
    elif not found.up:
        yield failed(
            about, f"{found.type_name}, down", "nobody has set it up", f"ip link set {name} up"
        )
    else:
        yield from _hears(about, name, found)
    if is_card or found.type in LINK_TYPES:
        who = monitor.disturbers()
        if who:
            cause = f"{' and '.join(who)} may change its mode and channel, if they have it in hand"
            remedy = f"nmcli device set {name} managed no, and no wpa_supplicant or hostapd on it"
            yield warning(about, "others that care for Wi-Fi run here", cause, remedy)
    if options["bpf"] is not None:
        yield from _filter(about, found.type, options)


def _other_mode(
    about: str, name: str, found: device.Device, is_card: bool, may: bool
) -> Iterator[Finding]:
    if not (is_card and may):
        cause = (
            f"its link type is {found.type} ({found.type_name}); an interface in monitor mode has "
        )
        cause += "803 (radiotap), 802 or 801"
        remedy = "name another in wifi_sniffer: interface (`stalk interfaces` lists them)"
        if is_card:
            remedy = (
                f"ip link set {name} down; iw dev {name} set type monitor; ip link set {name} up"
            )
            remedy += ", or wifi_sniffer: monitor: auto"
        yield failed(about, "it is not in monitor mode", cause, remedy)
        return
    try:
        card = next((c for c in _cards() if any(port.name == name for port in c.ports)), None)
    except (OSError, NoWireless) as error:
        text = reason(error) if isinstance(error, OSError) else str(error)
        remedy = f"{extras.install('agent')}, or apt install iw; else set it by hand"
        yield failed(about, "it can't be put into monitor mode", text, remedy)
        return
    if card is not None and not card.can_monitor:
        cause = f"the driver of {card.name} has no monitor mode"
        yield failed(about, "it can't hear", cause, "use another card: `stalk interfaces`")
    elif found.up:
        remedy = f"ip link set {name} down; nmcli device set {name} managed no"
        cause = "it is up: the card may follow its channel, and refuse ours"
        yield warning(about, "an interface in monitor mode is made beside it", cause, remedy)
    else:
        yield ok(about, "is not in monitor mode: the agent makes one beside it that is")


def _hears(about: str, name: str, found: device.Device) -> Iterator[Finding]:
    """Listen for a moment, if we may."""
    how = f"{found.type_name}, up"
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
            packets.bind((name, _EVERYTHING))
            count, until = 0, monotonic() + _HEAR_SECONDS
            while (left := until - monotonic()) > 0 and select.select([packets], [], [], left)[0]:
                packets.recv(1)
                count += 1
    except PermissionError:
        yield ok(about, how)  # the rights are a matter of their own
        return
    except OSError as error:
        remedy = "is it the interface that you mean? dmesg says what the driver thinks"
        yield failed(about, f"{how}, can't be listened to", error.strerror or str(error), remedy)
        return
    if count:
        yield ok(about, f"{how}; {count:,} frames in {_HEAR_SECONDS:g} s")
    else:
        cause = "a channel on which nobody sends, an antenna that is off, or a card that is stuck"
        remedy = f"set another channel (iw dev {name} set channel 6), or wifi_sniffer: hopper: true"
        yield warning(about, f"{how}; no frame in {_HEAR_SECONDS:g} s", cause, remedy)


def _filter(about: str, link_type: int, options: dict[str, Any]) -> Iterator[Finding]:
    try:
        bpf.compile_expression(
            options["bpf"], LINK_TYPES.get(link_type, LINK_TYPES[803]), options["snaplen"]
        )
    except DataStalkerError as error:
        remedy = "correct wifi_sniffer: bpf, or leave it out"
        yield of_error(about, "its bpf can't be used", error, remedy)


def _rights(names: list[str], options: dict[str, Any]) -> Iterator[Finding]:
    user = options["user"]
    as_user = f"setpriv --ambient-caps, or AmbientCapabilities= of a unit; or as root{_with(user)}"
    if not rights.has(rights.NET_RAW):
        cause = "this process has no CAP_NET_RAW, without which nobody may hear"
        remedy = f"run this, and the agent, with it: {as_user}"
        yield failed("rights", "may not hear frames", cause, remedy)
    else:
        yield ok("rights", "CAP_NET_RAW: may hear frames")
    others = [n for n in names if (d := device.find(n)) is not None and d.type not in LINK_TYPES]
    making = options["monitor"] == "auto" and any(
        Path(f"/sys/class/net/{name}/phy80211").exists() for name in others
    )
    if options["hopper"] or making:
        what = "to hop" if options["hopper"] else "to make a monitor interface"
        if rights.has(rights.NET_ADMIN):
            yield ok("rights", f"CAP_NET_ADMIN: may set channels and modes, {what}")
        else:
            cause = f"this process has no CAP_NET_ADMIN, and needs it {what}"
            remedy = f"run this, and the agent, with it: {as_user}"
            yield failed("rights", "may not set channels and modes", cause, remedy)
    if user is not None and not rights.exists(user):
        cause = f"wifi_sniffer: user: {user} is nobody here"
        yield failed("rights", "can't become that user", cause, f"useradd --system {user}")
    elif user is not None and os.geteuid() != 0 and not _is(user):
        cause = f"only root can become wifi_sniffer: user: {user}"
        yield failed(
            "rights", "can't become that user", cause, "start it as root, or leave `user` out"
        )


def _with(user: str | None) -> str:
    return "" if user is not None else ", with wifi_sniffer: user: to become"


def _is(user: str) -> bool:
    return pwd.getpwnam(user).pw_uid == os.geteuid()


def _cards() -> list[Card]:
    wireless = connect()
    try:
        return wireless.cards()
    finally:
        wireless.close()


def _hopper(names: list[str]) -> Iterator[Finding]:
    remedy = "take `hopper` out to capture all the same, on the channel that is set"
    try:
        cards = _cards()
    except NoWireless as error:
        yield failed("hopper", "can't hop", str(error), remedy)
        return
    except OSError as error:
        yield failed("hopper", "can't hop", reason(error), remedy)
        return
    mine = [card for card in cards if any(port.name in names for port in card.ports)]
    if not mine:
        cause = f"{' or '.join(names)} is no interface of a Wi-Fi card"
        yield failed("hopper", "can't hop", cause, "name one of `stalk interfaces`")
    for card in mine:
        heard = sum(card.can(freq) for freq in card.offers)
        yield ok("hopper", f"{card.name} can listen to {heard} channels")
