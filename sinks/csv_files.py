"""`csv`: messages in files that any program reads, one kind of file per message type.

RFC 4180 with a header; UTF-8; one message is one line, always. A file is written as `.csv.part`
and gets its name by an atomic rename when it is whole, so `frame-*.csv` are finished files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from datastalker.errors import OutputError
from datastalker.message import Message
from datastalker.options import a_folder, option
from datastalker.pipeline import Pipeline, Sink
from datastalker.stats import Stats
from sinks.csv_partitions import Limits, PartitionFiles
from sinks.files import Rows, lock, made_to_last, refused, safe_name
from sinks.layout import EXTRA, TIME, Layout

_CHECK_ROWS = 64
"""So many rows are written at once, and then looked whether the file is full: a file's end depends
on the rows alone, never on the batches they came in."""


@Pipeline.register_stage("csv")
class Csv(Sink):
    """Writes each message type to files of its own: `frame-TIME.csv`, `presence-TIME.csv`.

    Columns are the contract's keys, then what the pipeline's stages add, then `extra` with any
    other key as JSON; `time` is the timestamp in ISO 8601. Text that a spreadsheet or terminal
    would act on is defused; `ssid_hex` then has the SSID's bytes. Reading the same capture again
    replaces a file by its equal; a file of the same name with other rows is never overwritten.
    """

    directory: str = option(
        "out", "folder for the files; made if it does not exist", check=a_folder
    )
    columns: list[str] | None = option(
        None, "columns of the frame files; null: all there are", fields=(TIME, EXTRA)
    )
    rotate_seconds: float | None = option(
        86_400, "a new file after this much of the data's time", minimum=1
    )
    rotate_mb: float | None = option(256, "a new file at about this size, MiB", minimum=0.01)
    finish_seconds: float = option(
        3600, "over Kafka, where a crash writes an unfinished file again: finish it after so long"
    )

    def __init__(self, stats: Stats, directory: str, **options: Any) -> None:
        self.folder = Path(directory).expanduser()
        self.files: dict[str, _File] = {}
        self.layouts: dict[str, Layout] = {}
        self.written: list[Path] = []
        self.ready = self.failed = False

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        columns = config["columns"] or []
        for name in dict.fromkeys(name for name in columns if columns.count(name) > 1):
            yield "columns", f"column '{name}' stands twice"

    def write(self, batch: list[Message]) -> None:
        if not self.ready:
            self._start()
        kinds = {message.get("type") for message in batch}
        if len(kinds) == 1 and isinstance(kind := kinds.pop(), str):
            self._rows(kind, self.layout(kind), batch)
            return
        for kind, run in groupby(batch, _type):
            self._rows(kind, self.layout(kind), list(run))

    def layout(self, kind: str) -> Layout:
        """The columns for a type of messages."""
        layout = self.layouts.get(kind)
        if layout is None:
            columns = self.columns if kind == "frame" else None
            layout = self.layouts[kind] = Layout(kind, columns, self.added)
        return layout

    def partition(self, topic: str, partition: int, topic_id: str) -> PartitionFiles:
        """Files of a partition of a topic, exactly once; see `sinks.csv_partitions`."""
        size = None if self.rotate_mb is None else self.rotate_mb * 1048576
        limits = Limits(size, self.rotate_seconds, self.finish_seconds)
        return PartitionFiles(
            self.folder, topic, partition, topic_id, self.layout, limits, self.stats
        )

    def close(self) -> None:
        files, self.files = self.files, {}
        with contextlib.ExitStack() as stack:  # one that can't be finished keeps no other from it
            for file in files.values():
                stack.callback(self._finish, file)

    def result(self) -> str:
        rows = int(self.stats.get("csv/rows"))
        if not rows:
            return f"nothing {'could be written' if self.failed else 'to write'} in {self.folder}/"
        if not self.written:
            return f"{rows:,} rows in {self.folder}/"
        shown = ", ".join(path.name for path in self.written[:4])
        more = f" and {len(self.written) - 4} more" if len(self.written) > 4 else ""
        until = "; what came after could not be written" if self.failed else ""
        return f"{rows:,} rows in {self.folder}/: {shown}{more}{until}"

    def _start(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in sorted(self.folder.glob("*.csv.part")):
                if _File.adopt(part):
                    self.stats.incr("csv/files_adopted")
        except OSError as error:
            raise self._refused(self.folder, error) from error
        self.ready = True

    def _rows(self, kind: str, layout: Layout, messages: list[Message]) -> None:
        begin = 0
        while begin < len(messages):
            file = self.files.get(kind)
            if file is None:
                file = self.files[kind] = self._open(kind, layout, _time(messages[begin]))
            end = begin + _CHECK_ROWS - file.rows % _CHECK_ROWS
            run = messages[begin:end]
            if self.rotate_seconds is not None:
                run = _before(file.start + self.rotate_seconds * 1e6, run)
            if run:
                try:
                    file.write(layout.lines(run))
                except OSError as error:
                    raise self._refused(file.part, error) from error
                self.stats.incr("csv/rows", len(run))
            begin += len(run)
            over = begin < min(end, len(messages))
            if over or (not file.rows % _CHECK_ROWS and self._full(file)):
                self._finish(self.files.pop(kind))

    def _full(self, file: _File) -> bool:
        return self.rotate_mb is not None and file.size >= self.rotate_mb * 1048576

    def _open(self, kind: str, layout: Layout, start: int) -> _File:
        try:
            return _File(self.folder, safe_name(kind), start, layout.header)
        except OSError as error:
            raise self._refused(self.folder, error) from error

    def _finish(self, file: _File) -> None:
        try:
            path = file.finish()
        except OSError as error:
            raise self._refused(file.part, error) from error
        if path is not None:
            self.written.append(path)
            self.stats.incr("csv/files")

    def _refused(self, path: Path, error: OSError) -> OutputError:
        self.failed = True
        return refused(path, error)


class _File(Rows):
    """One file being written: locked, appended to, then renamed."""

    def __init__(self, folder: Path, kind: str, start: int, header: str) -> None:
        self.start = start
        self.target = folder / f"{kind}-{_stamp(start)}.csv"
        self.part, handle = self._open(folder)
        super().__init__(handle)
        self.rows = 0
        try:
            self.append(header)
        except OSError:
            self.finish()
            raise

    def _open(self, folder: Path) -> tuple[Path, IO[bytes]]:
        """A .part of its own: another process may be writing one of the same name."""
        number = 0
        while True:
            number += 1
            name = self.target.stem + (f"-{number}" if number > 1 else "")
            part = folder / f"{name}.csv.part"
            with contextlib.suppress(FileExistsError):
                handle = open(part, "xb", buffering=0)  # noqa: SIM115
                if lock(handle, part):
                    return part, handle
                handle.close()  # another process took it for one that a crash left

    def write(self, lines: list[str]) -> None:
        """Append whole rows, or none."""
        self.append("".join(lines))
        self.rows += len(lines)

    def finish(self) -> Path | None:
        """Make it last, and give it its name; returns the path it has then. None: no rows."""
        with self.handle:  # locked until it has its name: nobody takes it for a crash's
            if not self.rows:
                self.part.unlink()
                return None
            os.fsync(self.handle.fileno())
            return _publish(self.part, self.target)

    @staticmethod
    def adopt(part: Path) -> bool:
        """Finish what a crash left: its whole rows become a file. False: somebody writes it."""
        with contextlib.suppress(FileNotFoundError), open(part, "r+b") as handle:
            if not lock(handle, part):
                return False
            header = len(handle.readline())
            end = _last_row_end(handle)
            if end <= header:
                part.unlink()
                return False
            handle.truncate(end)
            os.fsync(handle.fileno())
            _publish(part, part.with_suffix(""))
            return True
        return False


def _last_row_end(handle: IO[bytes]) -> int:
    """Offset behind the last whole row: a crash may have cut the one after it."""
    end = handle.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 65_536)
        handle.seek(begin)
        found = handle.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _publish(part: Path, target: Path) -> Path:
    """Give a whole file its name; never over rows that it does not have itself.

    What was written by an earlier run over the same input, whole or in part, becomes one with it.
    """
    with made_to_last(target.parent):
        number, final = 1, target
        while final.exists() and not _same_beginning(part, final):
            number += 1
            final = target.with_name(f"{target.stem}-{number}.csv")
        if final.exists() and final.stat().st_size > part.stat().st_size:
            part.unlink()
        else:
            os.rename(part, final)
    return final


def _same_beginning(one: Path, other: Path) -> bool:
    """Whether the shorter of two files is how the longer begins."""
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            a, b = first.read(1 << 16), second.read(1 << 16)
            if a[: len(b)] != b[: len(a)]:
                return False
            if not a or not b:
                return True


def _type(message: Message) -> str:
    return str(message.get("type", "message"))


def _before(until: float, messages: list[Message]) -> list[Message]:
    """The messages up to the first that is not before `until`."""
    with contextlib.suppress(TypeError):  # one has no time
        if max(map(itemgetter("timestamp"), messages)) < until:
            return messages
    return list(takewhile(lambda message: _time(message) < until, messages))


def _time(message: Message) -> int:
    time = message.get("timestamp")
    return time if isinstance(time, int) else 0


def _stamp(start: int) -> str:
    try:
        return datetime.fromtimestamp(start / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
    except (OverflowError, ValueError, OSError):
        return str(start)
