"""`stalk capture` on a real interface: what it heard is in the topic, what was lost is in the status."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local import Kafka
from infra.local.radio import ETHERNET

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]


def _frame(number: int) -> bytes:
    """A null data frame of one of 24 stations, behind a radiotap header without fields."""
    station = b"\x02\0\0\0\0" + bytes([number % 24])
    sequence = struct.pack("<H", (number & 0xFFF) << 4)
    ap = bytes.fromhex("02aaaaaaaa01")
    return struct.pack("<BBHI", 0, 0, 8, 0) + b"\x48\1\0\0" + ap + station + ap + sequence


def _frames(node: Any) -> list[Any]:
    return [f for kept in node.batches().values() for batch in kept for f in batch.messages]


def _listening(node: Any, make_node: Make) -> Any:
    process = node.start()
    make_node.until(
        lambda: any("listening" in s["interfaces"][0] for s in node.statuses()), "a status"
    )
    return process


def test_sent_is_captured_and_kernel_dropped_and_captured_is_accounted_for(
    kafka: Kafka, make_node: Make, make_radio: Make
) -> None:
    radio = make_radio()
    node = make_node(
        kafka, 0, source={"wifi_sniffer": {"interface": radio.name, "buffer_mb": 0.25}}
    )
    node.ready(status_seconds=0.2, linger_ms=50)
    process = _listening(node, make_node)
    air = [_frame(number) for number in range(5000)]

    sent = radio.send(air[:1000])
    make_node.until(lambda: node.statuses()[-1]["published"] == 1000)
    os.kill(process.pid, signal.SIGSTOP)
    sent += radio.send(air * 4)
    os.kill(process.pid, signal.SIGCONT)
    sent += radio.send(air)
    make_node.until(lambda: node.statuses()[-1]["kernel_dropped"] > 10_000)
    process.send_signal(signal.SIGTERM)
    said = make_node.end(process)

    last = node.statuses()[-1]  # each of them was checked: captured = published + filtered + …
    assert (said.code, last["state"]) == (0, "ended")
    assert sent == 26_000 == last["captured"] + last["kernel_dropped"]
    assert f"the kernel dropped {last['kernel_dropped']:,} before" in said.text
    found = _frames(node)
    assert len({frame["id"] for frame in found}) == len(found) == last["published"]
    assert {frame["interface"] for frame in found} == {radio.name}


def test_a_silent_air_has_heartbeats_and_the_status_tells_of_the_interface(
    kafka: Kafka, make_node: Make, make_radio: Make
) -> None:
    radio = make_radio()
    node = make_node(kafka, 0, source={"wifi_sniffer": {"interface": radio.name}})
    node.ready(status_seconds=0.2, heartbeat_seconds=0.2, linger_ms=50)
    process = _listening(node, make_node)

    radio.send([_frame(1)])
    make_node.until(lambda: len(_frames(node)) == 1)
    radio.remove()
    make_node.until(lambda: "no interface" in node.statuses()[-1]["interfaces"][0])
    process.send_signal(signal.SIGTERM)
    assert make_node.end(process).code == 0

    (frame,) = _frames(node)
    *beats, _ = [b.now for b in node.batches()[0] if not b.messages]  # the last is of the end
    assert len(beats) > 1
    assert frame["timestamp"] <= beats[0]
    assert beats == sorted(beats)
    assert node.statuses()[-1]["interface_lost"] == 1


def test_no_thread_of_an_agent_keeps_a_right_to_the_network(
    kafka: Kafka, make_node: Make, make_radio: Make
) -> None:
    node = make_node(kafka, 0, source={"wifi_sniffer": {"interface": make_radio().name}})
    node.ready(status_seconds=0.2)
    process = _listening(node, make_node)

    threads = list(Path(f"/proc/{process.pid}/task").glob("*/status"))
    masks = {
        int(line.split()[1], 16)
        for status in threads
        for line in status.read_text().splitlines()
        if line.startswith("CapPrm")
    }

    assert len(threads) > 1
    assert masks == {0b1111}  # of root: what files need


ADDRESS = bytes.fromhex("00c0ca112233")
KEY = "0123456789abcdef0123456789abcdef"


def _written(node: Any, *topics: str) -> bytes:
    """Every byte of keys, values and headers."""
    every = [m for t in topics for kept in node.read(t).values() for m in kept]
    return b"\n".join(b"%b %b %r" % (m.key() or b"", m.value(), m.headers()) for m in every)


@pytest.mark.parametrize("hides", [True, False])
def test_an_interface_named_by_its_own_address_is_not_told_where_addresses_are_hidden(
    kafka: Kafka, make_node: Make, make_radio: Make, hides: bool
) -> None:
    radio = make_radio(name=f"wlx{ADDRESS.hex()}")
    stages = [{"pseudonymise": {"key": KEY}}] if hides else []
    node = make_node(kafka, 0, source={"wifi_sniffer": {"interface": radio.name}}, stages=stages)
    node.ready(status_seconds=0.2, heartbeat_seconds=0.2, linger_ms=50)
    process = _listening(node, make_node)
    station = b"\x02\0\0\0\0\7"  # of frame 7

    radio.send([_frame(7)] * 10)
    make_node.until(lambda: len(_frames(node)) == 10)
    process.send_signal(signal.SIGTERM)
    assert make_node.end(process).code == 0

    written = _written(node, node.frames, f"{node.name}.sensors")
    told = [raw in written for raw in (ADDRESS, ADDRESS.hex().encode(), station)]
    assert told == ([False] * 3 if hides else [False, True, True])
    assert {frame["interface"][:3] for frame in _frames(node)} == {"wlx"}


def test_a_source_of_ones_own_goes_over_a_topic_and_its_addresses_are_hidden(
    kafka: Kafka, make_node: Make, make_radio: Make
) -> None:
    source, arp = bytes.fromhex("021122334455"), "0001080006040001"
    ip = bytes([192, 168, 1, 5])
    head = b"\xff" * 6 + source + b"\x08\6" + bytes.fromhex(arp)
    radio = make_radio(ETHERNET)
    node = make_node(
        kafka,
        0,
        source={"ethernet": {"interface": radio.name}},
        stages=[{"pseudonymise": {"key": KEY, "keys": ["ip"]}}],
        topics={"ethernet": "wired"},
        settings={"plugins": [str(ROOT / "examples/ethernet.py")]},
    )
    node.ready(status_seconds=0.2)
    process = node.start()

    def requests() -> list[Any]:  # the kernel says something there too
        return [m for m in node.events("wired") if m.get("arp") == "request"]

    def arrived() -> bool:
        radio.send([head + source + ip + bytes(6) + ip])
        return len(requests()) >= 10

    make_node.until(arrived)
    process.send_signal(signal.SIGTERM)
    assert make_node.end(process).code == 0

    assert len({(m["src"], m["key"], m["ip"]) for m in requests()}) == 1
    written = _written(node, f"{node.name}.wired", f"{node.name}.sensors")
    said = (source, source.hex().encode(), source.hex(":").encode(), b"192.168.1.5")
    assert not any(raw in written for raw in said)
