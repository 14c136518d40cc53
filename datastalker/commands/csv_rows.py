"""The rows of the CSV files that a sink has written, each once; what another program changed is named."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datastalker.errors import InputError
from datastalker.text import one_line

Row = dict[str, str]
"""By column."""


@dataclass
class Listing:
    """The CSV files of a folder, as it was at one moment: a sink renames what it has finished."""

    names: list[str]
    folder: Path

    def files(self, kind: str) -> list[Path]:
        """Those of one type of messages."""
        return self._of(kind, ".csv")

    def unfinished(self, kind: str) -> list[Path]:
        """Those that a sink still writes to: none of their rows is promised yet."""
        return self._of(kind, ".part")

    def _of(self, kind: str, end: str) -> list[Path]:
        found = [name for name in self.names if name.startswith(f"{kind}-") and name.endswith(end)]
        return [self.folder / name for name in found]


def listing(folder: Path) -> Listing:
    """What stands in a folder. Raises InputError where it can't be read."""
    try:
        return Listing(sorted(path.name for path in folder.iterdir()), folder)
    except FileNotFoundError:
        return Listing([], folder)
    except OSError as error:
        raise InputError(f"{folder}/ can't be read: {error.strerror}") from error


class Once:
    """Passes a row once, though it stands in several files: a run after a changed configuration
    writes files of its own beside the earlier ones. A row without an id passes always.

    Of an id only its hash is kept: some 100 bytes for a row, however long ids are.
    """

    def __init__(self) -> None:
        self.left_out = 0

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        seen: set[int] = set()
        for row in rows:
            if row.get("id"):
                mark = hash(row["id"])
                if mark in seen:
                    self.left_out += 1
                    continue
                seen.add(mark)
            yield row


def read(paths: list[Path]) -> Iterator[Row]:
    """The rows of CSV files, one after the other.

    Raises InputError naming the file that is none, or the line that another program changed.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    for path in paths:
        try:
            with open(path, encoding="utf-8", newline="") as handle:
                reader = csv.DictReader(handle)
                for row in reader:
                    _check(row, f"{path}, line {reader.line_num}")
                    yield row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            said = getattr(error, "strerror", None) or error
            raise InputError(f"{path} can't be read as CSV: {said}") from error


_NUMBERS = ("signal_dbm", "beacons_held_back", "signal_avg_dbm", "first_seen", "last_seen")
_WHOLE = re.compile("-?[0-9]+")
_ADDRESS = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _check(row: Row, where: str) -> None:
    names = (*_NUMBERS, "timestamp") if "event" in row or "alert" in row else _NUMBERS
    for name in names:
        if (value := row.get(name)) and not _WHOLE.fullmatch(value):
            raise InputError(_changed(where, name, value, "a whole number"))
    if (value := row.get("ta")) and not _ADDRESS.fullmatch(value):
        raise InputError(_changed(where, "ta", value, "an address"))


def _changed(where: str, name: str, value: str, what: str) -> str:
    shown = one_line(value[:40])
    return f"{where}: {name} is '{shown}', not {what}; another program wrote that, such as a spreadsheet"
