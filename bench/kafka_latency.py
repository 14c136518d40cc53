"""Time from capture to searchable: agent, worker and Elasticsearch sink at 2,000 frames/s.

Frames of a capture go into an agent's pipe, each stamped with the present; a search every 20 ms
tells when they can be found. How far they were before is told by what Kafka notes of the agent's
and the worker's messages, and by Elasticsearch's count of indexed documents (documents are indexed
in about the order of their capture, so the n-th of one is taken for the n-th of the other).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from struct import Struct
from typing import Any
from urllib.error import HTTPError

import yaml

from bench import frames
from bench.process import ROOT, MissingError
from infra.whole import worker

RATE, WARM_SECONDS, SECONDS = 2_000, 12, 30
_TICK = 0.01
_RECORD = Struct("<IIII")
_BUCKET = 10_000  # microseconds
_POLL_SECONDS = 0.02


def named(bench: Any, stages: tuple[str, ...]) -> list[tuple[str, Callable[[str], str]]]:
    """What is measured, with the names of the rows."""
    return [
        (f"capture to searchable, {RATE:,} frames/s, {said}", partial(rows, bench, stages, seconds))
        for seconds, said in ((None, "as it comes (refresh 5 s)"), (1.0, "refresh 1 s"))
    ]


def rows(bench: Any, stages: tuple[str, ...], refresh: float | None, name: str) -> str:
    """Rows of the table: seconds from capture until a frame is in Kafka, through the worker,
    indexed, searchable. `refresh`: `refresh_seconds` of the sink; None: its default."""
    index = f"latency{time.time_ns() % 10**9}"
    file, topic = bench.configure(RATE, stages=stages, sink=index)
    document = yaml.safe_load(file.read_text())
    document["pipeline"][0] = {"pcap": {"path": "-", "sensor": "bench"}}
    if refresh is not None:
        document["pipeline"][-1]["elasticsearch"]["refresh_seconds"] = refresh
    file.write_text(yaml.safe_dump(document))
    servers, out = bench.servers, f"{document['name']}.out"
    watch = _Watch(bench.stack.elasticsearch.url, index)
    with (
        worker(file, file.with_suffix(".worker.log")),
        _process("sink", file),
        _process("capture", file, stdin=subprocess.PIPE) as agent,
    ):
        start = time.time()
        with watch:
            _feed(agent.stdin, frames.first(bench.path, 10 * RATE), start)
            agent.wait(30)
            sent, made = _kafka(servers, topic), _kafka(servers, out)
            watch.wait(len(made))
    since = (start + WARM_SECONDS) * 1e6
    times = sorted(captured for captured, _ in made)
    steps = {
        "in Kafka": [(captured, at) for captured, at in sent],
        "through the worker": made,
        "indexed": list(zip(times, watch.times_indexed(), strict=False)),
        "searchable": watch.found,
    }
    said = []
    for step, pairs in steps.items():
        spans = [(at - captured) / 1e6 for captured, at in pairs if captured >= since]
        if len(spans) < 100:
            raise MissingError(f"too few frames were {step}: {len(spans)}")
        p99 = statistics.quantiles(spans, n=100)[98]
        median = statistics.median(spans)
        said.append(f"| {name}: {step} | median {median:.2f} s, p99 {p99:.2f} s | |")
    return "\n".join(said)


def _feed(pipe: Any, capture: Path, start: float) -> None:
    """Write frames at the rate, each with the time at which it is written."""
    content = capture.read_bytes()
    pipe.write(content[:24])
    bodies, offset = [], 24
    while offset < len(content):
        _, _, length, original = _RECORD.unpack_from(content, offset)
        bodies.append((content[offset + 16 : offset + 16 + length], original))
        offset += 16 + length
    given = 0
    while (now := time.time()) < start + WARM_SECONDS + SECONDS:
        second, micro = divmod(int(now * 1e6), 1_000_000)
        parts = []
        while given < (now - start) * RATE:
            body, original = bodies[given % len(bodies)]
            parts += _RECORD.pack(second, micro, len(body), original), body
            given += 1
        pipe.write(b"".join(parts))
        pipe.flush()
        time.sleep(_TICK)
    pipe.close()


def _kafka(servers: str, topic: str) -> list[tuple[int, int]]:
    """Of every frame in a topic: when it was captured, and when its message was sent."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    from datastalker.wire import decode_batch

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench"})
    found: list[tuple[int, int]] = []
    try:
        place = TopicPartition(topic, 0, OFFSET_BEGINNING)
        consumer.assign([place])
        at, quiet = 0, time.monotonic()
        while time.monotonic() < quiet + 3:  # the worker may be behind the agent's end
            for record in consumer.consume(1000, 0.2):
                if record.error() or record.offset() < at:
                    continue
                at, sent = record.offset() + 1, record.timestamp()[1] * 1000
                batch = decode_batch(record.value())
                found += [(message["timestamp"], sent) for message in batch.messages]
                quiet = time.monotonic() if batch.messages else quiet
    finally:
        consumer.close()
    return found


class _Watch:
    """Asks again and again what is indexed and what can be found."""

    def __init__(self, url: str, index: str) -> None:
        self.url, self.index = url, index
        self.found: list[tuple[int, int]] = []
        """When captured, when found; of every document, to 10 ms."""
        self.indexed: list[tuple[int, int]] = []
        self._known: Counter[int] = Counter()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def wait(self, wanted: int, seconds: float = 30) -> None:
        """Until so many documents were found. Raises MissingError."""
        deadline = time.monotonic() + seconds
        while len(self.found) < wanted:
            if time.monotonic() > deadline:
                raise MissingError(f"{len(self.found):,} of {wanted:,} documents can be found")
            time.sleep(0.1)

    def times_indexed(self) -> Iterator[int]:
        """When the first, the second, … document was seen to be indexed."""
        done = 0
        for at, count in self.indexed:
            yield from [at] * (count - done)
            done = max(done, count)

    def _run(self) -> None:
        while not self._end.wait(_POLL_SECONDS):
            with suppress(HTTPError):  # an index that is just being made
                self._turn()

    def _turn(self) -> None:
        stats = self._ask("_stats/indexing", None)
        total = stats["_all"]["primaries"].get("indexing", {}).get("index_total", 0)
        self.indexed.append((time.time_ns() // 1000, total))
        answer = self._ask("_search", {"track_total_hits": True, "size": 0})
        if answer["hits"]["total"]["value"] > len(self.found):
            self._look()

    def _look(self) -> None:
        """Which documents can be found: how many of each 10 ms of capture time."""
        by = {"histogram": {"field": "timestamp", "interval": _BUCKET, "min_doc_count": 1}}
        recent = {"range": {"timestamp": {"gte": time.time_ns() // 1000 - 30_000_000}}}
        answer = self._ask("_search", {"size": 0, "query": recent, "aggs": {"by": by}})
        now = time.time_ns() // 1000
        for bucket in answer["aggregations"]["by"]["buckets"]:
            captured, count = int(bucket["key"]), bucket["doc_count"]
            new = count - self._known[captured]
            self.found += [(captured + _BUCKET // 2, now)] * new
            self._known[captured] = count

    def _ask(self, what: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/{self.index}-*/{what}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def _process(command: str, file: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command of `stalk`, ended with the block."""
    log = file.with_suffix(f".{command}.log")
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "datastalker", command, "-c", str(file)],
            cwd=ROOT, stdout=out, stderr=out, **options,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
