"""What was ever released is read for ever, and a change that would break that is refused by name."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

import schemas
from datastalker.message import Message
from datastalker.wire import BatchDecoder, BatchEncoder, decode_batch, decode_event, framing
from datastalker.wire.framing import Framing, Writer
from infra import release_schemas
from schemas import check

VERSIONS = [(name, version) for name in schemas.NAMES for version in schemas.released(name)]
HEAD: dict[str, Any] = {"sequence": 7, "sent_at": 1, "now": 2, "clock_offset_ms": 1.5}


def recorded(name: str, version: int) -> list[tuple[bytes, dict[str, Any]]]:
    path = Path(schemas.__file__).parent / "released" / name / f"{version}.json"
    values = json.loads(path.read_text(encoding="utf-8"), object_hook=release_schemas.untagged)
    lines = path.with_suffix(".hex").read_text().split()
    return list(zip(map(bytes.fromhex, lines), values, strict=True))


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_what_a_released_version_wrote_is_read(name: str, version: int) -> None:
    for data, value in recorded(name, version):
        if name == "frame_batch":
            batch = decode_batch(data)
            assert {key: getattr(batch, key) for key in value} == value
        else:
            assert decode_event(data) == value


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_a_released_version_is_never_changed(name: str, version: int) -> None:
    schema = framing.canonical(schemas.released(name)[version]).encode()
    prefix = b"\xc3\x01" + framing.fingerprint(schema).to_bytes(8, "little")
    assert all(data.startswith(prefix) for data, _ in recorded(name, version))


def test_every_schema_was_released() -> None:
    assert {name for name, _ in VERSIONS} == set(schemas.NAMES)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_current_schema_can_be_released(name: str) -> None:
    assert check.problems(name) == []


def changed(change: Callable[[dict[str, Any]], None]) -> tuple[Any, Any]:
    """The schema of batches before and after a change of its Frame."""
    before = schemas.current("frame_batch")
    after = copy.deepcopy(before)
    change(after["fields"][-1]["type"]["items"])
    return before, after


def at(frame: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(field for field in frame["fields"] if field["name"] == name)
    return found


def drop(frame: dict[str, Any], name: str) -> None:
    frame["fields"].remove(at(frame, name))


def wps(frame: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = at(at(frame, "management")["type"][1], "wps")["type"][1]
    return found


MOOD = {"name": "mood", "type": ["null", "string"], "default": None}

REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a new field without default": (
        lambda f: f["fields"].append({"name": "mood", "type": "string"}),
        "can't read what version 1 wrote: FrameBatch.frames.mood: the writer hasn't this field, and "
        "for the reader it has no default",
    ),
    "a field left out that had no default": (
        lambda f: drop(f, "id"),
        "can't be read by version 1: FrameBatch.frames.id: the writer hasn't this field",
    ),
    "another type": (
        lambda f: at(f, "length").update(type="string"),
        "can't read what version 1 wrote: FrameBatch.frames.length: int can't be read as string",
    ),
    "a wider type": (
        lambda f: at(f, "length").update(type="long"),
        "can't be read by version 1: FrameBatch.frames.length: long can't be read as int",
    ),
    "null no longer": (
        lambda f: at(f, "seq").update(type="int"),
        "can't read what version 1 wrote: FrameBatch.frames.seq: may be null, which the reader's type",
    ),
    "null allowed": (
        lambda f: at(f, "length").update(type=["null", "int"]),
        "can't be read by version 1: FrameBatch.frames.length: may be null, which",
    ),
    "deep inside, another type": (
        lambda f: at(wps(f), "uuid").update(type=["null", "int"]),
        "can't read what version 1 wrote: FrameBatch.frames.management.wps.uuid: may be string, which",
    ),
    "a longer address": (
        lambda f: at(f, "ta")["type"][1].update(size=8),
        "can't read what version 1 wrote: FrameBatch.frames.ta: 6 bytes can't be read as 8",
    ),
    "an enum without its default": (
        lambda f: (
            at(f, "kind")["type"].pop("default"),
            at(f, "kind")["type"]["symbols"].remove("ACK"),
        ),
        "can't read what version 1 wrote: FrameBatch.frames.kind: the reader's enum lacks ACK, and has",
    ),
    "another name": (
        lambda f: wps(f).update(name="Wps2"),
        "can't read what version 1 wrote: FrameBatch.frames.management.wps: may be record Wps, which",
    ),
    "another meaning": (
        lambda f: at(f, "timestamp")["type"].update(logicalType="timestamp-millis"),
        "can't read what version 1 wrote: FrameBatch.frames.timestamp: logical type timestamp-micros "
        "would be read as timestamp-millis",
    ),
    "other items": (
        lambda f: at(at(f, "management")["type"][1], "elements")["type"].update(items="string"),
        "can't read what version 1 wrote: FrameBatch.frames.management.elements: int can't be read as",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_incompatible_change_is_refused_with_field_and_rule(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, said = REFUSED[what]
    before, after = changed(change)
    monkeypatch.setattr(schemas, "current", lambda name: after)
    monkeypatch.setattr(schemas, "released", lambda name: {1: before})
    assert any(problem.startswith(said) for problem in check.problems("frame_batch"))


ALLOWED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda f: None,
    "a new field with a default": lambda f: f["fields"].insert(2, MOOD),
    "a new list deep inside": lambda f: wps(f)["fields"].append(
        {"name": "pins", "type": {"type": "array", "items": "string"}, "default": []}
    ),
    "a field left out that had a default": lambda f: drop(f, "antenna"),
    "another order": lambda f: f["fields"].insert(0, f["fields"].pop(1)),
    "a new kind": lambda f: at(f, "kind")["type"]["symbols"].insert(0, "NEW"),
    "other words": lambda f: f.update(doc="other words"),
}


class Older(Framing):
    """Everything was written with one schema."""

    def __init__(self, schema: Any) -> None:
        self._writer = Writer(schema)

    def prefix(self, name: str, topic: str) -> bytes:
        return b""

    def writer(self, data: bytes) -> tuple[Writer, int]:
        return self._writer, 0


def bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: bare(part) for key, part in schema.items() if key != "logicalType"}
    return [bare(part) for part in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("what", ALLOWED)
def test_a_compatible_change_is_allowed_and_read_both_ways(what: str) -> None:
    before, after = changed(ALLOWED[what])
    assert check.incompatibilities(before, after) == check.incompatibilities(after, before) == []
    messages = [Message(m) for m in release_schemas.frames() if "antenna" not in m]
    data = BatchEncoder("porch", "s", prefix=b"").encode(messages, **HEAD)
    theirs = fastavro.schemaless_reader(BytesIO(data), fastavro.parse_schema(bare(before)), None)
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(bare(after)), theirs)
    assert BatchDecoder(Older(after)).decode(out.getvalue()).messages == messages


def test_ci_would_refuse(tmp_path: Path) -> None:
    """The command that CI runs, over a copy in which somebody made an incompatible change."""
    folder = tmp_path / "schemas"
    shutil.copytree(Path(schemas.__file__).parent, folder)
    path = folder / "event.avsc"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"name": "id", "type": "string"', '"name": "id", "type": "int"'))
    command = [sys.executable, "-m", "schemas.check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "event.avsc can't read what version 1 wrote: Event.id: string can't be" in done.stderr
