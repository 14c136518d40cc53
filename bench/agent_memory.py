"""`make bench-agent BENCH=memory`: the agent's resident memory over an hour's frames.

An hour at 2,000 frames/s is 7.2 million frames. They are sent faster than that, so the hour takes
minutes: what an agent keeps is bounded by numbers of frames, batches and values, not by time, and
what is on its way to the broker is more at the higher rate, not less. Devices change all the time:
every second frame but beacons and probe responses, which stay where they are, comes from an address
that was never heard before. The interface is a kernel's, Kafka is real, and all must arrive.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from bench.process import ROOT
from infra.local import Radio

FRAMES = int(os.environ.get("BENCH_FRAMES", 2000 * 3600))
RATE = int(os.environ.get("BENCH_RATE", 20_000))
_POINTS = 12
_ADDRESS = slice(10, 16)
_STAYS = {0x80, 0x50}  # beacons, probe responses: of access points


def memory(radio: Radio, air: list[bytes], config: Path) -> str:
    """The curve: frames so far, what the agent's memory is then, and its peak."""
    command = [sys.executable, "-m", "capture_agent", "-c", str(config)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        try:
            _await(radio.name, process)
            done = threading.Event()
            lines = threading.Thread(target=_send, args=(radio, air, done))
            began = time.monotonic()
            lines.start()
            rows = _curve(process.pid, began, done)
            lines.join()
            time.sleep(2)
            rows.append(f"| {FRAMES:,}, all sent | {_mib(process.pid, 'VmRSS'):.1f} |")
            rows.append(f"| the most at any time | {_mib(process.pid, 'VmHWM'):.1f} |")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    found = re.search(r"captured ([\d,]+) = published ([\d,]+).*", said)
    balance = found[0] if found else f"the agent gave no balance: {said[-300:]}"
    head = ["| frames | resident MiB |", "| --- | --- |"]
    return "\n".join([*head, *rows, "", f"{FRAMES:,} sent at {RATE:,}/s: {balance}"])


def _curve(pid: int, began: float, done: threading.Event) -> list[str]:
    rows = []
    for point in range(_POINTS):
        if done.wait(max(0.0, began + FRAMES / RATE * point / _POINTS - time.monotonic())):
            break
        rows.append(f"| {FRAMES * point // _POINTS:,} | {_mib(pid, 'VmRSS'):.1f} |")
    done.wait()
    return rows


def _send(radio: Radio, air: list[bytes], done: threading.Event) -> None:
    try:
        radio.send(_strangers(islice(cycle(air), FRAMES)), RATE)
    finally:
        done.set()


def _strangers(air: Iterator[bytes]) -> Iterator[bytes]:
    """The same frames; every second one that has a transmitter is sent by somebody new."""
    random_bytes = random.Random(1).randbytes
    for number, frame in enumerate(air):
        start = frame[2] | frame[3] << 8
        address = slice(start + _ADDRESS.start, start + _ADDRESS.stop)
        if number % 2 and len(frame) >= address.stop + 8 and frame[start] not in _STAYS:
            stranger = b"\2" + random_bytes(5)
            frame = frame[: address.start] + stranger + frame[address.stop :]
        yield frame


def _mib(pid: int, what: str) -> float:
    found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _await(interface: str, process: subprocess.Popen[bytes]) -> None:
    """Until a packet socket is bound to the interface, and some seconds more for Kafka."""
    index = Path(f"/sys/class/net/{interface}/ifindex").read_text().strip()
    ends = time.monotonic() + 60
    while not any(
        line.split()[4] == index for line in Path("/proc/net/packet").read_text().splitlines()
    ):
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError("the agent does not listen")
        time.sleep(0.05)
    time.sleep(3)
