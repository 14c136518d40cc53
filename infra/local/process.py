"""A server's process: started apart from us, recognised later by whoever asks, stopped.

Linux only: what a process is doing is read from /proc.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import StackError

_LISTENING = "0A"  # the state of a socket in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one of the same number by its birth: boot and clock tick."""

    pid: int
    born: str

    @classmethod
    def spawn(
        cls, command: list[str], log: Path, environment: Mapping[str, str] = os.environ
    ) -> Process:
        """Start it in a session of its own, so that no terminal's Ctrl-C reaches it."""
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        try:
            pid = os.posix_spawn(
                command[0], command, dict(environment), file_actions=files, setsid=True
            )
        except OSError as error:
            raise StackError(f"{command[0]} can't be started: {error.strerror}") from None
        return cls(pid, _born(pid) or "")

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        return cls(pid, _born(pid) or "")

    def alive(self) -> bool:
        """Whether it runs; a pid that is another's by now, or a zombie, does not."""
        if self.born and _born(self.pid) == self.born:
            return True
        with suppress(ChildProcessError):  # where it was our child: leave no zombie
            os.waitpid(self.pid, os.WNOHANG)
        return False

    def listens(self, port: int) -> bool:
        """Whether it, not somebody else, accepts connections on this TCP port."""
        suffix = f":{port:04X}"
        sockets = set()
        for table in ("tcp", "tcp6"):
            with suppress(OSError), Path(f"/proc/{self.pid}/net/{table}").open() as lines:
                for line in lines:
                    fields = line.split()
                    if fields[1].endswith(suffix) and fields[3] == _LISTENING:
                        sockets.add(f"socket:[{fields[9]}]")
        if sockets:
            with suppress(OSError):
                for file in Path(f"/proc/{self.pid}/fd").iterdir():
                    with suppress(OSError):
                        if os.readlink(file) in sockets:
                            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to it and what it started; nothing happens if it is gone."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, patience_seconds: float) -> bool:
        """SIGTERM, wait, SIGKILL. Gives whether it went by itself."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if self.wait(patience_seconds):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if not self.wait(10):
            raise StackError(f"process {self.pid} can't be killed: is its disk or kernel stuck?")

    def wait(self, seconds: float) -> bool:
        """Wait for its end; gives whether it came."""
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


def _born(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    threads, start = fields[16], fields[18]  # fields 20 and 22 of proc(5)
    if state in "ZX" and int(threads) <= 1:  # a first thread may have ended before the others
        return None
    return f"{boot}/{start}"
