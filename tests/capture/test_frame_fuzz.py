"""Damaged frames: no exception, no hang, and no value that isn't in the bytes.

Real frames are damaged where the shared captures are found, else those made here. As many as
DATASTALKER_FUZZ says, 100,000 unless it does: the full run is a million.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from capture_agent.capture_file import open_capture

FUZZ = Path(__file__).parents[1] / "fuzz"
CAPTURES = Path(
    os.environ.get("DATASTALKER_CAPTURES", Path(__file__).parents[3] / "shared" / "captures")
)
COUNT = int(os.environ.get("DATASTALKER_FUZZ", "100000"))


@pytest.fixture(scope="module")
def fuzz() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(FUZZ))
    yield {name: importlib.import_module(name) for name in ("invariants", "seeds", "mutate")}
    sys.path.remove(str(FUZZ))


@pytest.fixture(scope="module")
def frames(fuzz: dict[str, ModuleType]) -> list[tuple[int, bytes]]:
    """(link type, bytes): synthetic ones of every kind, and a choice of real ones."""
    seeds = fuzz["seeds"]
    found = [
        (link_type, header + frame)
        for link_type, headers in seeds.headers().items()
        for header in headers
        for frame in seeds.frames()
    ]
    for path in sorted(CAPTURES.glob("*")) if CAPTURES.is_dir() else []:
        if path.name.endswith((".gz", ".md", ".sh")):
            continue
        with path.open("rb", buffering=0) as stream:
            for interface, records in open_capture(stream, path.name):
                found += [(interface.link_type, data) for _, data, _ in records[::7]]
                break
    return found


def test_damaged_frames(fuzz: dict[str, ModuleType], frames: list[tuple[int, bytes]]) -> None:
    invariants = fuzz["invariants"]
    began, parsed = time.monotonic(), 0
    for number, (link_type, raw) in enumerate(fuzz["mutate"].mutated(frames, COUNT, seed=802)):
        try:
            parsed += invariants.check_frame(raw, link_type) is not None
            if number % 16 == 0:
                invariants.check_memory(raw, link_type)
            if number % 8 == 0:
                invariants.check_cut(raw, len(raw) * (number % 97) // 97, link_type)
        except Exception as error:
            raise AssertionError(f"link type {link_type}, {raw.hex()}: {error!r}") from error
    assert parsed > COUNT / 4  # it isn't all refused at the door
    assert time.monotonic() - began < COUNT / 500


def test_damaged_capture_files(fuzz: dict[str, ModuleType]) -> None:
    invariants, seeds = fuzz["invariants"], fuzz["seeds"]
    files = [(0, raw) for raw in seeds.files()]
    records = 0
    for number, (_, raw) in enumerate(fuzz["mutate"].mutated(files, COUNT // 10, seed=11)):
        try:
            records += invariants.check_file(raw, number % 5)
        except Exception as error:
            raise AssertionError(f"{raw.hex()}: {error!r}") from error
    assert records > COUNT / 50


def test_the_fuzzers_corpus(fuzz: dict[str, ModuleType]) -> None:
    """What atheris found on its way: each once reached something new."""
    lines = (FUZZ / "corpus.hex").read_text().split()
    assert len(lines) > 100
    for line in lines:
        fuzz["invariants"].check_input(bytes.fromhex(line))
