"""Cards by netlink, over sockets at whose other end the test answers as the kernel does: pyroute2
where they are listed, our own requests where something is set.

The bytes are laid out as include/uapi/linux/nl80211.h says; no card was asked.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink import nl80211

from capture_agent import wireless_cards, wireless_netlink
from capture_agent.channels import Channel
from capture_agent.genetlink import Family
from capture_agent.wireless import NO_NL80211, Card, NoWireless, Offer, Port, connect
from capture_agent.wireless_netlink import Netlink

FAMILY, DONE, ERROR, MULTI, DUMP = 27, 3, 2, 2, 0x300
GET_WIPHY, SET_WIPHY, NEW_WIPHY, GET_INTERFACE, SET_INTERFACE = 1, 2, 3, 5, 6
NEW_INTERFACE, DEL_INTERFACE = 7, 8
NO_HT40_MINUS, NO_HT40_PLUS, NO_80MHZ, NO_160MHZ = 9, 10, 11, 12
DISABLED, NO_IR, NO_IBSS, RADAR = 2, 3, 4, 5


def attribute(number: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", len(data) + 4, number) + data + bytes(-len(data) % 4)


def u32(number: int, value: int) -> bytes:
    return attribute(number, struct.pack("<I", value))


def frequencies(*each: tuple[int, ...]) -> bytes:
    """(MHz, flags…): a piece of NL80211_BAND_ATTR_FREQS."""
    told = [
        attribute(index, u32(1, freq) + b"".join(map(attribute, flags)))
        for index, (freq, *flags) in enumerate(each)
    ]
    return attribute(1, b"".join(told))


def band(number: int, *inside: bytes) -> bytes:
    return attribute(22, attribute(number, b"".join(inside)))


HT40, VHT = attribute(4, struct.pack("<H", 2)), u32(8, 0)
HE = attribute(9, attribute(0, attribute(1, attribute(6)) + attribute(3, b"\x0c" + bytes(10))))
CARD = u32(1, 0) + attribute(2, b"phy0\0")
# In pieces, as the kernel sends them where SPLIT_WIPHY_DUMP was asked for.
CARDS = [
    CARD + attribute(32, attribute(2) + attribute(6) + attribute(3)),
    CARD + band(0, HT40),
    CARD + band(0, frequencies((2412, NO_HT40_MINUS), (2484, DISABLED))),
    CARD + band(1, HT40, VHT),
    CARD + band(1, frequencies((5180, NO_IR, NO_IBSS), (5260, NO_IR, NO_IBSS, RADAR))),
    CARD + band(1, frequencies((5825, NO_HT40_MINUS, NO_HT40_PLUS, NO_80MHZ, NO_160MHZ))),
    CARD + band(3, HE),
    CARD + band(3, frequencies((5955, NO_IR, NO_IBSS))),
    u32(1, 1) + attribute(2, b"phy1\0") + attribute(32, attribute(2)),
]
INTERFACES = [
    u32(3, 3) + attribute(4, b"wlan0\0") + u32(1, 0) + u32(5, 2) + u32(38, 2437),
    u32(1, 0) + u32(5, 10),  # a P2P device: no interface
    u32(3, 4) + attribute(4, b"mon1\0") + u32(1, 1) + u32(5, 6),
]


class _Socket(socket.socket):
    """One end of a pair of sockets, that passes for a netlink socket."""

    def bind(self, address: Any) -> None:
        pass

    def getsockname(self) -> Any:
        return (4242, 0)

    def setsockopt(self, *arguments: Any) -> None:
        pass

    def sendto(self, data: Any, *address: Any) -> int:
        return self.send(data)


class Kernel(threading.Thread):
    """Answers nl80211 requests. `asked`: (command, its attributes' bytes). `refuse`: an errno.
    `says`: what it answers, whatever is asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.library_end = _Socket(fileno=ours.detach())
        self.asked: list[tuple[int, bytes]] = []
        self.refuse = 0
        self.says: bytes | None = None
        self.ended = False
        self.end.settimeout(0.1)
        self.start()

    def run(self) -> None:
        while not self.ended:
            try:
                data = self.end.recv(65536)
            except TimeoutError:
                continue
            _, kind, flags, sequence, port = struct.unpack_from("<IHHII", data)
            if kind == 16:  # which number has the family nl80211?
                family = attribute(1, struct.pack("<H", FAMILY)) + attribute(2, b"nl80211\0")
                self._send(kind, 0, sequence, port, struct.pack("<BBH", 1, 2, 0) + family)
                continue
            self.asked.append((data[16], data[20:]))
            if self.says is not None:
                self.end.send(self.says)
            elif flags & DUMP == DUMP:
                for body in CARDS if data[16] == GET_WIPHY else INTERFACES:
                    command = struct.pack("<BBH", NEW_WIPHY, 1, 0)
                    self._send(FAMILY, MULTI, sequence, port, command + body)
                self._send(DONE, MULTI, sequence, port, bytes(4))
            else:
                self._send(ERROR, 0, sequence, port, struct.pack("<i", -self.refuse) + data)

    def _send(self, kind: int, flags: int, sequence: int, port: int, body: bytes) -> None:
        header = struct.pack("<IHHII", 16 + len(body), kind, flags, sequence, port)
        self.end.send(header + body)


@pytest.fixture
def make_kernel() -> Iterator[Callable[[], Kernel]]:
    made: list[Kernel] = []

    def make() -> Kernel:
        made.append(Kernel())
        return made[-1]

    yield make
    for each in made:
        each.ended = True
        each.join(10)
        each.library_end.close()
        each.end.close()


@pytest.fixture
def kernel(make_kernel: Callable[[], Kernel]) -> Kernel:
    """At the other end of our own requests."""
    return make_kernel()


@pytest.fixture
def lister(make_kernel: Callable[[], Kernel]) -> Kernel:
    """At the other end of the library's."""
    return make_kernel()


@pytest.fixture
def netlink(kernel: Kernel, lister: Kernel) -> Iterator[Netlink]:
    connection = nl80211.NL80211(use_socket=lister.library_end)
    connection.bind()
    family = Family("nl80211", kernel.library_end)
    made = Netlink(family, lambda: wireless_cards.cards(nl80211, connection))
    yield made
    made.close()
    wireless_cards.end(connection)


def test_cards_are_put_together_from_their_pieces(netlink: Netlink) -> None:
    first, second = netlink.cards()

    assert (first.name, first.index, first.can_monitor) == ("phy0", 0, True)
    assert first.modes == ("managed", "monitor", "AP")
    assert list(first.offers.values()) == [
        Offer(2412, widths=(20, 40)),
        Offer(2484, disabled=True, widths=(20, 40)),
        Offer(5180, no_ir=True, widths=(20, 40, 80)),
        Offer(5260, no_ir=True, radar=True, widths=(20, 40, 80)),
        Offer(5825),
        Offer(5955, no_ir=True, widths=(20, 40, 80, 160)),
    ]
    assert first.ports == [Port("wlan0", "managed", 2437)]
    assert (second.name, second.can_monitor) == ("phy1", False)
    assert second.ports == [Port("mon1", "monitor")]


def test_they_come_whole_out_of_the_process_that_asked(netlink: Netlink) -> None:
    cards = netlink.cards()

    assert wireless_cards.read(wireless_cards.write(cards)) == cards


def test_the_dump_is_asked_for_in_pieces(netlink: Netlink, lister: Kernel) -> None:
    netlink.cards()

    assert lister.asked[0] == (GET_WIPHY, attribute(174))


LO = socket.if_nametoindex("lo")


@pytest.mark.parametrize(
    ("channel", "attributes"),
    [
        (Channel(2412), u32(38, 2412) + u32(159, 1)),
        (Channel(5200, 40), u32(38, 5200) + u32(159, 2) + u32(160, 5190)),
        (Channel(5200, 80), u32(38, 5200) + u32(159, 3) + u32(160, 5210)),
        (Channel(5955, 160), u32(38, 5955) + u32(159, 5) + u32(160, 6025)),
    ],
    ids=["20", "40", "80", "160"],
)
def test_a_channel_is_set(
    netlink: Netlink, kernel: Kernel, channel: Channel, attributes: bytes
) -> None:
    netlink.tune("lo", channel)

    assert kernel.asked == [(SET_WIPHY, u32(3, LO) + attributes)]


def test_interfaces_are_made_switched_and_removed(netlink: Netlink, kernel: Kernel) -> None:
    netlink.add_monitor(Card("phy1", 1), "dsmon1")
    netlink.set_mode("lo", "monitor")
    netlink.remove("lo")

    assert kernel.asked == [
        (NEW_INTERFACE, u32(1, 1) + attribute(4, b"dsmon1\0") + u32(5, 6)),
        (SET_INTERFACE, u32(3, LO) + u32(5, 6)),
        (DEL_INTERFACE, u32(3, LO)),
    ]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINVAL, errno.EPERM, errno.ENETDOWN])
