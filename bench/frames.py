"""The frames that are measured on: real ones where they are at hand, else simulated ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.process import ROOT

FOLDER = ROOT / ".bench"


def big() -> tuple[Path, int, str]:
    """A radiotap capture of 500,000 frames or so: its path, the number of frames, what it is.

    Real captures joined by `make_big.sh`, if DATASTALKER_CAPTURES (or ../shared/captures) has it;
    else the simulator's, seven hours of three sensors in one file after the other.
    """
    FOLDER.mkdir(exist_ok=True)
    captures = Path(os.environ.get("DATASTALKER_CAPTURES", ROOT.parent / "shared" / "captures"))
    script = captures / "make_big.sh"
    real = FOLDER / "big.pcap"
    if script.exists():
        if not real.exists():
            subprocess.run(
                ["bash", str(script), str(real), "500000"], check=True, capture_output=True
            )
        return real, 500_000, "500,000 real frames of public captures, radiotap"
    return _simulated()


def _simulated() -> tuple[Path, int, str]:
    path = FOLDER / "simulated.pcap"
    count_file = FOLDER / "simulated.count"
    if not path.exists() or not count_file.exists():
        folder = FOLDER / "simulated"
        command = [sys.executable, "-m", "datastalker", "simulate", "--out", str(folder)]
        subprocess.run([*command, "--seed", "1"], check=True, cwd=ROOT, capture_output=True)
        bodies, frames = [], 0
        for file in sorted(folder.glob("sensor-*.pcap")):
            body = file.read_bytes()[24:]
            bodies.append(body)
            frames += _count(body)
        times = max(1, round(500_000 / frames))
        path.write_bytes(file.read_bytes()[:24] + b"".join(bodies) * times)
        count_file.write_text(str(frames * times))
    frames = int(count_file.read_text())
    return path, frames, f"{frames:,} simulated frames, radiotap"


def _count(body: bytes) -> int:
    count = offset = 0
    while offset + 16 <= len(body):
        offset += 16 + int.from_bytes(body[offset + 8 : offset + 12], "little")
        count += 1
    return count


def first(path: Path, count: int) -> Path:
    """A capture of the first `count` frames, for tools that take too long for all."""
    part = FOLDER / f"{path.stem}-{count}.pcap"
    if not part.exists():
        content, offset = path.read_bytes(), 24
        for _ in range(count):
            offset += 16 + int.from_bytes(content[offset + 8 : offset + 12], "little")
        part.write_bytes(content[:offset])
    return part
