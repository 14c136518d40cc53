"""A configuration with topics of its own on the shared broker, something to publish, sinks to run."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from datastalker import config as configuration
from datastalker import segments
from datastalker.broker import connect
from datastalker.delivery import Origin
from datastalker.message import Message
from datastalker.testing import frame
from datastalker.wire import BatchEncoder, encode_event
from infra.local import Kafka
from sinks.consume import SinkRunner, find_sink

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60
"""How long anything may take on a busy machine."""


def until(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait for a condition; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s: {what or condition}"
        time.sleep(0.05)
    return found


class Site:
    """A configuration of one sink or several below a cut, and its topics."""

    until = staticmethod(until)

    def __init__(self, kafka: Kafka, folder: Path, sinks: list[Any], partitions: int) -> None:
        self.kafka, self.folder = kafka, folder
        self.name = f"sink{uuid.uuid4().hex[:10]}"
        self.frames, self.presence = f"{self.name}.frames", f"{self.name}.presence"
        document = {
            "name": self.name,
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "partitions": partitions},
            "pipeline": [
                {"pcap": {"path": "never-read.pcap"}},
                {"topic": f"{self.name}.raw"},
                {"oui": {"fields": ["ta"]}},
                "presence",
                {"topic": {"frame": self.frames, "presence": self.presence}},
                *sinks,
            ],
        }
        self.path = folder / "config.yaml"
        self.path.write_text(yaml.safe_dump(document))
        self.config = configuration.load(str(self.path))
        assert not self.config.errors, self.config.errors
        with connect(self.config) as broker:
            plans = {plan.name: plan for plan in segments.topic_plans(self.config)}
            for plan in plans.values():
                broker.create(plan)
            until(lambda: len(broker.describe(plans)) == len(plans), "the topics are known")
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        self.encoder = BatchEncoder("worker", "")
        self.origins = [0] * partitions
        self.runners: list[tuple[SinkRunner, threading.Thread]] = []
        self.processes: list[subprocess.Popen[str]] = []
        self.published = 0

    def send(self, topic: str, value: bytes | None, partition: int = 0, **more: Any) -> None:
        self.producer.produce(topic, value, partition=partition, **more)

    def batch(self, messages: Iterable[Message], partition: int = 0, origin: int = -1) -> bytes:
        """Send frames as a worker does; `origin`: made again from an earlier batch."""
        if origin < 0:
            origin = self.origins[partition]
            self.origins[partition] += 1
        found = list(messages)
        now = max((m["timestamp"] for m in found), default=0)
        data = self.encoder.encode(found, sequence=origin, sent_at=now, now=now)
        header = Origin(f"{self.name}.raw", partition, origin).to_header()
        self.send(self.frames, data, partition, headers=[header])
        return data

    def publish(self, batches: int, size: int = 20, partition: int = 0) -> list[str]:
        """Send frames with ids of their own; gives the ids."""
        ids = []
        for _ in range(batches):
            first = self.published
            self.published += size
            numbers = range(first, first + size)
            ids += [f"{self.name}-{n}" for n in numbers]
            self.batch((self.frame(n) for n in numbers), partition)
        self.flush()
        return ids

    def frame(self, number: int, **keys: Any) -> Message:
        ta = f"02:00:00:00:00:{number % 256:02x}"
        return frame(
            number / 100, **{"id": f"{self.name}-{number}", "ta": ta, "sensor": "s", **keys}
        )

    def event(self, message: Message, partition: int = 0) -> None:
        self.send(self.presence, encode_event(message), partition, key=str(message["key"]))

    def flush(self) -> None:
        assert self.producer.flush(60) == 0

    def run(self, name: str) -> SinkRunner:
        """Run a sink in this process until all is stored."""
        runner = SinkRunner(self.config, find_sink(self.config, name), "test")
        runner.run(drain=True)
        return runner

    def start(self, name: str, instance: str = "test") -> SinkRunner:
        """Start a sink in a thread; `stop` it."""
        runner = SinkRunner(self.config, find_sink(self.config, name), instance)
        thread = threading.Thread(target=runner.run, daemon=True)
        thread.start()
        self.runners.append((runner, thread))
        return runner

    def stop(self, runner: SinkRunner) -> None:
        for mine, thread in self.runners:
            if mine is runner:
                runner.stop("test")
                thread.join(SECONDS)
                assert not thread.is_alive()

    def process(self, name: str, *arguments: str, log: str = "sink.log") -> subprocess.Popen[str]:
        """Start `python -m sinks` as a process of its own."""
        command = [sys.executable, "-m", "sinks", name, "-c", str(self.path), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with open(self.folder / log, "a") as output:
            started = subprocess.Popen(
                command, cwd=self.folder, env=environment, stderr=output, stdout=output, text=True
            )
        self.processes.append(started)
        return started

    def committed(self, name: str, topic: str, partition: int = 0) -> int:
        """The offset that the group of a sink has committed; -1001: none."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": f"{self.name}-sink-{name}",
            }
        )
        try:
            (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=30)
            return int(found.offset)
        finally:
            consumer.close()

    def dead_letters(self) -> list[Any]:
        """All that is in the dead-letter topic."""
        topic = segments.dead_letters_topic(self.config).name
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": uuid.uuid4().hex,
                "enable.auto.commit": False,
            }
        )
        found: list[Any] = []
        try:
            parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            for number in parts:
                _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
                consumer.assign([TopicPartition(topic, number, 0)])
                while len(found) < high:
                    message = consumer.poll(30)
                    assert message is not None
                    assert message.error() is None, message.error()
                    found.append(message)
        finally:
            consumer.close()
        return found

    def rows(self, kind: str = "frame", directory: str = "out") -> list[dict[str, str]]:
        """The rows of all finished CSV files."""
        found: list[dict[str, str]] = []
        for path in sorted((self.folder / directory).glob(f"{kind}-*.csv")):
            with open(path, newline="", encoding="utf-8") as lines:
                found += csv.DictReader(lines, strict=True)
        return found

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for runner, thread in self.runners:
            runner.stop("the test is over")
            thread.join(SECONDS)


@pytest.fixture
def site(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites: `site([{"csv": {...}}], partitions=2)`."""
    sites: list[Site] = []

    def make(sinks: list[Any], partitions: int = 1, broker: Kafka | None = None) -> Site:
        folder = tmp_path / f"site-{len(sites)}"
        folder.mkdir()
        sites.append(Site(broker or kafka, folder, sinks, partitions))
        return sites[-1]

    yield make
    for each in sites:
        each.close()
