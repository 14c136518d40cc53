"""An agent that makes its monitor interface, hops, is steered by a stage, and tells how it spent its
time: a process, a real interface, a real broker.

What nl80211 does a program in the place of `iw` does, which an agent takes where pyroute2 is not
installed: what it makes and removes are real interfaces. No Wi-Fi card was asked.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capture_agent import device, device_change
from infra.local import Kafka, Radio, Uplink

Make = Callable[..., Any]
NET_ADMIN, FILES = 1 << 12, 0b1111
NOBODY = pwd.getpwnam("nobody")
NUMBER = itertools.count(os.getpid() % 10**6 * 100)

IW = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
  dev)
    echo 'phy#{index}'
    printf '\\tInterface {wlan}\\n\\t\\ttype managed\\n'
    test ! -e /sys/class/net/{mon} || printf '\\tInterface {mon}\\n\\t\\ttype monitor\\n' ;;
  phy)
    echo 'Wiphy phy{index}'
    printf '\\twiphy index: {index}\\n\\tSupported interface modes:\\n'
    printf '\\t\\t * managed\\n\\t\\t * monitor\\n' ;;
  *channels) printf '\\t* 2412 MHz [1]\\n\\t* 2437 MHz [6]\\n\\t* 2462 MHz [11]\\n' ;;
  *"add {mon} type monitor")
    exec {python} -c 'from infra.local import Radio; Radio("{mon}").keep().down()' ;;
  "dev {mon} del") exec ip link del {mon} ;;
  "dev {mon} set freq "*) ;;
  *) echo 'command failed: Operation not supported (-95)' >&2; exit 161 ;;
esac
"""

STEERS = '''
import sys
from datastalker.pipeline import Message, Pipeline, Stage

sys.modules["pyroute2"] = None  # as where it is not installed

@Pipeline.register_stage("stays_for_a_handshake")
class Stays(Stage):
    """Asks for channel 11 when a client begins to join."""
    def handle(self, message):
        if message["kind"] == "AUTH":
            self.up(Message(type="tune", channel=11, seconds=2))
        return message
'''


def frame(control: int, flags: int, number: int, freq: int) -> bytes:
    """What a client sends its access point, behind a radiotap header with the channel."""
    client, ap = b"\2\0\0\0\0\7", b"\2\xaa\xaa\xaa\xaa\1"
    mac = bytes([control, flags, 0, 0]) + ap + client + ap + struct.pack("<H", number % 4096 << 4)
    return struct.pack("<BBHIHH", 0, 0, 12, 8, freq, 0xA0) + mac + bytes(6)


