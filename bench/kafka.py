"""`make bench-kafka`: agent, worker and sink over one real broker, beside what one would use instead.

The broker may use every processor; a worker and each of its peers are bound to one where `taskset`
is at hand, except where several workers share what there is. All read and write the same Avro
records, with state and its changelog (Bytewax: its snapshots); "passed on" are the frames that came
out, which on real captures must be the same number for the same job. (In the simulated ones time
goes back from sensor to sensor, and who forgets drops fewer.) The peers' programs and what they
leave out are in `bench/peers`. `make bench-kafka BENCH=sink` for the rows with a word in their names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench import frames, kafka_latency, kafka_peers, kafka_sink
from bench.kafka_worker import await_partitions, follow, pinned, workers
from bench.process import PYTHON, ROOT, MissingError, Rate, best
from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.segments import topic_plans
from infra.local import Stack, StackError
from infra.whole import messages

FOLDER = frames.FOLDER / "stack"
FRAMES, MANY, SINGLE, DOCUMENTS = 200_000, 500_000, 20_000, 50_000
JOB = ("dedupe", "beacon_filter", "oui")
HEAD = """\
| over one broker | a second (wall) | µs CPU each | passed on |
| --- | --- | --- | --- |"""
OURS = f"worker: {', '.join(JOB)}; 200 frames a message"
QUIX = "Quix Streams: the same job; 200 frames a message"
BYTEWAX = "Bytewax: the same job; 200 frames a message"
FAUST = "plain Faust: dedupe; 1 frame a message"
_PEERS = (
    (QUIX, "Quix Streams, the same job", "2"),
    (BYTEWAX, "Bytewax, the same job", ""),
    (FAUST, "plain Faust, 1 frame a message", "10"),
)
AGENT = "agent: file to Kafka, all delivered"


def main() -> None:
    path, _, what = frames.big()
    FOLDER.mkdir(parents=True, exist_ok=True)
    stack = Stack(FOLDER, quick=False)
    try:
        stack.start(["kafka", "elasticsearch"])
        print(f"{PYTHON}, {os.cpu_count()} processors for all; {what}")
        print(f"\n{HEAD}")
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
        print(bench.aims())
    except StackError as error:
        sys.exit(f"bench-kafka: {error}")
    finally:
        stack.stop(wipe=True)


class Bench:
    """The rows of the table."""

    def __init__(self, stack: Stack, path: Path) -> None:
        self.stack, self.path = stack, path
        self.servers = stack.kafka.bootstrap_servers
        self.found: dict[str, Rate] = {}  # by the names of the rows
        self.sinks_part = 0.0
        self._published: dict[tuple[int, int, int], str] = {}

    def rows(self) -> list[tuple[str, Callable[[str], str]]]:
        """What is measured, with the names of the rows."""
        worker, peer, job = self.worker, self.peer, ", ".join(JOB)
        one: dict[str, Any] = {"count": SINGLE, "batch": 1}
        spread: dict[str, Any] = {"stages": JOB, "count": MANY, "core": None}
        cores = f"on {os.cpu_count()} processors"
        return [
            (OURS, partial(worker, stages=JOB)),
            (QUIX, partial(peer, program="quix_app", job="whole")),
            (BYTEWAX, partial(peer, program="bytewax_flow", job="whole")),
            ("worker: dedupe; 200 frames a message", worker),
            ("Quix Streams: dedupe; 200 frames a message", partial(peer, program="quix_app")),
            (f"worker: {job}; 1 frame a message", partial(worker, stages=JOB, **one)),
            ("worker: dedupe; 1 frame a message", partial(worker, **one)),
            ("Quix Streams: dedupe; 1 frame a message", partial(peer, program="quix_app", **one)),
            (FAUST, partial(peer, program="faust_app", **one)),
            (f"1 partition, 1 worker {cores}", partial(worker, **spread)),
            (f"2 partitions, 1 worker {cores}", partial(worker, partitions=2, **spread)),
            (f"2 partitions, 2 workers {cores}", partial(worker, partitions=2, many=2, **spread)),
            (f"4 partitions, 4 workers {cores}", partial(worker, partitions=4, many=4, **spread)),
            (AGENT, self.agent),
            ("Elasticsearch sink, documents", self.sink),
            *kafka_latency.named(self, JOB),
        ]

    def aims(self) -> str:
        """What was aimed at, beside what was found; "" where nothing was."""
        ours, rows = self.found.get(OURS), []
        if ours is not None:
            rows.append(f"| worker: frames a second | {ours.second:,.0f} | | 30,000 |")
            for name, other, aim in _PEERS:
                theirs = self.found.get(name)
                if theirs is not None:
                    wall, cpu = ours.second / theirs.second, theirs.each / ours.each
                    rows.append(f"| worker / {other} | {wall:.2f} | {cpu:.2f} | {aim} |")
        if AGENT in self.found:
            rows.append(
                f"| agent: µs of CPU a frame | | {self.found[AGENT].each:.1f} | at most 10 |"
            )
        if self.sinks_part:
            rows.append(f"| sink / bare parallel_bulk | {self.sinks_part:.2f} | | 0.8 |")
        if not rows:
            return ""
        return "\n".join(
            ["", "| aim | by wall | by CPU | at least |", "| --- | --- | --- | --- |", *rows]
        )

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

    def published(self, count: int, batch: int, partitions: int = 1) -> str:
        """A topic that the agent filled."""
        key = count, batch, partitions
        if key not in self._published:
            file, self._published[key] = self.configure(count, batch=batch, partitions=partitions)
            self.publish(file)
        return self._published[key]

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
        many: int = 1,
        core: int | None = 0,
    ) -> str:
        """What waits in the topic, from when every worker works until all is done. Several get it
        when all are there, or the first would have done much of it alone."""
        filled = self.published(count, batch, partitions)
        source = filled if many == 1 else ""
        file, topic = self.configure(count, stages=stages, partitions=partitions, topic=source)
        with workers(file, many, core) as running:
            if many > 1:
                held = kafka_peers.records(self.servers, filled)
                await_partitions(running)
                kafka_peers.copy(self.servers, held, topic)
            self.found[name] = follow(running, messages(self.servers, filled), stages)
        return self.found[name].row(name)

    def peer(
        self, name: str, *, program: str, job: str = "dedupe", count: int = FRAMES, batch: int = 200
    ) -> str:
        topic = self.published(count, batch)
        self.found[name] = kafka_peers.run(program, self.servers, topic, pinned(0), job)
        return self.found[name].row(name)

    def agent(self, name: str) -> str:
        """All the frames there are: its start, which is included, counts for less."""
        file, _ = self.configure(MANY)
        cost = best([sys.executable, "-m", "capture_agent", "-q", "-c", str(file)], 2)
        self.found[name] = Rate(MANY, cost.wall, cost.cpu)
        return self.found[name].row(name)

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
        self.sinks_part = ours / bare
        return (
            f"| {name} ({stored.pop():,}) | {ours:,.0f} | |\n"
            f"| bare helpers.parallel_bulk of the same | {bare:,.0f} | |\n"
            f"| the sink's part of it | {ours / bare:.0%} | |"
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise MissingError(f"{command[2:4]} ended with {done.returncode}: {done.stderr[-300:]}")


if __name__ == "__main__":
    main()
