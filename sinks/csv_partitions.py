"""CSV files of one partition of a topic, each row exactly once.

    frame-TOPIC-PARTITION-FIRST.part        being written, from the message at offset FIRST on
    frame-TOPIC-PARTITION-FIRST-NEXT.csv    finished: all up to the offset NEXT, which is not in it

A file is written, made to last, renamed; only then is NEXT committed as the group's offset. So the
names alone say what is there: after a crash a `.part` is thrown away and written again, and what
was renamed but not committed is read again and passed over. Who writes a partition holds a lock on
`.TOPIC-PARTITION.lock`; a process that was thought dead and is not can't write beside another.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from datastalker.errors import OutputError, RetryLater
from datastalker.message import Message
from datastalker.stats import Stats
from sinks.files import Rows, lock, made_to_last, refused, safe_name
from sinks.layout import Layout

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DIGITS = 12  # of an offset in a name: the names sort as the offsets do
_AGAIN_SECONDS = 2.0


class Limits(NamedTuple):
    """When a file is finished: by size, by the data's time, by ours. None: never."""

    size: float | None
    data_seconds: float | None
    seconds: float


class _File(Rows):
    def __init__(self, part: Path, header: str, timestamp: int) -> None:
        super().__init__(open(part, "wb", buffering=0))  # noqa: SIM115
        self.part = part
        self.begun = monotonic()
        self.start = self.latest = timestamp
        try:
            self.append(header)
        except OSError:
            self.drop()
            raise

    def drop(self) -> None:
        self.handle.close()
        self.part.unlink(missing_ok=True)


class PartitionFiles:
    """The files of one partition, one for each message type."""

    def __init__(
        self,
        folder: Path,
        topic: str,
        partition: int,
        topic_id: str,
        layout: Callable[[str], Layout],
        limits: Limits,
        stats: Stats,
    ) -> None:
        self.folder, self.place = folder, f"{topic}-{partition}"
        self.layout, self.limits, self.stats = layout, limits, stats
        self.files: dict[str, _File] = {}
        self.done: dict[str, list[tuple[int, int]]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.lock = self._lock()
            try:
                self._look_around(topic_id)
            except BaseException:
                self.lock.handle.close()
                raise
        except OSError as error:
            raise _refused(folder, error) from error

    def _lock(self) -> _Lock:
        path = self.folder / f".{self.place}.lock"
        handle = open(path, "a+b", buffering=0)  # noqa: SIM115
        if lock(handle, path):
            return _Lock(handle)
        handle.close()
        raise RetryLater(
            f"csv: another process writes {self.place} in {self.folder}/ and has not let it go yet",
            _AGAIN_SECONDS,
        )

    def _look_around(self, topic_id: str) -> None:
        """Clear what a crash left, and note what is finished."""
        for path in self.folder.glob(f"*-{self.place}-*"):
            stem = path.name.removesuffix(path.suffix)
            kind, _, rest = stem.partition("-")
            numbers = rest.removeprefix(f"{self.place}-").split("-")
            if not rest.startswith(f"{self.place}-") or not all(n.isdecimal() for n in numbers):
                continue  # of another topic, whose name is longer
            if path.suffix == ".part" and len(numbers) == 1:
                path.unlink()
                self.stats.incr("csv/files_cleared")
            elif path.suffix == ".csv" and len(numbers) == 2:
                self.done.setdefault(kind, []).append((int(numbers[0]), int(numbers[1])))
        before = self.lock.text()
        if topic_id and before != topic_id:
            if before and self.done:
                raise OutputError(
                    f"csv: {self.folder}/ has files of an earlier topic of the name of "
                    f"{self.place}, which was deleted since: move *-{self.place}-*.csv and "
                    f".{self.place}.lock away, then start again"
                )
            self.lock.replace(topic_id)

    def write(self, messages: list[Message], offset: int) -> None:
        """Append the rows, all or none; those of a finished file are passed over."""
        appended: list[tuple[_File, int]] = []
        rows = 0
        try:
            for kind, run in groupby(messages, lambda message: message.type):
                name = safe_name(kind, "_")
                if any(first <= offset < end for first, end in self.done.get(name, ())):
                    self.stats.incr("csv/rows_there_already", len(list(run)))
                    continue
                fresh = list(run)
                self._append(name, kind, fresh, offset, appended)
                rows += len(fresh)
        except OSError as error:
            for file, size in appended:
                file.cut(size)
            raise _refused(self.folder, error) from error
        self.stats.incr("csv/rows", rows)

    def _append(
        self,
        name: str,
        kind: str,
        run: list[Message],
        offset: int,
        appended: list[tuple[_File, int]],
    ) -> None:
        layout = self.layout(kind)
        times = [t for m in run if isinstance(t := m.get("timestamp"), int)]
        file = self.files.get(name)
        if file is None:
            part = self.folder / f"{name}-{self.place}-{offset:0{_DIGITS}}.part"
            file = _File(part, layout.header, min(times, default=0))
            self.files[name] = file
        size = file.size
        file.append("".join(layout.lines(run)))
        appended.append((file, size))
        file.latest = max(file.latest, *times, 0)

    def due(self) -> bool:
        return any(map(self._full, self.files.values()))

    def _full(self, file: _File) -> bool:
        size, data_seconds, seconds = self.limits
        return (
            (size is not None and file.size >= size)
            or (data_seconds is not None and file.latest - file.start >= data_seconds * 1e6)
            or monotonic() - file.begun >= seconds
        )

    def finish(self, following: int) -> None:
        """Make the rows last and give the files their names."""
        if not self.files:
            return
        try:
            with made_to_last(self.folder):
                for name, file in list(self.files.items()):
                    os.fsync(file.handle.fileno())
                    final = file.part.with_name(f"{file.part.stem}-{following:0{_DIGITS}}.csv")
                    os.rename(file.part, final)
                    file.handle.close()
                    del self.files[name]
                    self.stats.incr("csv/files")
        except (
            OSError
        ) as error:  # what is on the disk is not known now: begin again from the offset
            raise refused(self.folder, error) from error

    def drop(self) -> None:
        """Remove what is not finished, and the lock."""
        for file in self.files.values():
            with contextlib.suppress(OSError):  # cleared by the next who takes the partition
                file.drop()
        self.files.clear()
        self.lock.handle.close()


class _Lock(Rows):
    """The lock's file, in which the id of the topic stands."""

    def text(self) -> str:
        self.handle.seek(0)
        return self.handle.read().decode("ascii", "replace")

    def replace(self, text: str) -> None:
        self.cut(0)
        self.append(text)


def _refused(folder: Path, error: OSError) -> OutputError:
    """A full disk may have room later; anything else is for a person to mend."""
    found = refused(folder, error)
    if error.errno in _FULL:
        text = str(found).replace("make room, then run again", "make room, it goes on by itself")
        return RetryLater(text, _AGAIN_SECONDS)
    return found
