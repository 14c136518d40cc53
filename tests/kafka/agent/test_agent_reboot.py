"""A sensor node is shut down during an outage and comes up before its card and its broker do."""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture_agent.spool_files import contents
from infra.local import Kafka, Radio

Make = Callable[..., Any]


def _frames(count: int) -> list[bytes]:
    """Null data frames of two dozen stations, behind a radiotap header without fields."""
    ap, head = bytes.fromhex("02aaaaaaaa01"), struct.pack("<BBHI", 0, 0, 8, 0) + b"\x48\1\0\0"
    stations = [b"\2\0\0\0\0" + bytes([number % 24]) for number in range(count)]
    return [
        head + ap + station + ap + struct.pack("<H", number << 4)
        for number, station in enumerate(stations)
    ]


def _is_heard(radio: Radio) -> bool:
    """Is a packet socket bound to it?"""
    index = Path(f"/sys/class/net/{radio.name}/ifindex").read_text().strip()
    lines = Path("/proc/net/packet").read_text().splitlines()
    return any(line.split()[4] == index for line in lines)


def test_all_that_was_heard_before_and_after_arrives_once_with_its_times(
    own_kafka: Callable[[], Kafka], make_node: Make, make_radio: Callable[..., Radio]
) -> None:
    broker, radio = own_kafka(), make_radio()
    node = make_node(broker, 0, source={"wifi_sniffer": {"interface": radio.name}})
    spool = node.folder / "spool"
    node.agent = {"spool_directory": str(spool), "spool_fsync_seconds": 0.3}
    node.ready(linger_ms=50, status_seconds=0.5)
    broker.kill()

    before = node.start()
    make_node.until(lambda: _is_heard(radio), "the first to listen")
    sent = radio.send(_frames(300))
    make_node.until(lambda: contents(spool).frames == 300, "the outage on disk")
    before.send_signal(signal.SIGTERM)
    said = make_node.end(before)
    assert said.code == 0, said.text
    assert "+ spooled 300" in said.text
    radio.remove()

    after = node.start()
    for line in after.stderr:
        if f"{radio.name}: there is no interface of that name; waits for it" in line:
            break
    radio.create()
    make_node.until(lambda: _is_heard(radio), "the second to listen")
    sent += radio.send(_frames(200))
    make_node.until(lambda: contents(spool).frames == 500, "what came then on disk")
    comes = time.time()
    broker.start()
    make_node.until(lambda: contents(spool).frames == 0, "the broker to have all")
    make_node.until(lambda: node.statuses() and node.statuses()[-1]["published"] == 200)
    after.send_signal(signal.SIGTERM)
    said = make_node.end(after)
    assert said.code == 0, said.text

    batches = [b for kept in node.batches().values() for b in kept if b.messages]
    ids = [frame["id"] for batch in batches for frame in batch.messages]
    assert len(ids) == len(set(ids)) == sent == 500
    assert len({batch.session for batch in batches}) == 2
    for batch in batches:  # captured, made, and sent much later: the first two are kept
        heard = [frame["timestamp"] for frame in batch.messages]
        assert max(heard) <= batch.sent_at < comes * 1e6
        assert batch.sent_at - min(heard) < 5e6
    last = node.statuses()[-1]
    assert (last["captured"], last["kernel_dropped"]) == (200, 0)
    assert (last["earlier_published"], last["spooled"]) == (300, 0)
