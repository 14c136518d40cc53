"""The spool: a directory that keeps parcels until the broker has them.

Segments are appended to and removed, never changed; `cursor` says up to where all is delivered, and
`totals` how much is in them (see `spool_left`). Both are written after the fact: what was delivered
shortly before a crash is given again, with the same bytes, and who reads a topic knows repeats by
session and sequence. Nothing in the directory keeps an agent from starting: what is damaged is
passed over and counted.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path

from capture_agent import spool_format, spool_left
from capture_agent.outbox import Parcel
from capture_agent.spool_files import SUFFIX, Position, Segment, take, write_cursor
from capture_agent.spool_format import START, SegmentError
from capture_agent.spool_totals import Totals

log = logging.getLogger("datastalker.agent")

_PARTS = 8  # segments that a full spool has: the oldest is dropped as a whole
_LARGEST = 16 << 20
_sync = getattr(os, "fdatasync", os.fsync)


class SpoolFull(Exception):  # noqa: N818 - what it is
    """Its cap does not let it take more."""


class Spool:
    """An open spool: one process has it at a time.

    `held`: what is not delivered; `bytes`: of all segments.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Raises OutputError where another has it, or it can't be written."""
        self.directory, self.max_bytes = directory, max_bytes
        self.unreadable: Counter[str] = Counter()
        """Frames that turned out to be lost, by session: their records can't be read."""
        self._part = min(_LARGEST, max(1 << 18, max_bytes // _PARTS))
        self._lock = take(directory)
        self._writing: int | None = None
        self._reading: tuple[int, int] | None = None  # a segment's number, its open file
        self._unsynced = self._moved = False
        self._complained = 0
        """Up to which segment it was said that one can't be read."""
        self._given: deque[Position] = deque()
        """Given by `next` and not done, or done out of order: the first is the cursor."""
        self._done: set[Position] = set()
        self._ahead: set[Position] = set()
        """Appended by who sees to their delivery: `next` passes over them."""
        left = spool_left.find(directory)
        self._segments, self.held = deque(left.segments), left.held
        self.bytes = sum(segment.size for segment in left.segments)
        self._at, self._next = left.cursor, left.highest + 1
        if self.batches:
            spool_left.note(directory, self._segments)
        else:
            for segment in list(self._segments):  # nothing in it can be read
                self._remove(segment)

    @property
    def batches(self) -> int:
        return self.held.kinds.total()

    @property
    def frames(self) -> int:
        return self.held.frames.total()

    def oldest(self) -> int:
        """The time of the first record that is not delivered; 0: there is none. Another thread may
        ask: it reads the file by itself."""
        if not self.batches:
            return 0
        at = self._cursor
        segment = next((s for s in list(self._segments) if s.number >= at.segment), None)
        if segment is None:
            return 0
        begin = at.offset if segment.number == at.segment else START
        try:
            found = next(segment.records(begin), None)
        except (OSError, SegmentError):  # removed meanwhile
            return 0
        return found.parcel.time if found is not None else 0

    def append(self, parcel: Parcel, *, ahead: bool = False) -> Position:
        """Write a parcel behind all others. `ahead`: `next` will not give it.

        Raises SpoolFull, and OSError where the disk does not take it; then nothing was written.
        """
        last = self._segments[-1] if self._writing is not None else None
        data = spool_format.pack(parcel, last.salt if last else 0)
        if self.bytes + len(data) + START > self.max_bytes:
            raise SpoolFull
        if last is None or (last.size > START and last.size + len(data) > self._part):
            last = self._begin()
            data = spool_format.pack(parcel, last.salt)
        assert self._writing is not None
        try:
            written = os.write(self._writing, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._writing, last.size)
            self._end()  # whatever is behind `size` now is passed over
            raise
        position = Position(last.number, last.size)
        last.size += len(data)
        self.bytes += len(data)
        self._unsynced = True
        self.held.add(parcel)
        if last.totals is not None:
            last.totals.add(parcel)
        if ahead:
            self._ahead.add(position)
        return position

    def next(self) -> tuple[Position, Parcel] | None:
        """The oldest record that was not given yet; tell with `done` when it is over."""
        while self._segments:
            segment = next((s for s in self._segments if s.number >= self._at.segment), None)
            if segment is None:
                break
            offset = self._at.offset if segment.number == self._at.segment else START
            try:
                file = self._file(segment)
                found = spool_format.find(file, offset, segment.size, segment.salt)
            except OSError as error:
                if segment.number > self._complained:  # of the last one it is met again and again
                    self._complained = segment.number
                    log.error("%s can't be read any more: %s", segment.path, error.strerror)
                found = None
            if found is None:
                if segment is self._segments[-1]:
                    break
                self._at = Position(segment.number + 1, START)
                continue
            position = Position(segment.number, found.at)
            self._at = Position(segment.number, found.next)
            if position in self._done:
                self._done.discard(position)
                self._ahead.discard(position)
                self._release()
                continue
            self._given.append(position)
            if position in self._ahead:
                self._ahead.discard(position)
                continue
            return position, found.parcel
        self._settle()
        return None

    def _settle(self) -> None:
        """There is nothing more to give: what should be there all the same was damaged since."""
        if self.batches and not self._given and not self._ahead:
            log.error("%d batches can't be read any more; they are lost", self.batches)
            self.unreadable += self.held.frames
            self.held = Totals()
            self._release()

    def done(self, position: Position, parcel: Parcel) -> None:
        """A record is delivered, or never will be."""
        self.held.add(parcel, -1)
        self._done.add(position)
        while self._given and self._given[0] in self._done:
            self._done.discard(self._given.popleft())
        self._release()

    def drop_oldest(self) -> list[tuple[Position, Parcel]]:
        """Remove the oldest segment; gives what was not delivered of it."""
        if not self._segments:
            return []
        if len(self._segments) == 1:
            self._end()
        segment, cursor = self._segments[0], self._cursor
        lost = []
        with suppress(OSError):
            for found in segment.records():
                position = Position(segment.number, found.at)
                if position >= cursor and position not in self._done:
                    lost.append((position, found.parcel))
                    self.held.add(found.parcel, -1)
        self._remove(segment)
        self._moved = True
        self._at = max(self._at, Position(segment.number + 1, START))
        self._given = deque(p for p in self._given if p.segment != segment.number)
        for places in (self._done, self._ahead):
            places -= {p for p in places if p.segment == segment.number}
        return lost

    def sync(self) -> None:
        """Make what was written last, and note up to where all is delivered. Raises OSError."""
        if self._unsynced and self._writing is not None:
            self._unsynced = False
            _sync(self._writing)
        if self._moved:
            self._moved = False
            write_cursor(self.directory, self._cursor)

    def close(self) -> None:
        """Raises OSError where the last of it can't be written."""
        try:
            self.sync()
        finally:
            self._end()
            spool_left.note(self.directory, self._segments)
            if self._reading is not None:
                os.close(self._reading[1])
                self._reading = None
            os.close(self._lock)

    @property
    def _cursor(self) -> Position:
        try:  # `oldest` is asked by another thread
            return self._given[0]
        except IndexError:
            return self._at

    def _begin(self) -> Segment:
        self._end()
        spool_left.note(self.directory, self._segments)
        salt = int.from_bytes(os.urandom(4))
        path = self.directory / f"{self._next:010d}{SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._next += 1
        try:
            if os.write(file, spool_format.header(salt)) < START:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        self._writing = file
        self.bytes += START
        self._segments.append(Segment(self._next - 1, path, START, salt, Totals()))
        return self._segments[-1]

    def _end(self) -> None:
        """Nothing more goes into the last segment."""
        if self._writing is not None:
            if self._unsynced:
                with suppress(OSError):
                    _sync(self._writing)
            os.close(self._writing)
            self._writing = None

    def _release(self) -> None:
        """Remove what holds nothing any more."""
        self._moved = True
        if not self.batches:
            self._end()
            for segment in list(self._segments):
                self._remove(segment)
            self._given.clear()
            self._done.clear()
            self._ahead.clear()
            self._at = Position(self._next, START)
            return
        while len(self._segments) > 1 and self._segments[0].number < self._cursor.segment:
            self._remove(self._segments[0])

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self.bytes -= segment.size
        if self._reading is not None and self._reading[0] == segment.number:
            os.close(self._reading[1])
            self._reading = None
        with suppress(OSError):
            segment.path.unlink()

    def _file(self, segment: Segment) -> int:
        if self._reading is None or self._reading[0] != segment.number:
            if self._reading is not None:
                os.close(self._reading[1])
                self._reading = None
            self._reading = segment.number, os.open(segment.path, os.O_RDONLY)
        return self._reading[1]