def test_what_the_kernel_refuses_has_its_number(
    netlink: Netlink, kernel: Kernel, number: int
) -> None:
    kernel.refuse = number

    with pytest.raises(OSError, match="SET_WIPHY") as caught:
        netlink.tune("lo", Channel(2412))

    assert caught.value.errno == number


def test_an_interface_that_is_gone_is_said(netlink: Netlink) -> None:
    with pytest.raises(OSError, match="there is no interface") as caught:
        netlink.tune("nosuchinterface", Channel(2412))

    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    "said",
    [b"", b"\0" * 15, struct.pack("<IHHII", 16, ERROR, 0, 2, 0)],
    ids=["nothing", "half a header", "no number"],
)
def test_an_answer_that_is_cut_short_is_no_answer(
    netlink: Netlink, kernel: Kernel, said: bytes
) -> None:
    kernel.says = said

    with pytest.raises(OSError, match="SET_WIPHY"):
        netlink.tune("lo", Channel(2412))


def test_an_answer_to_an_earlier_question_is_passed_over(netlink: Netlink, kernel: Kernel) -> None:
    kernel.end.send(struct.pack("<IHHIIi", 20, ERROR, 0, 1, 0, -errno.EBUSY))

    netlink.tune("lo", Channel(2412))


def test_this_kernel_answers_as_it_is() -> None:
    """The real one, whatever it has: a card, or nl80211 and no card, or a sentence."""
    if os.path.exists("/sys/class/ieee80211"):
        made = wireless_netlink.connect()
        assert isinstance(made.cards(), list)
        made.close()
    else:
        with pytest.raises(NoWireless) as caught:
            connect()
        assert str(caught.value) == NO_NL80211
        with pytest.raises(OSError, match="nl80211") as refused:
            wireless_netlink.listed()
        assert refused.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("code", "said", "number", "text"),
    [
        (wireless_cards.REFUSED, "1 not permitted", errno.EPERM, "nl80211: not permitted"),
        (wireless_cards.REFUSED, "no number", errno.EIO, "can't be listed: no number"),
        (1, "ImportError: no module", errno.EIO, "can't be listed: ImportError: no module"),
    ],
)
def test_what_is_said_above_a_refusal_hides_it_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, said: str, number: int, text: str
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\necho 'a.py:1: DeprecationWarning: old' >&2\necho '{said}' >&2\nexit {code}\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(OSError, match=text) as raised:
        wireless_netlink.listed()

    assert raised.value.errno == number


def test_an_agent_does_not_carry_the_library_along() -> None:
    ask = "import capture_agent.wireless_netlink as n, sys\ntry: n.connect().cards()\n"
    ask += "except OSError as error: pass\nexcept n.NoWireless: pass\n"
    ask += "print([name for name in sys.modules if 'pyroute2' in name or name == 'asyncio'])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_without_the_library_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireless_netlink, "find_spec", lambda name: None)

    with pytest.raises(NoWireless, match="pyroute2 is not installed"):
        wireless_netlink.connect()
