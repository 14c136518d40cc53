"""A capture made byte by byte, agents that publish it, and what is in their topics then."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaException, TopicPartition

from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.message import Message
from datastalker.segments import segments, sensors_topic, topic_plans
from datastalker.wire import Batch, decode_batch, decode_event
from infra.local import Kafka, Stack
from infra.whole import balance

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 90
"""How long anything may take on a busy machine."""
START = 1_772_470_800
STATIONS = 24
BAD_FCS, NEW_PROTOCOL = 0.05, 0.02
"""Shares of the frames of `air` that the source drops: every 20th and every 50th."""


def until(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait for a condition; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s: {what or condition}"
        time.sleep(0.05)
    return found


def _frame(number: int) -> bytes:
    """Beacons, data and acknowledgements of two dozen stations."""
    station = b"\x02\0\0\0\0" + bytes([number * 7 % STATIONS])
    access_point = bytes.fromhex("02aaaaaaaa01")
    flags = 0x50 if number % 20 == 19 else 0x10
    version = 1 if number % 50 == 48 else 0
    sequence = struct.pack("<H", (number & 0xFFF) << 4)
    if number % 3 == 0:
        body = struct.pack("<QHH", number, 100, 1) + b"\0\5house\3\1\6"
        mac = bytes([0x80 | version, 0, 0, 0]) + b"\xff" * 6 + station + station + sequence + body
    elif number % 3 == 1:
        mac = bytes([0x08 | version, 1, 44, 0]) + access_point + station + access_point + sequence
        mac += b"\xaa\xaa\3\0\0\0\x08\0" + bytes(20)
    else:
        mac = bytes([0xD4 | version, 0, 0, 0]) + station
    return struct.pack("<BBHIB", 0, 0, 9, 2, flags) + mac + b"\0\0\0\0"


def header() -> bytes:
    """What a capture file begins with."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 127)


def air(count: int, step_us: int = 10_000, first: int = 0) -> bytes:
    """Records of a capture file, so many microseconds apart."""
    out = []
    for number in range(first, first + count):
        seconds, micros = divmod(number * step_us, 1_000_000)
        data = _frame(number)
        out.append(struct.pack("<IIII", START + seconds, micros, len(data), len(data)) + data)
    return b"".join(out)


