"""stack.json: which processes run, and where. Shared by all commands and tests of one folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.process import Process


@dataclass(frozen=True, slots=True)
class Record:
    """A server's process and its ports, the users' one first."""

    process: Process
    ports: dict[str, int]


class State:
    """The records of a folder, by the server's name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "stack.json"

    def get(self, name: str) -> Record | None:
        """What is known of a server; it may be long gone."""
        found = self._read().get(name)
        if found is None:
            return None
        return Record(Process(found["pid"], found["born"]), found["ports"])

    def put(self, name: str, record: Record) -> None:
        """Remember a server's process."""
        entry = {
            "pid": record.process.pid,
            "born": record.process.born,
            "ports": record.ports,
        }
        with locked(self.directory):
            self._write({**self._read(), name: entry})

    def remove(self, name: str) -> None:
        """Forget a server; the file goes with the last."""
        with locked(self.directory):
            left = {key: value for key, value in self._read().items() if key != name}
            if left:
                self._write(left)
            else:
                self._file.unlink(missing_ok=True)

    def _read(self) -> dict[str, dict]:  # type: ignore[type-arg]
        try:
            found = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, entries: dict[str, dict]) -> None:  # type: ignore[type-arg]
        unfinished = self._file.with_suffix(".part")
        unfinished.write_text(json.dumps(entries, indent=2) + "\n")
        unfinished.replace(self._file)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone in a folder, among threads and processes."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
