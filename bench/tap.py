"""What looking on costs a pipeline at full speed: `python -m bench.tap [ROUNDS]`.

One process reads the same frames over and over: every other time without a page, between them in
turns with one that nobody asks, scraped each second, with a tap that shows everything, with one
that looks for what is rare; and without a page once more, which shows what the measure is worth.
Each is compared with the two without a page beside it, so what else the machine does, and how this
process happens to lie in its memory, meets both. CPU is this process's; who asks is another.

The first 100,000 frames of each are left out: in them a tap spends what it has saved, 50 ms.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from bench.frames import big
from bench.process import ROOT
from datastalker import config as configuration
from datastalker.collector import spare_the_collector
from datastalker.metrics import stage_samples
from datastalker.page import Page, serve
from datastalker.pipeline import Pipeline
from datastalker.tapping import places_of

START, FRAMES = 100_000, 250_000
STAGES = [
    {"limit": {"messages": START + FRAMES}},
    {"dedupe": {"window_seconds": 2}},
    "beacon_filter",
    {"oui": {"fields": ["ta"]}},
    "presence",
]

METRICS = "/metrics"
RARE = quote(json.dumps({"kind": "ASSOC_REQ"}))
CASES: dict[str, str | None] = {
    "a page, nobody asks": "",
    "scraped each second": METRICS,
    "a tap that shows all": "/tap?stage=source",
    "a tap with a filter": f"/tap?stage=source&filter={RARE}",
    "no page, again": None,
}

Cost = tuple[float, float]
"""Seconds of CPU, and by the clock."""


def once(file: str, path: str | None) -> Cost:
    """A run; `path`: what is asked of its page meanwhile; None: there is none."""
    pipeline = configuration.build(configuration.load(file))
    began: list[Cost] = []

    def after_batch() -> None:
        if not began and pipeline.source_stats.sent >= START:
            began.append((time.process_time(), time.perf_counter()))

    with _looked_at(pipeline, path):
        pipeline.run(after_batch)
        ((cpu, clock),) = began
        return time.process_time() - cpu, time.perf_counter() - clock


@contextmanager
def _looked_at(pipeline: Pipeline, path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    samples, places = partial(stage_samples, "bench", [pipeline]), partial(places_of, [pipeline])
    server = serve(Page("run", "bench", "", samples, places=places), "127.0.0.1", 0, "bench")
    asks = [sys.executable, "-m", "bench.tap", "--ask", f"{server.url}{path}"]
    asking = subprocess.Popen(asks, cwd=ROOT) if path else None
    try:
        yield
    finally:
        if asking is not None:
            asking.kill()
            asking.wait()
        server.close()
        while threading.active_count() > 1:  # a tap sees with its next word that nobody listens
            time.sleep(0.1)


def ask(url: str) -> None:
    """Until somebody ends it."""
    parts = urlsplit(url)
    while True:
        with socket.create_connection((str(parts.hostname), parts.port or 0)) as connection:
            path = url.partition(parts.netloc)[2]
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while connection.recv(1 << 16):
                pass
        time.sleep(1)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    spare_the_collector()
    found: dict[str, list[Cost]] = {name: [] for name in CASES}
    more: dict[str, list[Cost]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.json"
        file.write_text(json.dumps({"pipeline": [{"pcap": {"path": str(big()[0])}}, *STAGES]}))
        once(str(file), "")  # what is loaded once
        before = once(str(file), None)
        for _ in range(rounds):
            for name, path in CASES.items():
                cost, after = once(str(file), path), once(str(file), None)
                found[name].append(cost)
                beside = zip(cost, before, after, strict=True)
                cpu, clock = (2 * here / (there + then) - 1 for here, there, then in beside)
                more[name].append((cpu, clock))
                before = after
    print(
        f"| {FRAMES:,} frames, {rounds} rounds | µs CPU a frame | more CPU | from, to | more time |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, shares in more.items():
        each = statistics.median(cpu for cpu, _ in found[name]) / FRAMES * 1e6
        cpus, clocks = ([*column] for column in zip(*shares, strict=True))
        low, _, high = statistics.quantiles(cpus, n=4) if rounds > 1 else cpus * 3
        median, longer = statistics.median(cpus), statistics.median(clocks)
        print(f"| {name} | {each:.2f} | {median:+.1%} | {low:+.1%}, {high:+.1%} | {longer:+.1%} |")


if __name__ == "__main__":
    ask(sys.argv[2]) if sys.argv[1:2] == ["--ask"] else main()