@dataclass
class Node:
    """A sensor node: its configuration, with topics that are this test's own."""

    kafka: Kafka
    folder: Path
    partitions: int = 3
    stages: list[Any] = field(default_factory=list)
    topics: dict[str, str] = field(default_factory=dict)
    agent: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    source: Any = None
    name: str = field(default_factory=lambda: f"agent{uuid.uuid4().hex[:10]}")
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    made: bool = False
    """Its topics are."""
    sensors: str = ""
    """The topic of its status, noted: to load the file once more, at the end of a test, would load
    its plug-ins once more."""

    @property
    def frames(self) -> str:
        return f"{self.name}.frames"

    @property
    def capture(self) -> Path:
        return self.folder / "air.pcap"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def write(self) -> configuration.Config:
        """Write the configuration file, checked."""
        topics = {"frame": self.frames} | {k: f"{self.name}.{v}" for k, v in self.topics.items()}
        document = {
            "name": self.name,
            "sensor": "porch",
            "kafka": {
                "bootstrap_servers": self.kafka.bootstrap_servers,
                "partitions": self.partitions,
            },
            "agent": self.agent,
            **self.settings,
            "pipeline": [
                self.source or {"pcap": {"path": str(self.capture)}},
                *self.stages,
                {"topic": topics},
            ],
        }
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))
        config = configuration.load(str(self.file))
        assert not config.problems, config.problems
        self.sensors = sensors_topic(config).name
        return config

    def ready(self, **agent: Any) -> Node:
        """Write the configuration and make its topics."""
        self.agent |= agent
        config = self.write()
        with connect(config, 30) as broker:
            for plan in topic_plans(config):
                broker.create(plan)
            until(lambda: len(broker.describe(p.name for p in topic_plans(config))) == self._count)
        self.made = True
        return self

    @property
    def _count(self) -> int:
        return len(topic_plans(configuration.load(str(self.file))))

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """`stalk capture`, under way."""
        command = [sys.executable, "-m", "capture_agent", "-c", str(self.file)]
        process = subprocess.Popen(
            command, **{"cwd": ROOT, "stderr": subprocess.PIPE, "text": True} | options
        )
        self.started.append(process)
        return process

    def run(self) -> Said:
        """`stalk capture`, to its end."""
        return end(self.start())

    def embedded(self) -> list[Message]:
        """What comes to the cut when the whole runs in one process."""
        pipeline = configuration.build(configuration.load(str(self.file)))
        assert pipeline.source is not None
        out: list[Message] = []
        for batch in pipeline.source.run():
            out += pipeline.feed(batch)
        return out + pipeline.finish()

    def read(self, topic: str) -> dict[int, list[Any]]:
        """Everything that is in a topic now, by partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": "nobody",
                "enable.auto.commit": False,
                "logger": _quiet(),
            }
        )
        try:
            (found,) = consumer.list_topics(topic, timeout=SECONDS).topics.values()
            kept: dict[int, list[Any]] = {}
            for number in found.partitions:
                partition = TopicPartition(topic, number, 0)
                high = _end(consumer, partition)
                kept[number] = []
                if not high:
                    continue
                consumer.assign([partition])
                ends = time.monotonic() + SECONDS
                while not kept[number] or kept[number][-1].offset() < high - 1:
                    assert time.monotonic() < ends, f"{topic}: {len(kept[number])} of {high}"
                    message = consumer.poll(0.5)
                    if message is not None and message.error() is None:
                        kept[number].append(message)
            return kept
        finally:
            consumer.close()

    def batches(self) -> dict[int, list[Batch]]:
        """The batches of frames, heartbeats included, by partition."""
        return {
            number: [decode_batch(message.value()) for message in messages]
            for number, messages in self.read(self.frames).items()
        }

    def published(self) -> list[Message]:
        """The frames in the topic, in the order of the capture."""
        every = [f for kept in self.batches().values() for batch in kept for f in batch.messages]
        return sorted(every, key=lambda frame: frame["frame_number"])

    def events(self, topic: str) -> list[Message]:
        kept = self.read(f"{self.name}.{topic}")
        return [decode_event(m.value()) for messages in kept.values() for m in messages]

    def statuses(self) -> list[Message]:
        """What the agent said of itself, first to last."""
        kept = self.read(self.sensors)
        found = [decode_event(m.value()) for messages in kept.values() for m in messages]
        for status in found:
            assert_balance(status)
        return found

    @property
    def plan(self) -> Any:
        return segments(configuration.load(str(self.file)))[0].target["frame"]


@dataclass
class Said:
    """How an agent ended. Where it tells what became of its frames, that adds up."""

    code: int
    text: str

    def __post_init__(self) -> None:
        if "captured " in self.text:
            balance(self.text)

    @property
    def balance(self) -> dict[str, int]:
        """The line of the summary, by its words."""
        return balance(self.text)


def end(process: subprocess.Popen[str], seconds: float = SECONDS) -> Said:
    """Wait for an agent's end."""
    _, said = process.communicate(timeout=seconds)
    return Said(process.returncode, said if isinstance(said, str) else said.decode())


def assert_balance(status: Message) -> None:
    """At any time: captured = published + filtered + dropped{reason} + waiting + spooled."""
    reasons = sum(value for key, value in status.items() if key.startswith("dropped_"))
    assert status["dropped"] == reasons
    total = status["published"] + status["filtered"] + status["dropped"] + status["waiting"]
    total += status["spooled"]
    assert status["captured"] == total, dict(status)


def _quiet() -> Any:
    import logging

    logger = logging.Logger("consumer")
    logger.addHandler(logging.NullHandler())
    return logger


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Makes nodes on a broker, by default with 3,000 frames to publish."""
    nodes: list[Node] = []

    def make(kafka: Kafka, frames: int = 3000, **options: Any) -> Node:
        node = Node(kafka, tmp_path, **options)
        node.capture.write_bytes(header() + air(frames))
        nodes.append(node)
        return node

    make.air, make.header, make.until, make.end = air, header, until, end  # type: ignore[attr-defined]
    make.stations = STATIONS  # type: ignore[attr-defined]
    yield make
    for node in nodes:
        for process in node.started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stderr):
                if stream is not None:
                    stream.close()
    for node in nodes:
        if node.made and node.kafka.ready:
            node.statuses()  # whatever the test was about: each of them adds up


@pytest.fixture(scope="session")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker to kill and to pause."""
    stack = Stack(tmp_path_factory.mktemp("frail"), quick=True).end_with(os.getpid())
    yield stack.kafka.start()
    stack.stop(wipe=True)


@pytest.fixture
def paused(frail: Kafka) -> Iterator[Callable[[], None]]:
    """Pauses the broker until the end of the test."""
    yield frail.pause
    frail.resume()


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """Behind the last message; a partition that was just made may have no leader yet."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=SECONDS)[1])
        except KafkaException:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)
