"""The clock is measured against the broker's; what a wrong one timed is marked and moves nothing."""

from __future__ import annotations

import re
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka
import pytest

from capture_agent import agent
from datastalker import config as configuration
from datastalker.segments import segments
from datastalker.wire import SingleObject, decode_batch, decode_event
from infra.local import Kafka
from processors.partition import Partition, Record

Make = Callable[..., Any]

PIPE = {"pcap": {"path": "-"}}

_SHIFT = """
import time
import confluent_kafka
from capture_agent import agent

agent._MEASURE_SECONDS = 30.0  # however busy the machine is
_time, _time_ns, _Producer = time.time, time.time_ns, confluent_kafka.Producer
time.time = lambda: _time() + {0}
time.time_ns = lambda: _time_ns() + {0} * 10**9

class Producer(_Producer):
    def produce(self, *arguments):
        now = int(time.time() * 1000)  # as the library does, by the machine's clock
        super().produce(*arguments, timestamp=now)

confluent_kafka.Producer = Producer
"""


def heard(second: int, count: int, station: int = 1) -> bytes:
    """Records of a capture: so many frames of a station, one a second."""
    out = []
    for number in range(second, second + count):
        mac = b"\x48\x01\0\0\x02\xaa\xaa\xaa\xaa\x01\x02\0\0\0\0" + bytes([station])
        mac += b"\x02\xaa\xaa\xaa\xaa\x01" + struct.pack("<H", (number & 0xFFF) << 4)
        data = struct.pack("<BBHI", 0, 0, 8, 0) + mac
        out.append(struct.pack("<IIII", number, 0, len(data), len(data)) + data)
    return b"".join(out)


def run(node: Any, data: bytes) -> None:
    """An agent hears that, and ends after it has measured its clock."""
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(data)
    process.stdin.flush()
    until = time.monotonic() + 60
    while not any(status["clock"] != "not measured" for status in node.statuses()):
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read()
    process.stdin.close()
    assert process.wait(60) == 0
    node.said = process.stderr.read().decode()


def test_the_offset_against_the_broker_is_measured_and_told(kafka: Kafka, make_node: Make) -> None:
    node = make_node(kafka, 0, source=PIPE).ready(status_seconds=0.3)
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(make_node.header() + make_node.air(10))
    process.stdin.flush()
    make_node.until(lambda: any(s["clock"] == "good" for s in node.statuses()), "a measurement")
    process.stdin.write(make_node.air(10, first=10))
    process.stdin.close()
    assert process.wait(60) == 0

    last = node.statuses()[-1]
    assert abs(last["clock_offset_ms"]) <= last["clock_error_ms"] < 1000
    offsets = {b.clock_offset_ms for kept in node.batches().values() for b in kept}
    assert any(offset is not None for offset in offsets)
    assert max(abs(offset) for offset in offsets if offset is not None) < 1000


def test_the_frames_of_a_capture_file_have_no_clock_of_ours(kafka: Kafka, make_node: Make) -> None:
    node = make_node(kafka, 2000)
    node.source = {"pcap": {"path": str(node.capture), "speed": 10}}
    node.ready(status_seconds=0.3)

    assert node.run().code == 0

    assert node.statuses()[-1]["clock"] == "good"
    assert {b.clock_offset_ms for kept in node.batches().values() for b in kept} == {None}


@pytest.mark.parametrize("seconds", [-7200, 7200])
def test_a_clock_that_is_two_hours_off_is_an_alert_and_its_frames_arrive_and_are_marked(
    kafka: Kafka, make_node: Make, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    now = int(time.time()) + seconds
    for name in ("time", "time_ns"):  # `ready` loads the plug-in here too: put back at the end
        monkeypatch.setattr(time, name, getattr(time, name))
    monkeypatch.setattr(confluent_kafka, "Producer", confluent_kafka.Producer)
    monkeypatch.setattr(agent, "_MEASURE_SECONDS", agent._MEASURE_SECONDS)
    node = make_node(kafka, 0, source=PIPE, topics={"alert": "alerts"})
    # Nobody may set the clock of this machine
    (node.folder / "shift.py").write_text(_SHIFT.format(seconds))
    node.settings = {"plugins": ["shift.py"]}
    node.ready(status_seconds=0.3, linger_ms=20)
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(make_node.header() + heard(now, 1))
    process.stdin.flush()
    make_node.until(lambda: node.events("alerts"), "an alert")
    process.stdin.write(heard(now + 1, 5) + heard(1_600_000_000, 1))  # and what isn't of our clock
    process.stdin.close()
    assert process.wait(60) == 0
    said = process.stderr.read().decode()

    (alert,) = node.events("alerts")
    assert alert["alert"] == "clock_off"
    assert abs(alert["clock_offset_ms"] - seconds * 1000) < 2000
    found = re.search(
        r"the clock of porch is ([\d,.]+) s (behind|ahead of) the broker's; set it, or run an", said
    )
    assert found, said
    assert 7190 < float(found[1].replace(",", "")) < 7210
    assert found[2] == ("behind" if seconds < 0 else "ahead of")
    assert len(node.published()) == 7
    assert node.statuses()[-1]["clock"] == "off"
    marked = [frame["timestamp"] for frame in node.published() if "clock_wrong" in frame]
    assert marked == [(now + n) * 1_000_000 for n in range(6)]  # from the first on


def test_a_node_that_starts_in_1970_and_is_then_corrected_makes_no_events_of_1970(
    kafka: Kafka, make_node: Make
) -> None:
    node = make_node(kafka, 0, source=PIPE, partitions=1)
    node.ready(status_seconds=0.3, linger_ms=20)
    begin = 1_772_470_800
    run(node, make_node.header() + heard(20, 30) + heard(begin, 30) + heard(begin + 600, 1, 2))

    batches = node.batches()[0]
    frames = [frame for batch in batches for frame in batch.messages]
    assert [frame["timestamp"] for frame in frames if "clock_wrong" in frame] == [
        n * 1_000_000 for n in range(20, 50)
    ]
    assert len(frames) == 61
    assert not any(0 < batch.now < begin * 1_000_000 for batch in batches)

    config = configuration.parse(
        f"name: w\npipeline: [{{pcap: {{path: x}}}}, {{topic: {node.frames}}}, dedupe, "
        "{presence: {absent_after_seconds: 60}}, {topic: {frame: out, presence: events}}]",
        "w.yaml",
    )
    worker = Partition(config, segments(config)[1], 0, SingleObject(), list)
    outputs = [
        output
        for message in node.read(node.frames)[0]
        for output in worker.process(
            Record(node.frames, 0, message.offset(), None, message.value())
        ).outputs
    ]
    events = [decode_event(o.value) for o in outputs if o.topic == "events"]
    passed = [f for o in outputs if o.topic == "out" for f in decode_batch(o.value).messages]
    assert [(e["key"][-2:], e["event"], e["timestamp"] // 1_000_000 - begin) for e in events] == [
        ("01", "NEW", 0),
        ("01", "ABSENT", 89),
        ("02", "NEW", 600),
    ]
    assert len(passed) == 61
    assert sum("clock_wrong" in frame for frame in passed) == 30
