"""`make bench-kafka`: agent, worker and sink over one real broker, beside what one would use instead.

Processes under test are bound to one core where `taskset` is at hand; the broker is not.
Workers and Quix Streams decode and encode Avro, with state and its changelog; Quix Streams' dedupe
is in its state store, by transmitter, and never forgets. `make bench-kafka BENCH=sink` for the rows
with a word in their names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench import frames, kafka_peers, kafka_sink
from bench.process import ROOT, MissingError, best
from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.segments import topic_plans
from infra.local import Stack, StackError
from infra.whole import by_stage, messages, total

FOLDER = frames.FOLDER / "stack"
FRAMES, SINGLE, PEER, DOCUMENTS = 200_000, 10_000, 20_000, 50_000
JOB = ("dedupe", "beacon_filter", "oui")


@dataclass
class Rate:
    """Frames in a span of seconds, and the CPU seconds that went into them."""

    frames: float
    wall: float
    cpu: float

    def row(self, name: str) -> str:
        each = self.cpu / self.frames * 1e6
        return f"| {name} | {self.frames / self.wall:,.0f} | {each:.1f} |"


def main() -> None:
    path, _, what = frames.big()
    FOLDER.mkdir(parents=True, exist_ok=True)
    stack = Stack(FOLDER, quick=False)
    try:
        stack.start(["kafka", "elasticsearch"])
        print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors; {what}\n")
        print("| over one broker | a second (wall) | µs CPU each |\n| --- | --- | --- |")
        bench = Bench(stack, path)
        wanted = " ".join(sys.argv[1:]).lower()
        for name, measure in bench.rows():
            if wanted not in name.lower():
                continue
            try:
                said = measure(name)
            except (MissingError, OSError, subprocess.SubprocessError) as error:
                said = f"| {name} | not run: {' '.join(str(error).split())[-200:]} | |"
            print(said, flush=True)
    except StackError as error:
        sys.exit(f"bench-kafka: {error}")
    finally:
        stack.stop(wipe=True)


class Bench:
    """The rows of the table; each has topics of its own."""

    def __init__(self, stack: Stack, path: Path) -> None:
        self.stack, self.path = stack, path
        self.servers = stack.kafka.bootstrap_servers

    def rows(self) -> list[tuple[str, Callable[[str], str]]]:
        """What is measured, with the names of the rows."""
        worker, job = self.worker, ", ".join(JOB)
        single = {"count": SINGLE, "batch": 1}
        return [
            (f"worker: {job}; 200 frames a message", partial(worker, stages=JOB)),
            (f"worker: {job}; 1 frame a message", partial(worker, stages=JOB, **single)),
            ("worker: dedupe; 200 frames a message", worker),
            ("worker: dedupe; 1 frame a message", partial(worker, **single)),
            ("Quix Streams: dedupe; 200 frames a message", self.quix),
            ("Quix Streams: dedupe; 1 frame a message", partial(self.quix, batch=1)),
            ("Bytewax", self.bytewax),
            ("agent: file to Kafka, all delivered", self.agent),
            (f"2 partitions, 1 worker: {job}", partial(worker, stages=JOB, partitions=2)),
            (
                f"2 partitions, 2 workers: {job}",
                partial(worker, stages=JOB, partitions=2, workers=2),
            ),
            ("Elasticsearch sink, documents", self.sink),
        ]

    def configure(
        self,
        count: int,
        *,
        stages: tuple[str, ...] | None = None,
        partitions: int = 1,
        batch: int = 200,
        sink: str | None = None,
        topic: str = "",
    ) -> tuple[Path, str]:
        """A configuration whose topics are there, and the topic that agents publish to."""
        name = f"bench{uuid.uuid4().hex[:8]}"
        topic = topic or f"{name}.frames"
        capture = frames.first(self.path, count)
        pipeline: list[Any] = [{"pcap": {"path": str(capture)}}, {"topic": topic}]
        if stages is not None:
            pipeline += [*stages, {"topic": f"{name}.out"}]
        if sink is not None:
            hosts = [self.stack.elasticsearch.url]
            pipeline.append({"elasticsearch": {"hosts": hosts, "index": sink, "replicas": 0}})
        document = {
            "name": name,
            "kafka": {"bootstrap_servers": self.servers, "partitions": partitions},
            "agent": {"batch_frames": batch},
            "workers": {"http_port": 0},
            "pipeline": pipeline,
        }
        file = FOLDER / f"{name}.yaml"
        file.write_text(yaml.safe_dump(document))
        config = configuration.load(str(file))
        with connect(config) as broker:
            for plan in topic_plans(config):
                broker.create(plan)
        return file, topic

    def publish(self, file: Path) -> None:
        _run([sys.executable, "-m", "datastalker", "capture", "-c", str(file)])

    def worker(
        self,
        name: str,
        *,
        stages: tuple[str, ...] = ("dedupe",),
        count: int = FRAMES,
        batch: int = 200,
        partitions: int = 1,
        workers: int = 1,
    ) -> str:
        """What waits in the topic, from when every worker works until all is done."""
        file, topic = self.configure(count, stages=stages, batch=batch, partitions=partitions)
        self.publish(file)
        wanted = messages(self.servers, topic)
        with _workers(file, workers) as running:
            rate = _follow(running, wanted, stages[0])
        return rate.row(name)

    def quix(self, name: str, *, batch: int = 200) -> str:
        file, topic = self.configure(PEER if batch == 1 else FRAMES, batch=batch)
        self.publish(file)
        return Rate(*kafka_peers.quix(self.servers, topic, _pinned(0))).row(name)

    def bytewax(self, name: str) -> str:
        raise MissingError("not written yet")

    def agent(self, name: str) -> str:
        file, _ = self.configure(FRAMES)
        cost = best([sys.executable, "-m", "capture_agent", "-q", "-c", str(file)], 2)
        return Rate(FRAMES, cost.wall, cost.cpu).row(name)

    def sink(self, name: str) -> str:
        """Twice each in turn, the better of both; the first also warms the server."""
        file, topic = self.configure(DOCUMENTS, sink="warm")
        self.publish(file)
        url = self.stack.elasticsearch.url
        found: dict[str, list[float]] = {"bare": [], "sink": []}
        stored = set()
        for turn in range(3):
            for who, rates in found.items():
                index = f"{who}{turn}"
                config, _ = self.configure(DOCUMENTS, sink=index, topic=topic)
                number, rate = kafka_sink.rate(kafka_sink.commands(config, topic)[who], url, index)
                stored.add(number)
                rates.append(rate)
        ours, bare = max(found["sink"][1:]), max(found["bare"][1:])
        if len(stored) != 1:
            raise MissingError(f"not the same number of documents each time: {stored}")
        return (
            f"| {name} ({stored.pop():,}) | {ours:,.0f} | |\n"
            f"| bare helpers.parallel_bulk of the same | {bare:,.0f} | |\n"
            f"| the sink's part of it | {ours / bare:.0%} | |"
        )


class _Worker:
    """A Faust worker on a core of its own; `address` once it serves."""

    def __init__(self, file: Path, number: int) -> None:
        self.log = file.with_suffix(f".{number}.log")
        environment = {**os.environ, "DATASTALKER_CONFIG": str(file)}
        faust = str(Path(sys.executable).with_name("faust"))
        command = [*_pinned(number), faust, "-A", "processors", "worker", "--without-web"]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out
            )
        self.address: str | None = None
        self.page = ""

    def read(self) -> str:
        """Its metrics as they are now; empty before it serves."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-300:]
            raise MissingError(f"the worker ended with {self.process.returncode}: {tail}")
        if self.address is None:
            found = re.search(r"http://[0-9.]+:\d+", self.log.read_text(errors="replace"))
            self.address = found[0] if found else None
        if self.address is not None:
            try:
                with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as answer:
                    self.page = answer.read().decode()
            except OSError:
                pass
        return self.page

    def cpu(self) -> float:
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _workers(file: Path, count: int) -> Iterator[list[_Worker]]:
    running = [_Worker(file, number) for number in range(count)]
    try:
        yield running
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            try:
                worker.process.wait(20)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


def _follow(running: list[_Worker], wanted: int, stage: str, seconds: float = 90) -> Rate:
    """From the first look at which all work to the first at which nothing waits."""
    deadline = time.monotonic() + seconds
    first: tuple[float, float, float] | None = None
    while time.monotonic() < deadline:
        pages = [worker.read() for worker in running]
        now = time.perf_counter(), sum(worker.cpu() for worker in running)
        counts = [
            by_stage(page, "datastalker_stage_messages_in_total").get(stage, 0) for page in pages
        ]
        done = sum(total(page, "datastalker_batches_total") for page in pages) >= wanted
        if first is None and all(counts):
            first = (*now, sum(counts))
            if done:
                raise MissingError("all was done before each worker had begun")
        elif first is not None and done:
            return Rate(sum(counts) - first[2], now[0] - first[0], now[1] - first[1])
        time.sleep(0.2)
    raise MissingError(f"the workers did not finish within {seconds:g} s")


def _pinned(core: int) -> list[str]:
    """The beginning of a command that keeps to one core."""
    cores = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(cores[core % len(cores)])]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise MissingError(f"{command[2:4]} ended with {done.returncode}: {done.stderr[-300:]}")


if __name__ == "__main__":
    main()
