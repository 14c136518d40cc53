"""`csv`: messages in files that any program reads, one kind of file per message type.

RFC 4180 with a header; UTF-8; one message is one line, always. A file is written as `.csv.part`
and gets its name by an atomic rename when it is whole, so `frame-*.csv` are finished files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from datastalker.errors import OutputError
from datastalker.message import FIELDS, Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Sink
from datastalker.stats import Stats
from datastalker.text import one_line
from sinks.cells import (
    Cells,
    Convert,
    Memo,
    Time,
    any_cell,
    as_json,
    bytes_hex,
    quoted,
    ssid_hex,
)

TIME, EXTRA, END = "time", "extra", "\r\n"
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

    directory: str = option("out", "folder for the files; made if it does not exist")
    columns: list[str] | None = option(None, "columns of the frame files; null: all there are")
    rotate_seconds: float | None = option(
        86_400, "a new file after this much of the data's time", minimum=1
    )
    rotate_mb: float | None = option(256, "a new file at about this size, MiB", minimum=0.01)

    def __init__(self, stats: Stats, directory: str, **options: Any) -> None:
        self.folder = Path(directory)
        self.files: dict[str, _File] = {}
        self.layouts: dict[str, _Layout] = {}
        self.written: list[Path] = []
        self.ready = False

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        columns = config["columns"] or []
        if len(set(columns)) != len(columns):
            yield "columns", "a column stands twice"

    def write(self, batch: list[Message]) -> None:
        if not self.ready:
            self._start()
        for kind, run in groupby(batch, _type):
            layout = self.layouts.get(kind)
            if layout is None:
                columns = self.columns if kind == "frame" else None
                layout = self.layouts[kind] = _Layout(kind, columns, self.added)
            self._rows(kind, layout, list(run))

    def close(self) -> None:
        files, self.files = self.files, {}
        with contextlib.ExitStack() as stack:  # one that can't be finished keeps no other from it
            for file in files.values():
                stack.callback(self._finish, file)

    def result(self) -> str:
        if not self.written:
            return f"nothing to write in {self.folder}/"
        shown = ", ".join(path.name for path in self.written[:4])
        more = f" and {len(self.written) - 4} more" if len(self.written) > 4 else ""
        return f"{int(self.stats.get('csv/rows')):,} rows in {self.folder}/: {shown}{more}"

    def _start(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in sorted(self.folder.glob("*.csv.part")):
                if _File.adopt(part):
                    self.stats.incr("csv/files_adopted")
        except OSError as error:
            raise _refused(self.folder, error) from error
        self.ready = True

    def _rows(self, kind: str, layout: _Layout, messages: list[Message]) -> None:
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
                    file.write([layout.line(message) for message in run])
                except OSError as error:
                    raise _refused(file.part, error) from error
                self.stats.incr("csv/rows", len(run))
            begin += len(run)
            over = begin < min(end, len(messages))
            if over or (not file.rows % _CHECK_ROWS and self._full(file)):
                self._finish(self.files.pop(kind))

    def _full(self, file: _File) -> bool:
        return self.rotate_mb is not None and file.size >= self.rotate_mb * 1048576

    def _open(self, kind: str, layout: _Layout, start: int) -> _File:
        try:
            return _File(self.folder, _safe_name(kind), start, layout.header)
        except OSError as error:
            raise _refused(self.folder, error) from error

    def _finish(self, file: _File) -> None:
        try:
            path = file.finish()
        except OSError as error:
            raise _refused(file.part, error) from error
        if path is not None:
            self.written.append(path)
            self.stats.incr("csv/files")


class _Layout:
    """Which key of a message goes to which column, and how."""

    def __init__(self, kind: str, columns: list[str] | None, added: tuple[Field, ...]) -> None:
        fields = dict(FIELDS.get(kind, {}))
        if not fields:
            fields = {"timestamp": Field("timestamp", "integer", "")}
        elif kind == "frame":
            fields.update((field.name, field) for field in added)
        self.columns = columns or [TIME, *fields, EXTRA]
        self.header = ",".join(quoted(one_line(name)) for name in self.columns) + END
        place = {name: index for index, name in enumerate(self.columns)}
        self.time, self.extra = place.pop(TIME, None), place.pop(EXTRA, None)
        self.ssid_hex = place.get("ssid_hex")
        cells = Cells()
        self.cells: dict[str, tuple[int, Convert]] = {
            name: (index, cells.converter(name, fields[name].type if name in fields else ""))
            for name, index in place.items()
        }
        self.empty = [""] * len(self.columns)
        self.clock = Time()
        self.hex = Memo(ssid_hex if "ssid" in place else bytes_hex)

    def line(self, message: Message) -> str:
        row = self.empty.copy()
        find = self.cells.get
        unknown: dict[str, Any] = {}
        for key, value in message.items():
            cell = find(key)
            if cell is not None:
                index, convert = cell
                try:
                    row[index] = convert(value)
                except Exception:  # of another type than its field's
                    row[index] = any_cell(value)
            elif key != "type" and value is not None:
                unknown[key] = value
        if self.time is not None:
            row[self.time] = self.clock(message.get("timestamp"))
        if unknown and self.extra is not None:
            row[self.extra] = quoted(as_json(unknown))
        if self.ssid_hex is not None and not row[self.ssid_hex] and message.get("ssid"):
            row[self.ssid_hex] = self.hex[str(message["ssid"])]
        # A row of one empty cell would be an empty line, which readers skip.
        return (",".join(row) or '""') + END


class _File:
    """One file being written: locked, appended to, then renamed."""

    def __init__(self, folder: Path, kind: str, start: int, header: str) -> None:
        self.start = start
        self.target = folder / f"{kind}-{_stamp(start)}.csv"
        self.part, self.handle = self._open(folder)
        self.size = self.rows = 0
        try:
            self._append(header)
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
                if _lock(handle, part):
                    return part, handle
                handle.close()  # another process took it for one that a crash left

    def write(self, lines: list[str]) -> None:
        """Append whole rows, or none: after a full disk the file ends at a row's end."""
        self._append("".join(lines))
        self.rows += len(lines)

    def _append(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        written = 0
        try:
            while written < len(data):
                written += self.handle.write(data[written:])
        except OSError:
            self.handle.seek(self.size)
            self.handle.truncate()
            raise
        self.size += written

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
            if not _lock(handle, part):
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


def _lock(handle: IO[bytes], path: Path) -> bool:
    """Take a file for this process alone. False: another has it, or has finished it by now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
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
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that can't lock a folder
            fcntl.flock(folder, fcntl.LOCK_EX)
        number, final = 1, target
        while final.exists() and not _same_beginning(part, final):
            number += 1
            final = target.with_name(f"{target.stem}-{number}.csv")
        if final.exists() and final.stat().st_size > part.stat().st_size:
            part.unlink()
        else:
            os.rename(part, final)
        os.fsync(folder)
    finally:
        os.close(folder)
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


def _safe_name(kind: str) -> str:
    """A message type comes from a stage, which may have it from the air."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in kind)[:64]


def _refused(path: Path, error: OSError) -> OutputError:
    remedy = {
        errno.ENOSPC: "the disk is full: make room, then run again",
        errno.EDQUOT: "the disk quota is used up: make room, then run again",
        errno.EACCES: "no right to write there: choose another csv directory, or change its rights",
        errno.EROFS: "the file system is read-only: choose another csv directory",
        errno.ENOTDIR: "a file stands where the folder should be: choose another csv directory",
        errno.EEXIST: "a file stands where the folder should be: choose another csv directory",
    }.get(error.errno or 0, "choose another csv directory, or mend this one")
    return OutputError(f"csv: {path} can't be written ({error.strerror}): {remedy}")
