"""nl80211 through `iw`, for where the netlink library is not installed.

`iw` calls its own output unstable, so no more is read of it than what has stood there for ten
years: a line says what it is by its first words, and a line that says nothing is passed over.
"""

from __future__ import annotations

import errno
import re
import shutil
import subprocess

from capture_agent.channels import WIDTHS, Channel
from capture_agent.wireless import NO_NL80211, Card, NoWireless, Offer, Port

_TIMEOUT_SECONDS = 5.0
_REFUSED = re.compile(r"\(-(\d+)\)\s*$")
_FREQUENCY = re.compile(r"\* (\d+)(?:\.\d+)? MHz \[-?\d+\](.*)")
_WIDTH = re.compile(r"\b(?:HT|VHT|HE)?(\d+)")


class Iw:
    """See `wireless.Wireless`."""

    def __init__(self, program: str) -> None:
        self._program = program

    def cards(self) -> list[Card]:
        cards = _parse_phys(self._run("phy"))
        for card in cards:
            card.offers |= _parse_channels(self._run("phy", card.name, "channels"))
        by_index = {card.index: card for card in cards}
        for index, port in _parse_dev(self._run("dev")):
            if index in by_index:
                by_index[index].ports.append(port)
        return cards

    def add_monitor(self, card: Card, name: str) -> None:
        self._run("phy", card.name, "interface", "add", name, "type", "monitor")

    def remove(self, name: str) -> None:
        self._run("dev", name, "del")

    def set_mode(self, name: str, mode: str) -> None:
        self._run("dev", name, "set", "type", mode)

    def tune(self, name: str, channel: Channel) -> None:
        freq, width, centre = channel.freq_mhz, channel.width_mhz, channel.centre_mhz
        if width == 20:
            how = ["HT20"]
        elif width == 40:
            how = ["HT40+" if centre > freq else "HT40-"]
        else:
            how = [str(width), str(centre)]
        self._run("dev", name, "set", "freq", str(freq), *how)

    def close(self) -> None:
        pass

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [self._program, *words],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_SECONDS,
                check=False,
                env={"LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise OSError(errno.ETIMEDOUT, f"iw {' '.join(words)}: no answer") from None
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or done.stdout.strip()
        if "nl80211 not found" in said:
            raise NoWireless(NO_NL80211)
        number = _REFUSED.search(said)
        text = said.splitlines()[0] if said else f"exit code {done.returncode}"
        raise OSError(int(number[1]) if number else errno.EINVAL, f"iw {' '.join(words)}: {text}")


def connect() -> Iw:
    """Raises NoWireless where there is no `iw`, or no nl80211."""
    program = shutil.which("iw") or shutil.which("iw", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program is None:
        raise NoWireless("there is no program `iw` either; install pyroute2, or iw")
    iw = Iw(program)
    iw._run("dev")
    return iw


def _parse_phys(text: str) -> list[Card]:
    """`iw phy`: names and modes."""
    cards: list[Card] = []
    within = ""
    for line in text.splitlines():
        words = line.strip()
        if line.startswith("Wiphy "):
            name = line[6:].strip()
            cards.append(Card(name, int("".join(filter(str.isdigit, name)) or -1)))
        elif not cards:
            continue
        elif words.startswith("wiphy index:"):  # some versions tell; else it is in the name
            cards[-1].index = int(words.split(":")[1])
        elif words.endswith(":"):
            within = words
        elif within == "Supported interface modes:" and words.startswith("* "):
            cards[-1].modes = (*cards[-1].modes, words[2:])
    return cards


def _parse_channels(text: str) -> dict[int, Offer]:
    """`iw phy NAME channels`."""
    found: dict[int, Offer] = {}
    freq, facts = 0, dict[str, object]()
    for line in [*text.splitlines(), "* 0 MHz [0]"]:
        words = line.strip()
        if match := _FREQUENCY.match(words):
            if freq:
                found[freq] = Offer(freq, **facts)  # type: ignore[arg-type]
            freq, facts = int(match[1]), {"disabled": "disabled" in match[2]}
        elif words in ("No IR", "Passive scan", "No IBSS"):
            facts["no_ir"] = True
        elif words == "Radar detection":
            facts["radar"] = True
        elif words.startswith("Channel widths:"):
            found_widths = {int(width) for width in _WIDTH.findall(words.split(":")[1])}
            facts["widths"] = tuple(width for width in WIDTHS if width in found_widths | {20})
    return found


def _parse_dev(text: str) -> list[tuple[int, Port]]:
    """`iw dev`: (index of the card, interface)."""
    found: list[tuple[int, Port]] = []
    index = -1
    for line in text.splitlines():
        words = line.split()
        if line.startswith("phy#"):
            index = int(line[4:])
        elif words[:1] == ["Interface"]:
            found.append((index, Port(words[1], "unknown")))
        elif words[:1] == ["Unnamed/non-netdev"]:  # a P2P device; what follows is about it
            found.append((index, Port("", "unknown")))
        elif found and words[:1] == ["type"]:
            found[-1][1].mode = " ".join(words[1:])
        elif found and words[:1] == ["channel"] and (match := re.search(r"\((\d+)", line)):
            found[-1][1].freq_mhz = int(match[1])
    return [(index, port) for index, port in found if port.name]
