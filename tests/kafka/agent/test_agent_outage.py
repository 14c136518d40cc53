"""`stalk capture` while its broker is killed, restarted, silent: nothing lost that need not be, and
nothing uncounted. One broker for all of it, apart from the other tests'."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture_agent.outbox import KafkaOutbox, Parcel
from infra.local import Kafka

Make = Callable[..., Any]


def _paced(make_node: Make, kafka: Kafka, frames: int, speed: float, **agent: Any) -> Any:
    node = make_node(kafka, frames)
    node.source = {"pcap": {"path": str(node.capture), "speed": speed}}
    return node.ready(linger_ms=50, **agent)


def test_a_broker_that_is_killed_and_restarted_has_every_frame_once(
    frail: Kafka, make_node: Make
) -> None:
    node = _paced(make_node, frail, 9000, 15)  # 6 s of it
    process = node.start()
    make_node.until(lambda: len(node.published()) > 100, "the first frames")

    frail.kill()
    assert process.poll() is None
    frail.start()
    said = make_node.end(process)

    assert said.code == 0, said.text
    assert "Traceback" not in said.text
    assert said.balance["published"] == len(node.published()) == len(node.embedded())
    assert node.published() == node.embedded()
    for batches in node.batches().values():
        assert [batch.sequence for batch in batches] == list(range(len(batches)))


def test_a_broker_that_says_nothing_is_waited_for_in_sleep(
    frail: Kafka, make_node: Make, paused: Callable[[], None]
) -> None:
    node = make_node(frail, 0, partitions=1).ready()
    outbox = KafkaOutbox(node.write().kafka, "c.yaml", "test", 60, 8)
    parcel = Parcel(node.frames, 0, bytes(1000), "heartbeat")
    outbox.offer(parcel)
    make_node.until(lambda: outbox.serve(0.1) or not outbox.waiting, "that it is sent")

    paused()
    for _ in range(50):  # each would be a request of its own
        outbox.offer(parcel)
        outbox.serve(0.02)
    before = _client_seconds()
    time.sleep(3)
    spent = _client_seconds() - before
    outbox.drop()

    assert spent < 0.3


def _client_seconds() -> float:
    """CPU seconds of the threads of librdkafka in this process."""
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        _, name, fields = re.split(r"[()]", (task / "stat").read_text())
        if name.startswith("rdk:"):
            ticks += sum(map(int, fields.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def test_frames_of_a_file_that_can_t_be_delivered_in_time_end_it_with_exit_code_1(
    frail: Kafka, make_node: Make, paused: Callable[[], None]
) -> None:
    node = _paced(make_node, frail, 60_000, 10, delivery_timeout_seconds=3)
    process = node.start()
    make_node.until(lambda: len(node.published()) > 100, "the first frames")

    paused()
    said = make_node.end(process)

    assert said.code == 1
    assert "could not be delivered to Kafka within 3 s" in said.text
    assert "delivery_timeout_seconds" in said.text
    assert "Traceback" not in said.text
    assert said.balance["dropped"] - said.balance["bad_fcs"] > 0
    assert said.balance["captured"] < 60_000


def test_a_second_signal_while_it_waits_for_the_broker_ends_it_at_once(
    frail: Kafka, make_node: Make, paused: Callable[[], None]
) -> None:
    node = _paced(make_node, frail, 60_000, 10)
    process = node.start()
    make_node.until(lambda: len(node.published()) > 100, "the first frames")

    paused()
    process.send_signal(signal.SIGTERM)
    said = []
    for line in process.stderr:
        said.append(line)
        if "batches wait for Kafka" in line:
            break
    assert process.poll() is None, said
    process.send_signal(signal.SIGINT)
    process.wait(30)

    assert process.returncode == -signal.SIGINT


def test_what_is_heard_live_and_finds_no_room_is_dropped_and_counted(
    frail: Kafka, make_node: Make
) -> None:
    node = make_node(frail, 0, source={"pcap": {"path": "-"}})
    node.ready(linger_ms=50, queue_mb=0.1, status_seconds=0.3)
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(make_node.header() + make_node.air(100))
    process.stdin.flush()
    make_node.until(lambda: len(node.published()) == 93, "the first frames")

    frail.pause()
    try:
        process.stdin.write(make_node.air(40_000, first=100))  # more than the pipe and queue hold
        process.stdin.close()
    finally:
        frail.resume()
    process.wait(90)

    assert process.returncode == 0
    ended = node.statuses()[-1]
    assert ended["state"] == "ended"
    assert ended["captured"] == 40_100
    assert ended["dropped_queue_full"] > 0
    assert ended["waiting"] == 0
    frames = node.published()
    assert ended["published"] == len(frames)
    assert set(Counter(frame["id"] for frame in frames).values()) == {1}
