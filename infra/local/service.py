"""What the three servers have in common: a life from ports to a log's last lines."""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from infra.local.errors import PortTakenError, StackError, explain
from infra.local.loopback import free_ports
from infra.local.process import Process
from infra.local.state import Record, State, locked

Say = Callable[[str], None]
Ports = dict[str, int]

_START_SECONDS = 180  # a cold disk and two busy cores included
_STOP_SECONDS = 30

_LOGGING = Path(__file__).with_name("log4j2.properties").as_uri()


@dataclass(frozen=True, slots=True)
class Options:
    """How the servers of a stack are started."""

    java: Callable[[], Path]
    say: Say
    usual_ports: bool
    quick: bool


class Service(ABC):
    """One server of a stack. Its files lie in its folder, its process is known to all by stack.json."""

    name: ClassVar[str]
    usual_ports: ClassVar[Ports]

    def __init__(self, stack: Path, options: Options) -> None:
        """`stack` is the folder that it shares with the others."""
        self.directory = stack / self.name
        self.log = self.directory / f"{self.name}.log"
        self._state = State(stack)
        self._options = options
        self._given_up = False

    @abstractmethod
    def install(self) -> Path:
        """Download what it needs, where that has not been done. Gives the folder."""

    @abstractmethod
    def arguments(self, home: Path, ports: Ports) -> list[str]:
        """Write its configuration; gives what Java is to run."""

    @abstractmethod
    def healthy(self, ports: Ports) -> bool:
        """Whether it serves requests."""

    @property
    def running(self) -> bool:
        """Whether its process lives (a paused one does)."""
        record = self._state.get(self.name)
        return record is not None and record.process.alive()

    @property
    def ready(self) -> bool:
        """Whether it runs and serves requests."""
        record = self._state.get(self.name)
        return record is not None and self._serves(record)

    @property
    def ports(self) -> Ports:
        """Its ports, by what they are for. Known after the first start, kept over stops."""
        record = self._state.get(self.name)
        if record is None:
            raise StackError(f"{self.name} has not been started: `make stack`")
        return record.ports

    @property
    def pid(self) -> int:
        """The number of its process, the last one if it has gone."""
        record = self._state.get(self.name)
        if record is None:
            raise StackError(f"{self.name} has not been started: `make stack`")
        return record.process.pid

    def start(self) -> Self:
        """Start it and wait until it serves; nothing to do if it does. Ports are the last ones
        where they are free."""
        with locked(self.directory):
            record = self._state.get(self.name)
            if record and record.process.alive():
                self._await(record)
                return self
            preferred = (
                record.ports if record else self.usual_ports if self._options.usual_ports else {}
            )
            for _ in range(3):
                found = free_ports(preferred.get(role) for role in self.usual_ports)
                try:
                    self._launch(dict(zip(self.usual_ports, found, strict=True)))
                    return self
                except PortTakenError as error:  # somebody was quicker
                    last, preferred = error, {}
            raise last

    def stop(self) -> bool:
        """End it in order; its data stay. Gives whether it had to be ended."""
        if not self.directory.is_dir():
            return False
        with locked(self.directory):
            return self._stop()

    def restart(self) -> Self:
        """End it if it still runs, and start it again on the same ports."""
        with locked(self.directory):
            self._stop()
            self._launch(self.ports)
        return self

    def give_up(self) -> None:
        """Have a start that goes on in another thread end what it started."""
        self._given_up = True

    def kill(self) -> None:
        """kill -9: no goodbye, no flush."""
        record = self._state.get(self.name)
        if record:
            record.process.kill()

    def pause(self) -> None:
        """Stop answering without going away, as a machine does that hangs; `resume` ends it."""
        if record := self._state.get(self.name):
            record.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if record := self._state.get(self.name):
            record.process.signal(signal.SIGCONT)

    def wipe(self) -> None:
        """End it at once and remove all it stored."""
        if not self.directory.is_dir():
            return
        with locked(self.directory):
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
            self._state.remove(self.name)

    def _launch(self, ports: Ports) -> None:
        arguments = self.arguments(self.install(), ports)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        record = Record(Process.spawn([*self._jvm(), *arguments], self.log), ports)
        self._state.put(self.name, record)
        try:
            self._await(record)
        except BaseException:  # Ctrl-C too: half a start is none
            record.process.kill()
            raise

    def _jvm(self) -> list[str]:
        # The first compiler alone: up in half the time, slower at work
        quick = ["-XX:TieredStopAtLevel=1"] if self._options.quick else []
        crash = ["-XX:+ExitOnOutOfMemoryError", f"-XX:ErrorFile={self.directory}/crash-%p.log"]
        # What is said while it ends is logged too
        logging = [f"-Dlog4j2.configurationFile={_LOGGING}", "-Dlog4j.shutdownHookEnabled=false"]
        return [str(self._options.java()), *quick, *crash, *logging]

    def _say(self, text: str) -> None:
        self._options.say(f"{self.name}: {text}")

    def _await(self, record: Record) -> None:
        begin = time.monotonic()
        while not self._serves(record):
            if self._given_up:
                raise StackError(f"{self.name}: its start was given up")
            if not record.process.alive():
                raise self._failed("ended while it started")
            if time.monotonic() - begin > _START_SECONDS:
                raise self._failed(f"did not answer within {_START_SECONDS} seconds")
            time.sleep(0.1)

    def _serves(self, record: Record) -> bool:
        main = record.ports[next(iter(self.usual_ports))]
        # Another stack's server may have been quicker at a port: who answers must be ours
        return self.healthy(record.ports) and record.process.listens(main)

    def _failed(self, what: str) -> StackError:
        return explain(f"{self.name} {what}", self.log, self.ports)

    def _stop(self) -> bool:
        record = self._state.get(self.name)
        if record is None or not record.process.alive():
            return False
        if not record.process.stop(_STOP_SECONDS):
            self._say(f"did not end within {_STOP_SECONDS} seconds of SIGTERM and was killed")
        return True
