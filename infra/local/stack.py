"""The stack of one folder: Kafka, Elasticsearch and a schema registry, on loopback."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self

from infra.local.elasticsearch import Elasticsearch
from infra.local.errors import StackError
from infra.local.java import need_java
from infra.local.kafka import Kafka
from infra.local.process import Process
from infra.local.registry import Registry
from infra.local.service import Options, Say, Service
from infra.local.state import Record, State, locked

SERVICES = "kafka", "elasticsearch", "registry"
_ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = _ROOT / ".stack"

_WATCHER = "watcher"


class Stack:
    """Three servers whose data, logs and ports lie in one folder. Each can be used alone.

    Objects of the same folder, in whatever process, see the same servers.
    """

    def __init__(
        self,
        directory: Path = DIRECTORY,
        *,
        usual_ports: bool = False,
        quick: bool = False,
        install: bool = True,
        say: Say = lambda text: None,
    ) -> None:
        """`usual_ports` takes 9092, 9200, 8081 where they are free; `quick` starts in half the
        time and is slower at work; `install` allows apt to bring Java."""
        self.directory = directory.absolute()
        self._java: Callable[[], Path] = cache(lambda: need_java(say, install))
        options = Options(self._java, say, usual_ports, quick)
        self.kafka = Kafka(self.directory, options)
        self.elasticsearch = Elasticsearch(self.directory, options)
        self.registry = Registry(self.directory, options)
        self._state = State(self.directory)

    def services(self, names: Sequence[str] = SERVICES) -> list[Service]:
        """The servers of these names."""
        every: dict[str, Service] = {
            "kafka": self.kafka,
            "elasticsearch": self.elasticsearch,
            "registry": self.registry,
        }
        return [every[name] for name in names]

    def start(self, names: Sequence[str] = SERVICES) -> None:
        """Start them side by side and wait until all serve. What stands is left alone.

        Where one fails the others stay, and all errors are told.
        """
        services = self.services(names)
        self._java()
        for service in services:
            service.install()
        before = {service.name for service in services if service.running}
        with ThreadPoolExecutor(len(services)) as pool:
            starts = []
            try:
                for service in services:
                    starts.append(pool.submit(service.start))
                wait(starts)
            except KeyboardInterrupt:
                for service in services:
                    service.give_up()
                pool.shutdown()  # waits, also for one that was submitted and isn't among `starts`
                for service in services:  # one may have been up already when others were not
                    if service.name not in before:
                        service.stop()
                raise
        errors = [error for start in starts if (error := start.exception())]
        if len(errors) == 1 or not all(isinstance(error, StackError) for error in errors):
            raise errors[0]
        if errors:
            raise StackError("\n\n".join(str(error) for error in errors))

    def stop(self, names: Sequence[str] = SERVICES, wipe: bool = False) -> list[str]:
        """End them in order; `wipe` removes what they stored. Gives the names of those that ran."""
        services = self.services(names)
        if not self.directory.is_dir():
            return []
        ran = [service.name for service in services if service.running]
        with ThreadPoolExecutor(len(services)) as pool:
            list(pool.map(lambda service: service.wipe() if wipe else service.stop(), services))
        watcher = self._state.get(_WATCHER)
        if watcher and not any(service.running for service in self.services()):
            watcher.process.kill()
            self._state.remove(_WATCHER)
        if wipe:
            shutil.rmtree(self.directory / _WATCHER, ignore_errors=True)
            with suppress(OSError):  # something else lies in it
                self.directory.rmdir()
        return ran

    def end_with(self, owner: int) -> Self:
        """Have the stack killed when a process ends, however it ends."""
        with locked(self.directory / _WATCHER):
            record = self._state.get(_WATCHER)
            if record is None or not record.process.alive():
                command = [sys.executable, "-m", "infra.local", "watch"]
                command += ["--owner", str(owner), "--directory", str(self.directory)]
                environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
                log = self.directory / _WATCHER / "watcher.log"
                watcher = Process.spawn(command, log, environment)
                self._state.put(_WATCHER, Record(watcher, {}))
        return self

    def watch(self, owner: int) -> None:
        """Wait for the end of a process, then kill what runs of the stack. Its folder may be gone by
        then: pytest removes those of sessions that have ended."""
        process = Process.of(owner)
        seen: dict[str, Process] = {}
        while process.alive():
            self._see(seen)
            time.sleep(0.2)
        self._see(seen)
        for server in seen.values():
            server.kill()

    def _see(self, seen: dict[str, Process]) -> None:
        for service in self.services():
            if record := self._state.get(service.name):
                seen[service.name] = record.process
