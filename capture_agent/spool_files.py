"""The files of a spool, and a look at them without taking them: see `spool`."""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from capture_agent import spool_format
from capture_agent.outbox import Parcel
from capture_agent.spool_format import START, Found, SegmentError
from capture_agent.spool_totals import Totals
from datastalker.errors import OutputError

SUFFIX = ".spool"
_WRITING_SECONDS = 0.1  # until a record that is being written is whole


class Position(NamedTuple):
    """Where a record lies: the segment's number, and where in it."""

    segment: int
    offset: int


@dataclass(slots=True)
class Segment:
    """A file of records. `size`: up to where there may be some. `totals`: what was written to it;
    None: nobody knows."""

    number: int
    path: Path
    size: int
    salt: int
    totals: Totals | None = None

    def records(self, begin: int = START) -> Iterator[Found]:
        """Its whole records from there on."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            while (found := spool_format.find(file, begin, self.size, self.salt)) is not None:
                yield found
                begin = found.next
        finally:
            os.close(file)


@dataclass(slots=True)
class Contents:
    """What lies in a spool. `damaged`: bytes by segment that are no whole record."""

    batches: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    bytes: int = 0
    first: int = 0
    last: int = 0
    damaged: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add(self, parcel: Parcel) -> None:
        self.batches[parcel.kind] += 1
        self.frames += parcel.frames
        self.first = min(self.first or parcel.time, parcel.time)
        self.last = max(self.last, parcel.time)


def open_segment(path: Path) -> Segment:
    """A segment that lies there. Raises SegmentError."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise SegmentError(f"it can't be read: {error.strerror}", foreign=True) from None
    try:
        return Segment(int(path.stem), path, os.fstat(file).st_size, spool_format.read_header(file))
    except OSError as error:
        raise SegmentError(f"it can't be read: {error.strerror}") from None
    finally:
        os.close(file)


def look(directory: Path) -> Iterator[tuple[Path, Found | None, int, str]]:
    """What lies in a spool and is not delivered, without taking it: (segment, record, damaged bytes
    before it, what is wrong with the segment as a whole). Without a record: the segment's end.

    An agent may be at work there: what it is writing or removing just now is not damaged.
    """
    cursor = read_cursor(directory)
    for path in paths(directory):
        try:
            segment = _open_patiently(path)
        except SegmentError as error:
            if _size(path) >= START:
                yield path, None, 0, str(error)
            continue
        if segment.number < cursor.segment:
            continue
        at = max(START, cursor.offset) if segment.number == cursor.segment else START
        try:
            for again in (True, False):
                for found in segment.records(at):
                    yield path, found, found.at - at, ""
                    at = found.next
                if at < segment.size and again:
                    time.sleep(_WRITING_SECONDS)
                    segment.size = _size(path)
        except FileNotFoundError:
            continue  # an agent was just done with it
        if path.exists():
            yield path, None, max(0, segment.size - at), ""


def _open_patiently(path: Path) -> Segment:
    """Raises SegmentError."""
    try:
        return open_segment(path)
    except SegmentError:
        time.sleep(_WRITING_SECONDS)
        return open_segment(path)


def _size(path: Path) -> int:
    """0: it isn't there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def contents(directory: Path) -> Contents:
    """What lies in a spool, looked through whole."""
    told = Contents()
    for path, found, damaged, wrong in look(directory):
        if found is not None:
            told.add(found.parcel)
            told.bytes += found.next - found.at
        if damaged:
            told.damaged[path.name] = told.damaged.get(path.name, 0) + damaged
        if wrong:
            told.unreadable[path.name] = wrong
    if (directory / "damaged").exists():
        told.unreadable["damaged"] = "set aside by an agent: its header could not be read"
    return told


def paths(directory: Path) -> list[Path]:
    """The segments, oldest first."""
    return sorted(p for p in directory.glob(f"*{SUFFIX}") if p.stem.isdecimal())


def read_cursor(directory: Path) -> Position:
    """Up to where all is delivered."""
    try:
        segment, offset, check = json.loads((directory / "cursor").read_bytes())
        if check == _check(Position(segment, offset)):
            return Position(segment, offset)
    except (OSError, ValueError, TypeError):
        pass
    return Position(0, START)  # from the beginning: repeats are known downstream


def write_cursor(directory: Path, position: Position) -> None:
    """Raises OSError."""
    new = directory / "cursor.new"
    new.write_text(json.dumps([*position, _check(position)]))
    new.replace(directory / "cursor")


def _check(position: Position) -> int:
    """What is before the cursor is removed: it is believed only whole."""
    return zlib.crc32(b"%d/%d" % position)


def take(directory: Path) -> int:
    """Lock the directory, and make it if it isn't there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        text = f"agent: spool_directory: {directory} can't be used: {error.strerror}; give the "
        raise OutputError(text + "right to write there, or name another folder") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(file)
        text = f"agent: spool_directory: {directory} is used by process {owner}; end it, or give "
        raise OutputError(text + "each agent a folder of its own") from None
    with suppress(OSError):  # a full disk: it is for people only
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
    return file