class Card:
    """A card with an interface in managed mode, and an `iw` for it in a folder for PATH."""

    def __init__(self, folder: Path) -> None:
        self.index = next(NUMBER)
        self.mon, self.wlan = f"dsmon{self.index}", f"dsw{self.index}"
        self.uplink = Uplink(self.wlan)
        self.log, self.path = folder / "iw.log", f"{folder}:{os.environ['PATH']}"
        self.log.touch()
        self.log.chmod(0o666)
        names = {"log": shlex.quote(str(self.log)), "python": shlex.quote(sys.executable)}
        iw = folder / "iw"
        iw.write_text(IW.format(index=self.index, wlan=self.wlan, mon=self.mon, **names))
        iw.chmod(0o755)

    def visits(self) -> list[int]:
        """Where it was told to go, in MHz."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return [int(line[4]) for line in words if line[2:4] == ["set", "freq"]]

    @contextmanager
    def client(self, radio: Radio) -> Iterator[list[int]]:
        """Somebody who talks on channel 6 all the time, and is heard while the card is there."""
        over, sent = threading.Event(), [0]

        def talk() -> None:
            while not over.wait(0.02):
                if self.visits()[-1] == 2437:
                    sent[0] += radio.send([frame(0x08, 1, sent[0], 2437)])

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield sent
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        self.uplink.remove()
        if device.find(self.mon) is not None:
            subprocess.run(["ip", "link", "del", self.mon], check=True)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    made = Card(tmp_path)
    yield made
    made.close()


def node_on(card: Card, kafka: Kafka, make_node: Make, **source: Any) -> Any:
    hopper = {"channels": [1, 6, 11], "dwell_ms": 200, "max_karma": 6}
    source = {"interface": card.wlan, "hopper": hopper, **source}
    node = make_node(kafka, 0, source={"wifi_sniffer": source}, stages=["stays_for_a_handshake"])
    (node.folder / "steers.py").write_text(STEERS)
    node.settings = {"plugins": ["steers.py"]}
    return node.ready(status_seconds=2, linger_ms=50)


def start(node: Any, card: Card, make_node: Make) -> Any:
    """The agent, once it hears its own interface."""
    process = node.start(env={**os.environ, "PATH": card.path})

    def listens() -> bool:
        assert process.poll() is None, process.stderr.read()
        return any(s["interfaces"] == [f"{card.mon}: listening"] for s in node.statuses())

    make_node.until(listens, "its own interface")
    return process


def capabilities(process: Any) -> set[int]:
    """Of all its threads."""
    found = set()
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("CapPrm"):
                found.add(int(line.split()[1], 16))
    return found


def shares(node: Any) -> list[dict[int, float]]:
    """What its statuses say of where it was, first to last."""
    told = [{k: v for k, v in s.items() if k.startswith("share_")} for s in node.statuses()]
    return [{int(k.removeprefix("share_")): v for k, v in each.items()} for each in told if each]


def test_it_makes_its_interface_hops_stays_with_clients_and_goes_where_a_stage_wants_it(
    card: Card, kafka: Kafka, make_node: Make
) -> None:
    node = node_on(card, kafka, make_node)
    process = start(node, card, make_node)
    radio = Radio.kept(card.mon)
    make_node.until(lambda: len(card.visits()) >= 6 and len(shares(node)) > 1, "two rounds")
    assert card.visits()[:6] == [2412, 2437, 2462] * 2
    assert capabilities(process) == {NET_ADMIN | FILES}  # of root: what files need

    before = len(shares(node))
    with card.client(radio) as sent:
        make_node.until(lambda: len(shares(node)) >= before + 3, "shares with a client")
    alone = shares(node)[1]
    stayed = shares(node)[before + 2]  # one began without the client; the first frame brings one
    assert set(alone) == set(stayed) == {2412, 2437, 2462}
    # The time that it takes to change is nobody's; on a busy machine that is much of it.
    assert alone[2437] / sum(alone.values()) < 0.5 < stayed[2437] / sum(stayed.values())
    assert all(0.2 < sum(each.values()) < 1.01 for each in (alone, stayed))

    make_node.until(lambda: card.visits()[-1] != 2462, "another channel than 11")
    joined = len(card.visits())
    sent[0] += radio.send([frame(0xB0, 0, 1, card.visits()[-1])])
    make_node.until(lambda: 2462 in card.visits()[joined:], "channel 11")
    at = len(card.visits())
    time.sleep(1)  # of the two seconds: a dwell is 0.2
    assert card.visits()[at:] == []

    process.send_signal(signal.SIGTERM)
    said = make_node.end(process)
    assert said.code == 0, said.text
    last = node.statuses()[-1]
    assert last["captured"] + last["kernel_dropped"] == sent[0]
    assert len(node.batches()) == 3
    assert (
        sum(len(b.messages) for kept in node.batches().values() for b in kept) == last["published"]
    )
    assert device.find(card.mon) is None
    assert device.find(card.wlan) is not None


def test_as_another_user_it_keeps_the_right_to_hop_alone_and_removes_what_it_made(
    card: Card, kafka: Kafka, make_node: Make, tmp_path: Path
) -> None:
    for folder in [tmp_path, *tmp_path.parents]:  # pytest's are root's alone
        folder.chmod(folder.stat().st_mode | 0o055)
    node = node_on(card, kafka, make_node, user="nobody")
    first = start(node, card, make_node)
    first.kill()
    first.wait()
    left = device.find(card.mon)
    assert left is not None
    assert device_change.alias(card.mon) == "datastalker"

    node.name += "again"  # topics of its own: another agent's status is no sign
    process = start(node.ready(), card, make_node)
    before = len(card.visits())
    make_node.until(lambda: len(card.visits()) > before + 3, "hops")
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = device.find(card.mon)

    assert f"\nUid:\t{NOBODY.pw_uid}\t" in status
    assert capabilities(process) == {NET_ADMIN}
    assert found is not None
    assert found.index != left.index
    process.send_signal(signal.SIGTERM)
    said = make_node.end(process)
    assert said.code == 0, said.text
    assert f"{card.mon} was left behind by a crash" in said.text
    assert device.find(card.mon) is None
