"""The worker's job in plain Python on fastavro's records, as one writes it with another framework.

Nothing but fastavro is needed. State is anything with `get(key)` and `set(key, value)`; keys are
tuples, values plain. What the worker does beside (counting what it dropped, access points that change
their name to and fro, bounds of what is remembered) is left out, in the peers' favour.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

PREFIX = 10
"""Bytes of single-object encoding in front of a record."""
WINDOW, INTERVAL, DEVIATION = 2_000_000, 120_000_000, 15
SAYS = "security", "group_cipher", "pairwise_ciphers", "akms", "pmf", "rates_kbps"


class Job:
    """Messages through the steps, and what that takes: from the first one to `report`."""

    def __init__(self, folder: Path, *, whole: bool = True) -> None:
        """`folder` holds the schema and the vendors; `whole`: not only dedupe."""
        self.schema: Any = parse_schema(json.loads((folder / "schema.json").read_text()))
        self.whole = whole
        self.vendor = lru_cache(8192)(_Vendors(folder / "oui.txt.gz").of) if whole else None
        self.messages = self.frames = self.kept = 0
        self.begin: tuple[float, float] | None = None

    def run(self, value: bytes, state: Any) -> bytes | None:
        """Decode, dedupe, beacon filter, vendor, encode; None: nothing is left to be sent."""
        if self.begin is None:
            self.begin = time.perf_counter(), time.process_time()
        batch: Any = schemaless_reader(BytesIO(value[PREFIX:]), self.schema, None)
        self.messages += 1
        self.frames += len(batch["frames"])
        frames = [frame for frame in batch["frames"] if is_first(frame, state)]
        if self.vendor is not None:
            frames = [f for f in frames if is_news(f, f["sensor"] or batch["sensor"], state)]
            for frame in frames:
                if frame["ta"] is not None:
                    frame["extra"] = {**(frame["extra"] or {}), **self.vendor(frame["ta"])}
        if not frames:
            return None
        self.kept += len(frames)
        batch["frames"] = frames
        stream = BytesIO()
        stream.write(value[:PREFIX])
        schemaless_writer(stream, self.schema, batch)
        return stream.getvalue()

    def report(self) -> None:
        """Print what was measured, as the last line."""
        assert self.begin is not None
        wall, cpu = time.perf_counter() - self.begin[0], time.process_time() - self.begin[1]
        found = {"frames": self.frames, "wall": wall, "cpu": cpu, "kept": self.kept}
        os.write(1, f"\n{json.dumps(found)}\n".encode())  # whatever a framework made of stdout


def is_first(frame: Any, state: Any) -> bool:
    """Whether it is no copy of a transmission that was heard already."""
    if frame["seq"] is None or frame["ta"] is None:
        return True
    kind = frame["kind"]
    key = (
        frame["ta"], frame["seq"], kind, frame["frag"], frame["retry"], frame["length"], frame["ra"],
        frame["management"]["tsf"] if kind == "BEACON" and frame["management"] else frame["tid"],
    )  # fmt: skip
    before, now = state.get(key), frame["timestamp"]
    if before is not None and abs(now - before) <= WINDOW:
        return False
    state.set(key, now)
    return True


def is_news(frame: Any, sensor: str, state: Any) -> bool:
    """Whether it is no beacon, or one that says something new."""
    management = frame["management"]
    if frame["kind"] != "BEACON" or management is None:
        return True
    key = "beacon", frame["ta"], management["ssid"], management["ssid_hex"]
    says = [management["bss_channel"] or frame["channel"], *(management[name] for name in SAYS)]
    time, signal, last = frame["timestamp"], frame["signal_dbm"], state.get(key)
    signals = {} if last is None else last[2]
    before = signals.get(sensor)
    if (
        last is not None
        and says == last[1]
        and abs(time - last[0]) < INTERVAL
        and (signal is None or before is None or abs(signal - before) < DEVIATION)
    ):
        if before is None:
            state.set(key, [last[0], says, {**signals, sensor: signal}])
        return False
    state.set(key, [time, says, {**signals, sensor: signal}])
    return True


class _Vendors:
    """Who made a device, from the prefix of its address."""

    def __init__(self, path: Path) -> None:
        self.blocks: dict[str, str] = {}
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                vendor, _, prefixes = line.rstrip("\n").partition("\t")
                self.blocks.update(dict.fromkeys(prefixes.split(), vendor))

    def of(self, address: bytes) -> dict[str, Any]:
        text = address.hex(":")
        vendor = next((self.blocks[text[:n]] for n in (13, 10, 8) if text[:n] in self.blocks), None)
        found: dict[str, Any] = {"ta_randomized": address[0] & 3 == 2}
        return found if vendor is None else {**found, "ta_oui": vendor}
