"""Five simulated minutes that three sensors hear, and `stalk` in a terminal of any size."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from tests.live.conftest import make_sniffer  # noqa: F401 - frames byte by byte

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("top") / "air"
    write_scene(Options(minutes=5, attack=True), folder)
    return folder


class Terminal:
    """A program on a terminal of its own, and what is seen there."""

    def __init__(self, *command: str, columns: int = 80, lines: int = 24, **env: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._lock = threading.Lock()  # pyte has none
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        environment = {**os.environ, "TERM": "xterm-256color", **env}
        for name in ("COLUMNS", "LINES"):  # xdist sets them, and they go before what is so
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65_536):
                self.raw += data
                with self._lock:
                    self._stream.feed(data)
        except OSError:
            pass

    @property
    def seen(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def wait(self, text: str) -> list[str]:
        """Until it is seen."""
        end = time.monotonic() + SECONDS
        while not any(text in line for line in self.seen):
            assert time.monotonic() < end, (text, self.seen)
            assert self.process.poll() is None, (text, self.seen)
            time.sleep(0.05)
        return self.seen

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self.screen.resize(lines, columns)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts `stalk top` on a terminal: `terminal("--read", "x.pcap", columns=40)`."""
    made: list[Terminal] = []

    def start(*arguments: str, **more: Any) -> Terminal:
        made.append(Terminal(sys.executable, "-m", "datastalker", "top", *arguments, **more))
        return made[-1]

    yield start
    for each in made:
        each.close()
