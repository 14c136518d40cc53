"""`stalk capture` on a real interface: what it heard is in the topic, what was lost is in the status."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local import Kafka

Make = Callable[..., Any]


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
