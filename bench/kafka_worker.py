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


def await_partitions(running: list[Worker], seconds: float = 60) -> None:
    """Until each has some, and works. Raises MissingError."""
    deadline = time.monotonic() + seconds
    while not all(
        total(page, "datastalker_partitions") and total(page, "datastalker_ready")
        for page in [worker.read() for worker in running]
    ):
        if time.monotonic() > deadline:
            raise MissingError(f"not every worker had a partition within {seconds:g} s")
        time.sleep(0.2)


def follow(
    running: list[Worker], wanted: int, stages: tuple[str, ...], seconds: float = 90
) -> Rate:
    """From the first look at which all work to that at which the first of several has no more to do.

    Partitions hold different numbers of frames; who waits for the last one is not measured.
    """
    deadline = time.monotonic() + seconds
    looks: list[tuple[float, float, list[float]]] = []
    while time.monotonic() < deadline:
        pages = [worker.read() for worker in running]
        cpu = sum(worker.cpu() for worker in running)
        counts = _counts(pages, "in", stages[0])
        if looks or all(counts):
            looks.append((time.perf_counter(), cpu, counts))
        if sum(total(page, "datastalker_batches_total") for page in pages) >= wanted:
            break
        time.sleep(0.2)
    else:
        raise MissingError(f"the workers did not finish within {seconds:g} s")
    ready = (
        next(n for n, look in enumerate(looks) if look[2][number] == counts[number])
        for number in range(len(running))
    )
    end = looks[min(ready) if len(running) > 1 else -1] if looks else None
    if end is None or end is looks[0]:
        raise MissingError("a worker had done its part before all had begun")
    kept = sum(_counts(pages, "out", stages[-1])) if len(running) == 1 else None
    begin = looks[0]
    return Rate(sum(end[2]) - sum(begin[2]), end[0] - begin[0], end[1] - begin[1], kept)


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
