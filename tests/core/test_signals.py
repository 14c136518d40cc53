"""Ctrl-C and SIGTERM end a run in order: the batch in hand, the sinks, the summary, exit code 0."""

from __future__ import annotations

import csv
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

STALK = Path(__file__).parents[2] / "stalk"
ENDLESS = '''\
import time
from datastalker.pipeline import Message, Pipeline, SourceStage, Stage

@Pipeline.register_stage("endless")
class Endless(SourceStage):
    """Never ends."""
    def run(self):
        seq = 0
        while True:
            yield [Message(type="frame", timestamp=(seq + n) * 1000, seq=seq + n) for n in range(10)]
            seq += 10
            open("running", "w").close()
            time.sleep(0.02)

@Pipeline.register_stage("slow")
class Slow(Stage):
    """Takes its time with a batch."""
    def handle(self, message):
        time.sleep(0.05)
        return message

@Pipeline.register_stage("stuck")
class Stuck(Stage):
    """Never comes back."""
    def handle(self, message):
        open("stuck", "w").close()
        time.sleep(60)
'''


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts `stalk run` on the endless source and these stages; returns when it is under way."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    started: list[subprocess.Popen[str]] = []

    def begin(stages: str, sign: str = "running") -> subprocess.Popen[str]:
        text = f"plugins: [endless.py]\npipeline: [endless, {stages}]\n"
        (tmp_path / "config.yaml").write_text(text)
        process = subprocess.Popen(
            [STALK, "--run"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        until = time.monotonic() + 20
        while not (tmp_path / sign).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_batch_flushes_the_sinks_and_prints_the_summary(
    start: object, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("slow, csv: {directory: out}")  # type: ignore[operator]

    process.send_signal(number)
    _, said = process.communicate(timeout=10)

    assert process.returncode == 0
    assert f"stopped: {number.name}; " in said
    (written,) = (tmp_path / "out").iterdir()
    assert written.suffix == ".csv"
    with open(written, newline="") as file:
        seqs = [int(row["seq"]) for row in csv.DictReader(file)]
    assert seqs == list(range(len(seqs)))
    assert len(seqs) % 10 == 0
    assert len(seqs) >= 10
    assert f"csv: {len(seqs)} rows in out/" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(
    start: object, first: signal.Signals, second: signal.Signals
) -> None:
    process = start("stuck", "stuck")  # type: ignore[operator]

    process.send_signal(first)
    while _catches(process.pid, second):  # the first has not been looked at yet
        time.sleep(0.02)
    process.send_signal(second)
    process.communicate(timeout=20)  # the stage would take a minute

    assert process.returncode == -second


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)
