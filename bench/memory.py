"""Peak memory: a long capture, and a flood of random addresses."""

from __future__ import annotations

import shutil
import struct
import sys
import tempfile
from pathlib import Path

from bench.frames import FOLDER, big
from bench.process import Cost, run
from datastalker.simulator.flood import flood

_STAGES = """
  - beacon_filter
  - dedupe: {{window_seconds: 2, mode: {mode}}}
  - oui
  - moving_average
  - presence
  - csv: {{directory: {out}}}
"""


def table() -> str:
    path, _, what = big()
    lines = ["### Memory\n", "| | peak resident MiB |", "| --- | --- |"]
    cost = _run(f"{path}", "first")
    lines.append(f"| {what}, through every stateful stage to CSV | {cost.rss:.0f} |")
    million = _flood(1_000_000)
    for mode in ("first", "merge"):
        cost = _run(f"{million}", mode)
        lines.append(f"| a million random addresses, the same; dedupe {mode} | {cost.rss:.0f} |")
    return "\n".join(lines)


def _run(path: str, mode: str) -> Cost:
    folder = Path(tempfile.mkdtemp(prefix="datastalker-bench-"))
    try:
        config = folder / "config.yaml"
        stages = _STAGES.format(mode=mode, out=folder / "out")
        config.write_text(f"pipeline:\n  - pcap: {{path: {path}}}{stages}")
        return run([sys.executable, "-m", "datastalker", "run", "-q", "-c", str(config)])
    finally:
        shutil.rmtree(folder)


def _flood(count: int) -> Path:
    """A capture of `count` frames from as many transmitters, a thousand a second."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"flood-{count}.pcap"
    if not path.exists():
        with open(path, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 127))
            for number, frame in enumerate(flood(count)):
                seconds, micros = 1_772_470_800 + number // 1000, number % 1000 * 1000
                out.write(struct.pack("<IIII", seconds, micros, len(frame), len(frame)) + frame)
    return path
