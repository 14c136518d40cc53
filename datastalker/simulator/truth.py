"""The truth beside the captures: its files, how they are written and how they are read.

`truth-transmissions.csv.gz` has a row for each transmission, with the frame number it got in each
sensor's file; `truth-presence.csv` one for each stay of an address; `truth-devices.csv` one for
each device. Times are microseconds since 1970-01-01 by the air's own clock, which no sensor has.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

from datastalker.simulator.air import Transmission
from datastalker.simulator.frames import text

TRANSMISSIONS, PRESENCE, DEVICES = (
    "truth-transmissions.csv.gz", "truth-presence.csv", "truth-devices.csv",
)  # fmt: skip
_COLUMNS = (
    "number", "time_us", "device", "kind", "ta", "ra", "seq", "frag", "retry", "tid", "length",
)  # fmt: skip


def capture_name(sensor: str) -> str:
    return f"sensor-{sensor}.pcap"


@dataclass(frozen=True, slots=True)
class Sent:
    """One transmission. `heard`: capture file → frame number in it, of the sensors that heard it."""

    number: int
    time_us: int
    device: str
    kind: str
    ta: str
    seq: int | None
    heard: Mapping[str, int]


@dataclass(slots=True)
class Stay:
    """From the first to the last transmission of an address that any sensor heard, in one visit.

    Within it no two of them were more than `longest_silence_us` apart.
    """

    device: str
    person: str
    address: str
    first_us: int
    last_us: int
    heard: int = 1
    longest_silence_us: int = 0

    def goes_on(self, time_us: int) -> None:
        self.longest_silence_us = max(self.longest_silence_us, time_us - self.last_us)
        self.last_us = time_us
        self.heard += 1


@dataclass(frozen=True, slots=True)
class DeviceRow:
    label: str
    kind: str
    person: str
    network: str
    addresses: str


class TransmissionsFile:
    """Writes `truth-transmissions.csv.gz`; the same rows give the same bytes."""

    def __init__(self, path: Path, sensors: Sequence[str], start_us: int) -> None:
        self._start_us = start_us
        self._raw = path.open("wb")
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
        self._file = io.TextIOWrapper(packed, "utf-8", newline="")
        self._row = csv.writer(self._file, lineterminator="\n").writerow
        per_sensor = (f"{name}_{what}" for name in sensors for what in ("frame", "signal_dbm"))
        self._row((*_COLUMNS, *per_sensor))

    def write(self, number: int, sent: Transmission, frame_numbers: Sequence[int | None]) -> None:
        frame = sent.frame
        has_seq = frame.seq is not None
        heard: list[object] = []
        for copy, frame_number in zip(sent.copies, frame_numbers, strict=True):
            heard += (frame_number, copy.signal_dbm) if copy else ("", "")
        self._row((
            number, self._start_us + sent.time_us, sent.sender.label, frame.kind, text(frame.ta),
            text(frame.ra), frame.seq, frame.frag if has_seq else "",
            int(frame.retry) if has_seq else "", frame.tid, len(frame.data), *heard,
        ))  # fmt: skip

    def close(self) -> None:
        with self._raw:  # closed also where what is left can't be written
            self._file.close()


def write_rows(path: Path, rows: Sequence[Stay] | Sequence[DeviceRow], kind: type) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_transmissions(directory: Path) -> Iterator[Sent]:
    """Every transmission, in order, heard or not."""
    with gzip.open(directory / TRANSMISSIONS, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        sensors = [
            name[: -len("_frame")] for name in rows.fieldnames or () if name.endswith("_frame")
        ]
        for row in rows:
            heard = {capture_name(s): int(row[f"{s}_frame"]) for s in sensors if row[f"{s}_frame"]}
            yield Sent(
                int(row["number"]), int(row["time_us"]), row["device"], row["kind"], row["ta"],
                int(row["seq"]) if row["seq"] else None, heard,
            )  # fmt: skip


def read_stays(directory: Path) -> list[Stay]:
    with _rows(directory / PRESENCE) as file:
        return [
            Stay(
                row["device"], row["person"], row["address"], int(row["first_us"]),
                int(row["last_us"]), int(row["heard"]), int(row["longest_silence_us"]),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def read_devices(directory: Path) -> list[DeviceRow]:
    with _rows(directory / DEVICES) as file:
        return [DeviceRow(**row) for row in csv.DictReader(file)]


def _rows(path: Path) -> IO[str]:
    return path.open(encoding="utf-8", newline="")
