"""One capture as a source of records: a file, which is opened when it is due, or a live stream."""

from __future__ import annotations

import hashlib
import logging
import os
import select
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from capture_agent.capture_file import CHUNK, Capture, Interface, Record, open_capture
from datastalker.errors import InputError

log = logging.getLogger("datastalker.stage.pcap")

STDIN = "-"
WAIT_SECONDS = 0.2
"""How long a live stream is waited for before it says that there is nothing now."""
SUFFIXES = (".gz", ".pcap", ".pcapng", ".cap", ".dump")
"""What the names of captures end with."""

_GLANCE = 1 << 13


class Source:
    """One capture: a file, which is opened when it is due, or a live stream.

    `first`: time of its first record, microseconds; None if it has none. `size` and `position`:
    bytes in all and read so far. `session`: the same whenever the same bytes are read. `warning`:
    what was wrong with it, and `unread`: bytes that were left out by that, known when it is `done`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path if path == STDIN else os.path.basename(path)
        self.sensor = _sensor(self.name)
        self.position = self.size = self.unread = 0
        self.first: int | None = None
        self.session = ""
        self.warning: str | None = None
        self.done = False
        self._stream: FileIO | None = None
        self._capture: Capture | None = None
        self.live = path == STDIN or not stat.S_ISREG(_stat(path).st_mode)
        if not self.live:
            self.size = _stat(path).st_size
            self._glance()

    def _glance(self) -> None:
        """Is it a capture, and when does it start?"""
        try:
            for _, records in self._open(_GLANCE):
                self.first = records[0][0]
                break
            if self.first is None:
                self._finish()
        finally:
            self.close()

    def wait(self) -> bool:
        """Is there something to read, or does it come within WAIT_SECONDS?"""
        stream = self._stream or self._reopen()
        return not self.live or bool(select.select([stream], [], [], WAIT_SECONDS)[0])

    def batches(self) -> Iterator[tuple[Interface, list[Record]]]:
        """Records as they arrive; empty lists where there is nothing now."""
        if not self.live:
            self.session = _hash_file(self.path)
        for interface, records in self._open():
            if records and not self.session:
                self.session = _hash_record(records[0])
            yield interface, records
        self._finish()

    def _finish(self) -> None:
        capture = self._capture
        self.warning = capture.warning if capture is not None else None
        if capture is not None and self.warning:
            self.unread = max(0, self.size - self.position)
            if not capture.packed:
                self.unread += capture.unread
            if self.unread and not self.live:
                of = f"{self.unread:,} of the file's {self.size:,} bytes"
                self.warning += f" ({of} were left unread)"
            log.warning("%s", self.warning)
        self.position = self.size
        self.done = True
        self.close()

    def close(self) -> None:
        """Close the file; it can be opened again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _reopen(self) -> FileIO:
        self.close()
        self.position = 0
        try:
            self._stream = FileIO(
                os.dup(0) if self.path == STDIN else self.path, opener=_without_waiting
            )
        except OSError as error:
            raise InputError(f"can't read {self.path}: {error.strerror}") from error
        return self._stream

    def _open(self, most: int = CHUNK) -> Capture:
        if self._stream is None or not self.live:
            self._reopen()
        stream = self._stream
        assert stream is not None
        name = "standard input" if self.path == STDIN else self.path
        self._capture = open_capture(_Counted(self, stream, most), name)
        return self._capture


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that nobody writes to yet is opened all the same: it is waited for later."""
    opened = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(opened, True)
    return opened


class _Counted:
    """A stream whose bytes are counted in the source's position."""

    def __init__(self, source: Source, stream: FileIO, most: int) -> None:
        self._source, self._stream, self._most = source, stream, most
        self._started = False

    def read(self, size: int) -> bytes | None:
        if self._source.live and self._started and not self._source.wait():
            return None
        self._started = True
        data = self._stream.read(min(size, self._most))
        self._source.position += len(data or b"")
        return data


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error


def _sensor(name: str) -> str:
    if name == STDIN:
        return "stdin"
    while (base := Path(name)).suffix.lower() in SUFFIXES:
        name = base.stem
    return name


def _hash_file(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error


def _hash_record(record: Record) -> str:
    """A stream has no content to hash before its end: its first record and time must do."""
    return hashlib.sha256(b"%d:" % record[0] + record[1]).hexdigest()[:12]
