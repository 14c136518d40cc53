"""`csv`: messages in files that any program reads, one kind of file per message type.

RFC 4180 with a header; UTF-8; one message is one line, always. A file is written as `.csv.part`
and gets its name by an atomic rename when it is whole, so `frame-*.csv` are finished files.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import filecmp
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from datastalker.errors import OutputError
from datastalker.message import FIELDS, Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Sink
from datastalker.stats import Stats
from sinks.cells import Convert, Text, Time, any_value, as_json, converter

TIME, EXTRA = "time", "extra"


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
        for file in files.values():
            self._finish(file)

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
        seconds = self.rotate_seconds
        limit = None if seconds is None else int(seconds * 1e6)
        begin = 0
        while begin < len(messages):
            file = self.files.get(kind)
            if file is None:
                first = messages[begin].get("timestamp")
                start = first if isinstance(first, int) else 0
                file = self.files[kind] = self._open(kind, layout, start)
            end = begin
            if limit is None:
                end = len(messages)
            else:
                until = file.start + limit
                while end < len(messages) and (messages[end].get("timestamp") or 0) < until:
                    end += 1
            if end > begin:
                try:
                    file.write(map(layout.row, messages[begin:end]))
                except OSError as error:
                    raise _refused(file.part, error) from error
                self.stats.incr("csv/rows", end - begin)
            begin = end
            full = self.rotate_mb is not None and file.size >= self.rotate_mb * 1048576
            if begin < len(messages) or full:
                self._finish(self.files.pop(kind))

    def _open(self, kind: str, layout: _Layout, start: int) -> _File:
        try:
            return _File(self.folder, _safe_name(kind), start, layout.columns)
        except OSError as error:
            raise _refused(self.folder, error) from error

    def _finish(self, file: _File) -> None:
        try:
            self.written.append(file.finish())
        except OSError as error:
            raise _refused(file.part, error) from error
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
        self.empty: list[Any] = [None] * len(self.columns)
        text = Text()
        self.cells: dict[str, tuple[int, Convert | None]] = {
            name: (index, converter(fields[name].type, text) if name in fields else any_value)
            for index, name in enumerate(self.columns)
            if name not in (TIME, EXTRA)
        }
        self.time = self.columns.index(TIME) if TIME in self.columns else None
        self.extra = self.columns.index(EXTRA) if EXTRA in self.columns else None
        self.ssid_hex = self.columns.index("ssid_hex") if "ssid_hex" in self.columns else None
        self.clock = Time()

    def row(self, message: Message) -> list[Any]:
        row = self.empty.copy()
        cells = self.cells
        extra: dict[str, Any] = {}
        for key, value in message.items():
            cell = cells.get(key)
            if cell is None:
                if key != "type" and value is not None:
                    extra[key] = value
                continue
            index, convert = cell
            row[index] = value if convert is None else convert(value)
        if self.time is not None:
            row[self.time] = self.clock(message.get("timestamp"))
        if extra and self.extra is not None:
            row[self.extra] = as_json(extra)
        ssid = message.get("ssid")
        if ssid and self.ssid_hex is not None and row[self.ssid_hex] is None:
            shown = row[cells["ssid"][0]] if "ssid" in cells else None
            if shown != ssid:
                row[self.ssid_hex] = ssid.encode("utf-8", "surrogatepass").hex()
        return row


class _File:
    """One file being written: locked, appended to, then renamed."""

    def __init__(self, folder: Path, kind: str, start: int, columns: list[str]) -> None:
        self.start = start
        self.target = folder / f"{kind}-{_stamp(start)}.csv"
        self.part, self.handle = self._open(folder)
        self.size = 0
        self.writer = csv.writer(self.handle, lineterminator="\r\n")
        self.write([columns])

    def _open(self, folder: Path) -> tuple[Path, IO[str]]:
        """A .part of its own: another process may be writing one of the same name."""
        number = 0
        while True:
            number += 1
            name = self.target.stem + (f"-{number}" if number > 1 else "")
            part = folder / f"{name}.csv.part"
            with contextlib.suppress(FileExistsError):
                handle = open(part, "x", encoding="utf-8", newline="")  # noqa: SIM115
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return part, handle

    def write(self, rows: Iterable[Iterable[Any]]) -> None:
        """Append whole rows, or none: after a full disk the file ends at a row's end."""
        try:
            self.writer.writerows(rows)
            self.handle.flush()
            self.size = self.handle.tell()
        except OSError:
            os.ftruncate(self.handle.fileno(), self.size)
            raise

    def finish(self) -> Path:
        """Make it last, and give it its name; returns the path it has then."""
        try:
            self.handle.flush()
            os.fsync(self.handle.fileno())
        finally:
            with contextlib.suppress(OSError):
                self.handle.close()
        return _publish(self.part, self.target)

    @staticmethod
    def adopt(part: Path) -> bool:
        """Finish what a crash left: its whole rows become a file. False: somebody writes it."""
        with open(part, "r+b") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return False
                raise
            header = len(handle.readline())
            end = _last_row_end(handle)
            if end <= header:
                part.unlink()
                return False
            handle.truncate(end)
            os.fsync(handle.fileno())
            _publish(part, part.with_suffix(""))
        return True


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
    """Give a whole file its name; never over other rows than its own."""
    number = 1
    final = target
    while final.exists() and not filecmp.cmp(part, final, shallow=False):
        number += 1
        final = target.with_name(f"{target.stem}-{number}.csv")
    os.rename(part, final)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return final


def _type(message: Message) -> str:
    return message.type


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
