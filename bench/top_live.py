"""`make bench-top`: what `stalk top` costs on a live interface: to its first picture, CPU, memory.

The interface is the kernel's (a TUN device with a monitor's link type), so it needs root. Frames are
those of `bench.frames`, half of those that have a transmitter from an address never heard before.
Beside it, the same without a screen (`--once`).
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from itertools import cycle, islice
from pathlib import Path

from bench import frames
from bench.agent_live import _read
from bench.agent_memory import _mib, _strangers
from bench.process import PYTHON, ROOT
from infra.local import Radio

INTERFACE, RATE, SECONDS = "dsbench1", 2000, 15
_TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    path, _, what = frames.big()
    air = _read(frames.first(path, 50_000))
    radio = Radio(INTERFACE)
    try:
        rows = [_row(radio, air, *kind) for kind in (("a screen", ()), ("no screen", ("--once",)))]
    finally:
        radio.remove()
    print(f"{what}; {RATE:,} frames/s for {SECONDS} s; {PYTHON}\n")
    print("| stalk top -i, with | seconds to the first picture | CPU of a core | peak MiB | had |")
    print("\n".join(["| --- | --- | --- | --- | --- |", *rows]))


def _row(radio: Radio, air: list[bytes], name: str, more: tuple[str, ...]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "datastalker", "top", "-i", INTERFACE, "--view", "sensors"]
    if more:
        command += [*more, "--seconds", str(SECONDS + 3)]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()
    reader = threading.Thread(target=_drain, args=(ours, said))
    reader.start()
    while not more and b"frames/s" not in said:
        if time.monotonic() - began > 20:
            process.kill()
            raise RuntimeError(f"it shows nothing: {said[-300:]!r}")
        time.sleep(0.01)
    first = "" if more else f"{time.monotonic() - began:.2f}"
    time.sleep(2)
    before = _cpu(process.pid)
    count = radio.send(_strangers(islice(cycle(air), RATE * SECONDS)), RATE)
    used = (_cpu(process.pid) - before) / SECONDS
    peak = _mib(process.pid, "VmHWM")
    time.sleep(1.5)
    if not more:
        os.write(ours, b"q")
    process.wait(30)
    reader.join(30)
    os.close(ours)
    shown = re.findall(
        r"([\d,]{6,}) frames" if not more else r"[\d.,]+ +([\d,]{6,}) ", said.decode()
    )
    heard = int(shown[-1].replace(",", "")) if shown else 0
    return f"| {name} | {first} | {used:.1%} | {peak:.0f} | {heard:,} of {count:,} |"


def _drain(terminal: int, said: bytearray) -> None:
    try:
        while data := os.read(terminal, 65_536):
            said += data
    except OSError:  # EIO: it has ended
        pass


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


if __name__ == "__main__":
    main()
