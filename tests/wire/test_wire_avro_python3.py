"""Apache's own avro-python3 reads what we write and writes what we read, to the byte.

It can't be installed beside `avro`, so it lives in a folder of its own and runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datastalker import dump
from datastalker.message import Message
from datastalker.record import Record
from datastalker.wire import BatchEncoder, decode_event, encode_event
from datastalker.wire.frames import KNOWN, Origin, from_record
from infra import release_schemas

VERSION = "1.10.2"

ORACLE = r"""
import io, json, struct, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import avro.io, avro.schema
assert sys.argv[1] in avro.__file__

def crc(data):
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (empty if value & 1 else 0)
    return value

def jsonable(value):
    return {"bytes": value.hex()} if isinstance(value, bytes) else str(value)

for line in sys.stdin:
    path, data = line.split()
    schema = avro.schema.parse(open(path).read())
    raw = bytes.fromhex(data)
    assert raw[:2] == b"\xc3\x01"
    stream = io.BytesIO(raw[10:])
    value = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(stream))
    assert not stream.read()
    out = io.BytesIO()
    avro.io.DatumWriter(schema).write(value, avro.io.BinaryEncoder(out))
    print(json.dumps({"value": value, "again": (raw[:10] + out.getvalue()).hex()}, default=jsonable))
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where avro-python3 is installed, for this session."""
    path = tmp_path_factory.mktemp("avro-python3")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", str(path), f"avro-python3=={VERSION}"], check=True)
    return path


def ask(folder: Path, name: str, written: list[bytes]) -> list[dict[str, Any]]:
    """For each of our bytes what avro-python3 reads from them, and writes for that."""
    schema = release_schemas.FOLDER / f"{name}.avsc"
    lines = "".join(f"{schema} {data.hex()}\n" for data in written)
    command = [sys.executable, "-c", ORACLE, str(folder)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [
        json.loads(line, object_hook=release_schemas.untagged) for line in done.stdout.splitlines()
    ]


def writes_alike(message: Message) -> Message:
    """Without what avro-python3 writes as another branch of a union: a whole number, and true, as a
    double, which is the last that they fit."""
    return Message(
        {k: v for k, v in message.items() if k in KNOWN or k == "key" or not isinstance(v, int)}
    )


def test_frames_are_the_same_to_avro_python3(folder: Path) -> None:
    messages = [m for m in release_schemas.frames() if m]
    encoder = BatchEncoder("porch", "s", labels={"site": "home"})
    head: dict[str, Any] = {"sequence": 7, "sent_at": 1, "now": 2, "clock_offset_ms": 1.5}
    alike = [writes_alike(message) for message in messages]
    sent = [messages, [], alike]
    written = [encoder.encode(each, **head) for each in sent]
    answers = ask(folder, "frame_batch", written)
    origin = Origin("porch", None, None, {"site": "home"})
    for each, answer in zip(sent, answers, strict=True):
        assert [from_record(frame, origin) for frame in answer["value"]["frames"]] == each
        assert answer["value"]["sequence"] == 7
    assert [bytes.fromhex(answer["again"]) for answer in answers[1:]] == written[1:]


def test_events_are_the_same_to_avro_python3(folder: Path) -> None:
    for name in ("presence", "event"):
        messages = [writes_alike(message) for _, message in release_schemas.events(name)]
        written = [encode_event(message) for message in messages]
        for data, answer in zip(written, ask(folder, name, written), strict=True):
            assert bytes.fromhex(answer["again"]) == data
            assert answer["value"]["id"] == (decode_event(data).get("id") or "")


CONTAINER = r"""
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import avro.datafile, avro.io
with avro.datafile.DataFileReader(open(sys.argv[2], "rb"), avro.io.DatumReader()) as reader:
    for value in reader:
        print(json.dumps(value, default=lambda value: value.hex()))
"""


def test_what_export_writes_is_a_container_file_to_avro_python3(
    folder: Path, tmp_path: Path
) -> None:
    every = bytes(range(256))
    records = [
        Record(
            "a.frames", 2, 7, 1_772_470_800_123, b"\x02\0k", every, [("o", b"\xff"), ("n", None)]
        ),
        Record("a.frames", 0, 9, None, None, None, []),
    ]
    dump.write(tmp_path / "a.avro", records)
    command = [sys.executable, "-c", CONTAINER, str(folder), str(tmp_path / "a.avro")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {
        "topic": "a.frames", "partition": 2, "offset": 7, "time": 1_772_470_800_123,
        "key": "02006b", "value": every.hex(),
        "headers": [{"name": "o", "value": "ff"}, {"name": "n", "value": None}],
    }  # fmt: skip
    assert (second["key"], second["value"], second["time"], second["headers"]) == (
        None, None, None, [],
    )  # fmt: skip
