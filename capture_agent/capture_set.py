"""Capture files as one stream: finding them, and merging them by time."""

from __future__ import annotations

import glob
import heapq
import logging
import os
from collections.abc import Iterable, Iterator

from capture_agent.capture_file import CaptureError, Interface, Record
from capture_agent.capture_source import STDIN, SUFFIXES, Source
from datastalker.errors import InputError
from datastalker.text import printable

log = logging.getLogger("datastalker.stage.pcap")

Run = tuple[Source, Interface, list[Record], int]
"""Records that belong together: where from, and the number of the first."""


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
        if folder and isinstance(reason, CaptureError) and not stem.endswith(SUFFIXES):
            log.info("left out: %s", printable(str(reason)))
            continue
        if name not in left_out:
            log.warning("left out: %s", printable(str(reason)))
        left_out[name] = None
    return sources


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
