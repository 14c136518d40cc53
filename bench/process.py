"""Running a command and taking the operating system's account of it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PYTHON = f"Python {sys.version.split()[0]} of {sys.base_prefix}"
"""What runs ours and the Python peers. How it was built makes a difference of a fifth."""


@dataclass
class Cost:
    """What a finished process used: CPU and wall seconds, peak resident memory in MiB.

    Linux counts the memory of who started it until it became its own program: that must be small.
    """

    cpu: float
    wall: float
    rss: float

    def __lt__(self, other: Cost) -> bool:
        return self.cpu < other.cpu


@dataclass
class Rate:
    """Frames in a span of seconds, the CPU seconds that went into them, how many were passed on."""

    frames: float
    wall: float
    cpu: float
    kept: float | None = None

    @property
    def second(self) -> float:
        """Frames a second of wall."""
        return self.frames / self.wall

    @property
    def each(self) -> float:
        """Microseconds of CPU a frame."""
        return self.cpu / self.frames * 1e6

    def row(self, name: str) -> str:
        kept = "" if self.kept is None else f"{self.kept:,.0f}"
        return f"| {name} | {self.second:,.0f} | {self.each:.1f} | {kept} |"


class MissingError(Exception):
    """A peer that is not installed, or would not run: the table says so."""


def run(command: list[str], *, kill_when_idle: float | None = None) -> Cost:
    """Run a command to its end, output thrown away.

    `kill_when_idle`: for a tool that never ends at the end of its input, the seconds after which
    it is killed; its cost is then what it had used. Raises MissingError.
    """
    if shutil.which(command[0]) is None:
        raise MissingError(f"{command[0]} is not installed")
    started = time.perf_counter()
    with open(os.devnull, "wb") as null, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=null, stderr=errors, cwd=ROOT
        )
        if kill_when_idle is not None:
            time.sleep(kill_when_idle)
            process.send_signal(signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode and kill_when_idle is None:
            errors.seek(0)
            raise MissingError(
                f"{command[0]} failed: {errors.read()[-300:].decode(errors='replace')}"
            )
    return Cost(usage.ru_utime + usage.ru_stime, wall, _mib(usage))


def best(command: list[str], times: int = 3) -> Cost:
    """The run with the least CPU of several."""
    return min(run(command) for _ in range(times))


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def python(code: str) -> list[str]:
    """The command that runs a piece of Python in this very environment."""
    return [sys.executable, "-c", code]
