"""Workers under measure: Faust processes that read what waits in a topic."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import ROOT, MissingError, Rate
from infra.whole import by_stage, total


class Worker:
    """A worker process; `core`: the only one that it may use."""

    def __init__(self, file: Path, number: int, core: int | None) -> None:
        self.log = file.with_suffix(f".{number}.log")
        environment = {**os.environ, "DATASTALKER_CONFIG": str(file)}
        faust = str(Path(sys.executable).with_name("faust"))
        command = [*pinned(core), faust, "-A", "processors", "worker", "--without-web"]
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
def workers(file: Path, count: int, core: int | None) -> Iterator[list[Worker]]:
    running = [Worker(file, number, core) for number in range(count)]
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


def follow(
    running: list[Worker], wanted: int, stages: tuple[str, ...], seconds: float = 90
) -> Rate:
    """From the first look at which all work to the first at which nothing waits."""
    deadline = time.monotonic() + seconds
    first: tuple[float, float, float] | None = None
    while time.monotonic() < deadline:
        pages = [worker.read() for worker in running]
        now = time.perf_counter(), sum(worker.cpu() for worker in running)
        counts = _counts(pages, "in", stages[0])
        done = sum(total(page, "datastalker_batches_total") for page in pages) >= wanted
        if first is None and all(counts):
            first = (*now, sum(counts))
            if done:
                raise MissingError("all was done before each worker had begun")
        elif first is not None and done:
            kept = sum(_counts(pages, "out", stages[-1]))
            return Rate(sum(counts) - first[2], now[0] - first[0], now[1] - first[1], kept)
        time.sleep(0.2)
    raise MissingError(f"the workers did not finish within {seconds:g} s")


def _counts(pages: list[str], way: str, stage: str) -> list[float]:
    """What went into a stage or out of it, by worker."""
    name = f"datastalker_stage_messages_{way}_total"
    return [by_stage(page, name).get(stage, 0) for page in pages]


def pinned(core: int | None) -> list[str]:
    """The beginning of a command that keeps to one core."""
    if core is None or shutil.which("taskset") is None:
        return []
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core % len(cores)])]
