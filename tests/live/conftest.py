"""Frames made byte by byte, and a `stalk run` that hears them on a real interface."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
"""How long anything may take on a busy machine."""
LISTENING = "listening"


def until(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait for a condition; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s: {what or condition}"
        time.sleep(0.02)
    return found


def beacon(number: int = 0, ta: bytes = b"\2\0\0\0\0\1", ssid: bytes = b"house") -> bytes:
    """A MAC frame without radio header and FCS."""
    mac = b"\x80\0\0\0" + b"\xff" * 6 + ta + ta + struct.pack("<H", (number & 0xFFF) << 4)
    return mac + struct.pack("<QHH", number, 100, 1) + bytes([0, len(ssid)]) + ssid + b"\3\1\6"


def ack(ra: bytes = b"\2\0\0\0\0\1") -> bytes:
    return b"\xd4\0\0\0" + ra


def data(ta: bytes, ra: bytes, da: bytes, length: int = 60) -> bytes:
    """To the access point `ra`."""
    return b"\x08\1\0\0" + ra + ta + da + b"\0\0" + b"\xaa\xaa\3\0\0\0\x08\0" + bytes(length - 8)


def radiotap(mac: bytes, flags: int = 0) -> bytes:
    """Behind a radiotap header with Flags, channel 6 and -42 dBm."""
    return struct.pack("<BBHIBxHHb", 0, 0, 15, 0x2A, flags, 2437, 0xA0, -42) + mac


def prism(mac: bytes) -> bytes:
    """Behind a header of wlan-ng without any item that is there."""
    return struct.pack("<II16s", 0x41, 144, b"wlan0") + bytes(120) + mac


@dataclass
class Sniffer:
    """`stalk run` with the source and `print`."""

    folder: Path
    options: dict[str, Any]
    stages: list[Any] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    process: Any = None

    @property
    def file(self) -> Path:
        return self.folder / "live.yaml"

    def write(self) -> Path:
        pipeline = [{"wifi_sniffer": self.options}, *self.stages, {"print": {"format": "json"}}]
        self.file.write_text(yaml.safe_dump({**self.settings, "pipeline": pipeline}))
        return self.file

    def start(self, waits: bool = False) -> Sniffer:
        """Start it; unless it `waits` for an interface it listens now."""
        self.write()
        stalk = [sys.executable, "-u", "-m", "datastalker", "run", "-c", str(self.file)]
        with (self.folder / "out").open("wb") as out, (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command, *stalk], cwd=ROOT, stdout=out, stderr=log
            )
        names = self.options["interface"]
        names = [names] if isinstance(names, str) else names
        for name in [] if waits else names:
            self.said(f"{name}: listening")
        return self

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def said(self, text: str, times: int = 1) -> str:
        """Wait until its log has said this so often."""
        until(lambda: self.log.count(text) >= times or self.process.poll() is not None, text)
        assert self.log.count(text) >= times, self.log
        return self.log

    def frames(self) -> list[dict[str, Any]]:
        """What it has printed so far."""
        lines = (self.folder / "out").read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def heard(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many frames."""
        until(lambda: len(self.frames()) >= count, f"{count} frames\n{self.log}")
        return self.frames()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it does nothing: what happens meanwhile it meets at once."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        yield
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> dict[str, int]:
        """End it; the counters of its summary, `frames` among them."""
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        assert self.process.wait(SECONDS) == 0, self.log
        assert "Traceback" not in self.log
        found = re.findall(r"^(?:wifi_sniffer/)([a-z_/]+) +([\d,]+)$", self.log, re.M)
        counters = {name: int(count.replace(",", "")) for name, count in found}
        messages = re.search(r"([\d,]+) messages in", self.log)
        assert messages, self.log
        return {**counters, "frames": int(messages[1].replace(",", ""))}

    def capabilities(self) -> dict[str, set[str]]:
        """Of all its threads: CapEff and the like, NoNewPrivs, Uid."""
        found: dict[str, set[str]] = {}
        for status in Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            for line in status.read_text().splitlines():
                name, _, value = line.partition(":")
                found.setdefault(name, set()).add(value.split()[0] if value.split() else "")
        return found

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def make_sniffer(tmp_path: Path) -> Iterator[Callable[..., Sniffer]]:
    """Makes sniffers of interfaces: `make_sniffer("mon0", bpf="type mgt").start()`."""
    made: list[Sniffer] = []

    def make(interface: Any, stages: Any = (), settings: Any = None, **options: Any) -> Sniffer:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        options = {"interface": interface, **options}
        made.append(Sniffer(folder, options, list(stages), settings or {}))
        return made[-1]

    make.beacon, make.ack, make.data = beacon, ack, data  # type: ignore[attr-defined]
    make.radiotap, make.prism, make.until = radiotap, prism, until  # type: ignore[attr-defined]
    yield make
    for each in made:
        if each.process is not None:
            each.process.kill()
            each.process.wait()
