"""Through the pipeline to CSV: frames a second, against tshark writing fields alone."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.frames import big
from bench.parse import tshark_command
from bench.process import MissingError, run

_RUNS = 3
_CONFIG = """
pipeline:
  - pcap: {{path: {path}}}
  - beacon_filter
  - dedupe: {{window_seconds: 2}}
  - oui
  - csv: {{directory: {out}}}
"""


def table() -> str:
    """The median of as many runs of each, in turn, so that what slows the machine slows both."""
    path, frames, what = big()
    folder = Path(tempfile.mkdtemp(prefix="datastalker-bench-"))
    try:
        config = folder / "config.yaml"
        config.write_text(_CONFIG.format(path=path, out=folder / "out"))
        commands = {
            "DataStalker: beacon_filter, dedupe, oui, csv": [
                sys.executable, "-m", "datastalker", "run", "-q", "-c", str(config),
            ],
            "tshark -T fields alone": tshark_command(path),
        }  # fmt: skip
        walls: dict[str, list[float]] = {}
        missing = ""
        for _ in range(_RUNS):
            # Finding the same rows there already, the sink would compare them.
            shutil.rmtree(folder / "out", ignore_errors=True)
            for name, command in list(commands.items()):
                try:
                    walls.setdefault(name, []).append(run(command).wall)
                except MissingError as error:
                    missing = f" {error}."
                    del commands[name]
    finally:
        shutil.rmtree(folder)
    rates = {name: frames / median(found) for name, found in walls.items() if found}
    ratio = ""
    if len(rates) == 2:
        ours, theirs = rates.values()
        ratio = f" DataStalker is {ours / theirs:.2f} × as fast."
    lines = [f"### Through the pipeline\n\n{what}; the median of {_RUNS}.{ratio}{missing}\n"]
    lines += ["| | frames a second |", "| --- | --- |"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in rates.items()]
    return "\n".join(lines)
