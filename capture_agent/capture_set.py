"""Capture files as one stream: finding them, opening them late, merging them by time."""

from __future__ import annotations

import glob
import hashlib
import heapq
import logging
import os
import select
import stat
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

from capture_agent.capture_file import (
    CHUNK,
    Capture,
    CaptureError,
    Interface,
    Record,
    open_capture,
)
from datastalker.errors import InputError
from datastalker.text import printable

log = logging.getLogger("datastalker.stage.pcap")

STDIN = "-"
WAIT_SECONDS = 0.2
"""How long a live stream is waited for before it says that there is nothing now."""

_GLANCE = 1 << 13

Run = tuple["Source", Interface, list[Record], int]
"""Records that belong together: where from, and the number of the first."""

_SUFFIXES = (".gz", ".pcap", ".pcapng", ".cap", ".dump")
"""What the names of captures end with."""


def find(paths: str | Iterable[str]) -> tuple[list[Source], list[str]]:
    """The captures that a path, several, globs or folders name; each once, in that order.

    And the files that were left out with a warning: those that can't be read or are no capture,
    and that only a glob or a folder names, beside others that can. Raises InputError for a path
    that isn't there or can't be read, CaptureError for a file that is no capture.
    """
    found: dict[str, Source] = {}
    left_out: dict[str, None] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        for source in _expand(os.path.expanduser(path), left_out):
            found.setdefault(source.path, source)
    return list(found.values()), list(left_out)


def _expand(path: str, left_out: dict[str, None]) -> list[Source]:
    if path == STDIN:
        return [Source(STDIN)]
    if os.path.isdir(path):
        try:
            inside = [os.path.join(path, n) for n in sorted(os.listdir(path)) if n[0] != "."]
        except OSError as error:
            raise InputError(f"can't read the folder {path}: {error.strerror}") from error
        names = [name for name in inside if os.path.isfile(name)]
        return _readable(names, f"the folder {path} holds no capture file", left_out, folder=True)
    if os.path.exists(path):
        return [Source(path)]
    names = sorted(glob.glob(path, recursive=True))
    names = [name for name in names if not os.path.isdir(name)]
    if not names:
        raise InputError(f"can't read {path}: {_why_none(path)}")
    return _readable(names, f"can't read any file of {path}", left_out)


def _why_none(path: str) -> str:
    """Why a path or a glob names no file, with the remedy."""
    folder = os.path.dirname(path)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    try:
        os.listdir(folder or ".") if glob.has_magic(path) else os.stat(path)
    except PermissionError:
        return f"this user may not look into {folder}; give it the right, or run as another"
    except OSError:
        pass
    said = "no file matches it" if glob.has_magic(path) else "there is no such file"
    return f"{said}; correct pcap: path, or make a sample: stalk simulate --out captures"


def _readable(
    names: list[str], none: str, left_out: dict[str, None], folder: bool = False
) -> list[Source]:
    """Those of several that can be read; the others are said. Raises InputError if none can.

    Of a folder, what isn't even named like a capture is nobody's loss.
    """
    sources: list[Source] = []
    wrong: dict[str, InputError] = {}
    for name in names:
        try:
            sources.append(Source(name))
        except InputError as error:
            wrong[name] = error
    if not sources:
        raise InputError(": ".join([none, *map(str, list(wrong.values())[:1])]))
    for name, reason in wrong.items():
        stem = name.removesuffix(".gz")
        if folder and isinstance(reason, CaptureError) and not stem.endswith(_SUFFIXES):
            log.info("left out: %s", printable(str(reason)))
            continue
        if name not in left_out:
            log.warning("left out: %s", printable(str(reason)))
        left_out[name] = None
    return sources


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
    while (base := Path(name)).suffix.lower() in _SUFFIXES:
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


class _Head:
    """The next records of a source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.batches = source.batches()
        self.interface: Interface | None = None
        self.records: list[Record] = []
        self.number = 1
        self.used = 0

    def advance(self) -> bool:
        """Have records at hand; False at the end."""
        while self.used >= len(self.records):
            self.number += len(self.records)
            self.used = 0
            batch = next(self.batches, None)
            if batch is None:
                self.records = []
                return False
            self.interface, self.records = batch
        return True

    def take(self, limit: tuple[int, int] | None, index: int) -> Run:
        """The records at hand that come before `limit`, a time and an index; at least one."""
        records, first, stop = self.records, self.used, len(self.records)
        if limit is not None:
            time, other = limit
            if index < other:
                time += 1
            stop = first + 1
            while stop < len(records) and records[stop][0] < time:
                stop += 1
        self.used = stop
        assert self.interface is not None
        return self.source, self.interface, records[first:stop], self.number + first


def merge(sources: list[Source]) -> Iterator[Run]:
    """All records by time: always from the source whose next record is the oldest, of several
    from the first; within a source the order stays. A file is opened when its first record is due.
    """
    heads: list[_Head | None] = [None] * len(sources)
    due = [
        (source.first, index) for index, source in enumerate(sources) if source.first is not None
    ]
    heapq.heapify(due)
    while due:
        _, index = heapq.heappop(due)
        head = heads[index]
        if head is None:
            head = heads[index] = _Head(sources[index])
        if not head.advance():
            continue
        yield head.take(due[0] if due else None, index)
        if head.advance():
            heapq.heappush(due, (head.records[head.used][0], index))
        else:
            heads[index] = None
