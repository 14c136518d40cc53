"""Tools that listen to an interface: how each is started, and how many frames it has had."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.frames import FOLDER
from bench.parse import TSHARK_FIELDS
from bench.process import ROOT, MissingError

_TICK = os.sysconf("SC_CLK_TCK")

_ENDING = """
import signal, sys
signal.signal(signal.SIGTERM, signal.default_int_handler)
count = 0
"""

PLAIN = (
    _ENDING
    + """
import socket, struct
heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
heard.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
heard.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
heard.bind((sys.argv[1], 3))
receive, stamp = heard.recvmsg, struct.Struct("qq").unpack
records = []
try:
    while True:
        data, extra, _, _ = receive(4096, 64)
        seconds, nanos = stamp(extra[0][2])
        records.append((seconds * 1_000_000 + nanos // 1000, data, len(data)))
        count += 1
        if len(records) > 250:
            records.clear()
except KeyboardInterrupt:
    print(count)
"""
)
"""A plain packet socket: a system call a frame, the kernel's times, the same records as the ring's."""

RING = (
    _ENDING
    + """
import select
from capture_agent import bpf
from capture_agent.ring import Ring
ring = Ring(8, 4096)
ring.bind(sys.argv[1])
poll = select.poll()
poll.register(ring.socket, select.POLLIN)
try:
    while True:
        runs = ring.read()
        if runs is None:
            poll.poll(200)
        else:
            count += sum(len(records) for _, records in runs)
except KeyboardInterrupt:
    print(count)
"""
)

SCAPY = (
    _ENDING
    + """
from scapy.all import Dot11, RadioTap, sniff
def look(frame):
    global count
    dot11 = frame.getlayer(Dot11)
    if dot11 is not None:
        dot11.addr2, dot11.SC, frame.dBm_AntSignal
    count += 1
try:
    sniff(iface=sys.argv[1], store=False, prn=look)
finally:
    print(count, flush=True)
"""
)


@dataclass
class Heard:
    """What a tool had of the frames by its end, its CPU seconds since it listened, peak MiB."""

    frames: int
    cpu: float
    rss: float


class Tool:
    """A tool under test, on one core. `count` gives the frames it had: of how many were sent, what
    was on its standard output then and at its end, its standard error, what its socket lost."""

    def __init__(
        self, label: str, command: Callable[[str, Path], list[str]], count: Callable[..., int]
    ) -> None:
        self.label, self._command, self._count = label, command, count

    def listen(self, interface: str, send: Callable[[], int], settle: float = 1.0) -> Heard:
        """Start it, send once it listens, end it `settle` seconds after the last frame."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "stdout")
            master, slave = pty.openpty()  # airodump-ng wants a terminal
            threading.Thread(target=_drain, args=(master,), daemon=True).start()
            with out.open("wb") as stdout, Path(folder, "stderr").open("wb") as stderr:
                terminal = "airodump" in self.label
                process = subprocess.Popen(
                    ["taskset", "-c", "0", *self._command(interface, Path(folder))],
                    stdin=slave, stdout=slave if terminal else stdout,
                    stderr=slave if terminal else stderr, cwd=ROOT, start_new_session=True,
                )  # fmt: skip
                os.close(slave)
                try:
                    _await(process, interface, Path(folder))
                    before = _tree_cpu(process.pid)
                    sent = send()
                    time.sleep(settle)
                    dropped = _dropped(interface)
                    peak = _peak(process.pid)
                    text = out.read_text(errors="replace")
                finally:
                    cpu = _end(process)
            said = Path(folder, "stderr").read_text(errors="replace")
            frames = self._count(sent, text, out.read_text(errors="replace"), said, dropped)
        return Heard(frames, cpu - before, peak)


def _drain(master: int) -> None:
    try:
        while os.read(master, 1 << 16):
            pass
    except OSError:
        os.close(master)


def _await(process: subprocess.Popen[bytes], interface: str, folder: Path) -> None:
    """Until a packet socket of anybody's is bound to the interface."""
    index = Path(f"/sys/class/net/{interface}/ifindex").read_text().strip()
    ends = time.monotonic() + 30
    while not any(
        line.split()[4] == index for line in Path("/proc/net/packet").read_text().splitlines()
    ):
        if process.poll() is not None or time.monotonic() > ends:
            said = (folder / "stderr").read_text(errors="replace")[-200:]
            raise MissingError(f"it does not listen: {said}")
        time.sleep(0.02)
    time.sleep(1.0)


def _peak(root: int) -> float:
    """MiB that a process had at most."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{root}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _end(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of it and its children, to its end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    killer = threading.Timer(15, process.kill)
    killer.start()
    _, status, usage = os.wait4(process.pid, 0)
    killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _tree_cpu(root: int) -> float:
    """CPU seconds of a process and its descendants so far."""
    parents, cpu = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(entry.parent.name)
        parents[pid], cpu[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK
    total, found = 0.0, {root}
    while found:
        total += sum(cpu.get(pid, 0.0) for pid in found)
        found = {pid for pid, parent in parents.items() if parent in found}
    return total


def _dropped(interface: str) -> int:
    """What plain packet sockets on the interface have lost, or still hold."""
    said = subprocess.run(["ss", "-0", "-m", "-n"], capture_output=True, text=True).stdout
    dropped = 0
    for name, queued, lost in re.findall(
        r"\S+:(\S+)\s+\*\s*\n?.*?skmem:\(r(\d+).*?,d(\d+)\)", said, re.S
    ):
        if name == interface:
            dropped += int(lost) + int(queued) // 512
    return dropped


def _script(code: str, python: str = sys.executable) -> Callable[[str, Path], list[str]]:
    return lambda interface, folder: [python, "-c", code, interface]


def _printed(sent: int, at_once: str, at_end: str, said: str, dropped: int) -> int:
    return int(at_end.split()[-1])


def _lines(sent: int, at_once: str, at_end: str, said: str, dropped: int) -> int:
    return at_once.count("\n")


def _dumpcap(sent: int, at_once: str, at_end: str, said: str, dropped: int) -> int:
    found = re.search(r"received/dropped on interface '.*?': (\d+)/(\d+)", said)
    if not found:
        raise MissingError(f"dumpcap said nothing of its counts: {said[-200:]}")
    return int(found[1])


def _undropped(sent: int, at_once: str, at_end: str, said: str, dropped: int) -> int:
    return sent - dropped


def _published(sent: int, at_once: str, at_end: str, said: str, dropped: int) -> int:
    found = re.search(r"captured [\d,]+ = published ([\d,]+)", said)
    if not found:
        raise MissingError(f"the agent gave no balance: {said[-300:]}")
    total = int(found[1].replace(",", ""))
    # What the source itself leaves out, counted by reason, was heard and parsed as well.
    left_out = re.search(r"\+ dropped [\d,]+ \((.*?)\)", said)
    for reason, count in re.findall(r"(\w+) ([\d,]+)", left_out[1] if left_out else ""):
        if reason != "unread":
            total += int(count.replace(",", ""))
    return total


def ours(config: Path) -> Tool:
    """The agent, with a configuration whose interface is the one under test."""

    def command(interface: str, folder: Path) -> list[str]:
        document = yaml.safe_load(config.read_text())
        document["pipeline"][0]["wifi_sniffer"]["interface"] = interface
        file = folder / "agent.yaml"
        file.write_text(yaml.safe_dump(document))
        return [sys.executable, "-m", "capture_agent", "-c", str(file)]

    return Tool("DataStalker agent, to Kafka", command, _published)


def peers() -> dict[str, Tool]:
    """What one would use instead. Raises nothing: what is not installed shows when it is run."""
    fields = [part for name in TSHARK_FIELDS for part in ("-e", name)]

    def tshark(interface: str, folder: Path) -> list[str]:
        return ["tshark", "-n", "-l", "-i", interface, "-T", "fields", *fields]

    def dumpcap(interface: str, folder: Path) -> list[str]:
        return ["dumpcap", "-q", "-i", interface, "-w", str(folder / "out.pcapng")]

    def airodump(interface: str, folder: Path) -> list[str]:
        prefix = str(folder / "dump")
        return ["airodump-ng", interface, "-w", prefix, "--output-format", "csv"]

    def scapy(interface: str, folder: Path) -> list[str]:
        return [str(_scapy_python()), "-c", SCAPY, interface]

    return {
        "ring": Tool("kernel ring alone, records not parsed", _script(RING), _printed),
        "plain": Tool("plain socket alone, records not parsed", _script(PLAIN), _printed),
        "dumpcap": Tool("dumpcap -w, not parsed", dumpcap, _dumpcap),
        "airodump": Tool("airodump-ng -w csv, aggregates only", airodump, _undropped),
        "tshark": Tool("tshark -T fields, to a file", tshark, _lines),
        "scapy": Tool("scapy sniff(prn=…), counted", scapy, _printed),
    }


def _scapy_python() -> Path:
    """scapy in an environment of its own. Raises MissingError."""
    folder = FOLDER / "venv-scapy"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        if subprocess.run([str(python), "-c", "import scapy"], capture_output=True).returncode:
            install = [str(python), "-m", "pip", "install", "-q", "scapy>=2.6"]
            subprocess.run(install, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError("scapy can't be installed") from error
    return python
