"""What looking on costs a pipeline at full speed: `python -m bench.tap [ROUNDS]`.

The same run over and over, in turns: without a page, with one that nobody asks, scraped each
second, with a tap that shows everything, with one that looks for what is rare. CPU is the
pipeline's process alone; medians, and what each takes more than the first.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from bench.frames import big
from bench.process import ROOT

FRAMES = 500_000
STAGES = [
    {"limit": {"messages": FRAMES}},
    {"dedupe": {"window_seconds": 2}},
    "beacon_filter",
    {"oui": {"fields": ["ta"]}},
    "presence",
]

RARE = quote(json.dumps({"kind": "ASSOC_REQ"}))
CASES: dict[str, str | None] = {
    "no page": None,
    "a page, nobody asks": "",
    "scraped each second": "/metrics",
    "a tap that shows all": "/tap?stage=source",
    "a tap with a filter": f"/tap?stage=source&filter={RARE}",
}


def once(folder: Path, path: str | None) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MiB of a run; `path`: what is asked of its page meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    document = {
        "agent": {} if path is None else {"http_port": port},
        "pipeline": [{"pcap": {"path": str(big()[0])}}, *STAGES],
    }
    file = folder / "bench.json"
    file.write_text(json.dumps(document))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "datastalker", "run", "-q", "-c", str(file)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    if path:
        asks = _scrape if path == "/metrics" else _read
        threading.Thread(target=_patient, args=(asks, port, path), daemon=True).start()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    process.returncode = 0
    return _cpu(usage), time.perf_counter() - started, usage.ru_maxrss / 1024


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _patient(asks: Callable[[int, str], None], port: int, path: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            asks(port, path)
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
        except OSError:  # it has ended
            return


def _read(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        size = 0
        while got := connection.recv(1 << 16):
            size += len(got)
    READ.append(size)


def _scrape(port: int, path: str) -> None:
    while True:
        _read(port, path)
        time.sleep(1)


READ: list[int] = []
"""Bytes of each answer."""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, path in CASES.items():
                found[name].append(once(Path(folder), path))
    print(f"| {FRAMES:,} frames, {rounds} rounds | frames/s | µs CPU a frame | more | MiB |")
    print("| --- | --- | --- | --- | --- |")
    first = statistics.median(cost[0] for cost in found["no page"])
    for name, costs in found.items():
        cpu, wall, rss = (statistics.median(column) for column in zip(*costs, strict=True))
        more = f"{cpu / first - 1:+.1%}" if name != "no page" else ""
        each = cpu / FRAMES * 1e6
        print(f"| {name} | {FRAMES / wall:,.0f} | {each:.2f} | {more} | {rss:.0f} |")


if __name__ == "__main__":
    main()
