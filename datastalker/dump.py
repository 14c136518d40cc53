"""A range of a topic as a file, and back: keys, bytes, headers, times and partitions as they were.

Two forms, by the file's name: `.avro`, an Avro object container file (any Avro tool reads it), and
`.jsonl`, a line of JSON a message with the bytes in base64. `.gz` behind either packs it.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any

from datastalker import extras
from datastalker.broker import connect
from datastalker.errors import (
    BrokerError,
    DataStalkerError,
    InputError,
    OutputError,
    RegistryError,
    WireError,
)
from datastalker.history import History
from datastalker.record import Record
from datastalker.record_writer import RecordWriter
from datastalker.segments import sensors_topic, topic_plans
from datastalker.wire import schema_name

if TYPE_CHECKING:
    from datastalker.config import Config
    from datastalker.wire import Framing

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "KafkaMessage",
    "namespace": "datastalker",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": "long"},
        # Not a timestamp-millis: whoever published may say a year that no calendar has
        {"name": "time", "type": ["null", "long"], "doc": "milliseconds since 1970"},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {
            "name": "headers",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [
                        {"name": "name", "type": "string"},
                        {"name": "value", "type": ["null", "bytes"]},
                    ],
                },
            },
        },
    ],
}
_BYTES = ("key", "value")
_MESSAGES = {"frame_batch": "batches of frames", "presence": "presence", "event": "events"}
_MOST_PARTITIONS = 1 << 20


@dataclass
class Contents:
    """What a file holds: how many Kafka messages, of which topic, for how many partitions, and
    which of `schemas.NAMES` they are written with, as far as known."""

    count: int = 0
    topic: str = ""
    partitions: int = 0
    schemas: set[str] = field(default_factory=set)


def form(path: Path) -> str:
    """avro or jsonl, by a file's name. Raises InputError."""
    name = path.name.removesuffix(".gz")
    for kind in ("avro", "jsonl"):
        if name.endswith(f".{kind}"):
            return kind
    raise InputError(f"{path}: a name that ends with .avro or .jsonl (or .avro.gz, .jsonl.gz)")


def write(path: Path, records: Iterable[Record], *, replace: bool = False) -> int:
    """Write records; gives how many. The file is there when it is whole.

    Raises OutputError where it can't be written, or is there and is not to be replaced.
    """
    kind, part = form(path), path.with_name(f".{path.name}.part")
    # Not Path.exists, which raises where a folder may not be looked into
    if os.path.exists(path) and not replace:
        raise OutputError(f"{path} is there already; --force replaces it")
    count = 0

    def told() -> Iterator[dict[str, Any]]:
        nonlocal count
        for record in records:
            count += 1
            yield _told(record)

    try:
        with _open(part, "wb") as handle:
            if kind == "avro":
                with extras.needs("export to Avro", "export"):
                    import fastavro
                fastavro.writer(handle, SCHEMA, told(), codec="deflate")
            else:
                handle.writelines(_line(message) for message in told())
        with part.open("rb") as whole:
            os.fsync(whole.fileno())
        part.rename(path)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # what was never made
            part.unlink()
    return count


def read(path: Path) -> Iterator[Record]:
    """The records of a file. Raises InputError, with the place where it is damaged."""
    count, kind = 0, form(path)
    try:
        with _open(path, "rb") as handle:
            for told in _avro(handle) if kind == "avro" else map(json.loads, handle):
                record = _record(told, kind)
                count += 1
                yield record
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except DataStalkerError:  # the package that is missing: the file is not damaged
        raise
    except Exception as error:  # of whatever damaged bytes make of a decoder
        said = str(error) or type(error).__name__
        text = f"{path} is damaged behind its message {count:,}, or cut off: {said}"
        raise InputError(text) from error


def _avro(handle: IO[bytes]) -> Iterator[Any]:
    with extras.needs("import of Avro", "export"):
        import fastavro
    reader: Iterator[Any] = fastavro.reader(handle)
    return reader


def _told(record: Record) -> dict[str, Any]:
    told = record._asdict()
    told["headers"] = [{"name": name, "value": value} for name, value in record.headers]
    return told


def _line(told: dict[str, Any]) -> bytes:
    told |= {name: _text(told[name]) for name in _BYTES}
    told["headers"] = [{**each, "value": _text(each["value"])} for each in told["headers"]]
    return json.dumps(told).encode() + b"\n"


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _record(told: dict[str, Any], kind: str) -> Record:
    """Raises ValueError and others for what is not as `write` writes it."""
    headers = [(each["name"], each["value"]) for each in told["headers"]]
    if kind == "jsonl":
        told |= {name: _bytes(told[name]) for name in _BYTES}
        headers = [(name, _bytes(value)) for name, value in headers]
    record = Record(**{**told, "headers": headers})
    texts = [record.topic, *(name for name, _ in headers)]
    numbers = [record.partition, record.offset, record.time or 0]
    data = [record.key, record.value, *(value for _, value in headers)]
    if not (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
        and all(isinstance(some, (bytes, NoneType)) for some in data)
        and 0 <= record.partition < _MOST_PARTITIONS
    ):
        raise ValueError("a value is not as export writes it")
    return record


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _open(path: Path, mode: str) -> Any:
    """Packed or not, by the name, or by that of what it is a part of."""
    packed = path.name.removesuffix(".part").endswith(".gz")
    return gzip.open(path, mode) if packed else path.open(mode)


def look(path: Path, framing: Framing | None = None) -> Contents:
    """What a file holds, read to its end. `framing`: how its messages tell their schema; None: that
    is not asked.

    Raises InputError, with the place where it is damaged.
    """
    found = Contents()
    for record in read(path):
        found.topic = found.topic or record.topic
        found.partitions = max(found.partitions, record.partition + 1)
        found.count += 1
        if framing is not None and record.value is not None:
            try:
                found.schemas.add(framing.writer(record.value)[0].name or "")
            except WireError:  # none of ours
                pass
            except RegistryError:  # it is away, and bytes can be published without it
                framing = None
    found.schemas.discard("")
    return found


def concern(config: Config, topic: str, found: Contents) -> str | None:
    """What to think of before a file is imported into a topic, in a sentence.

    Raises BrokerError where the topic isn't there or too small, or carries other messages.
    """
    _require(config, topic, found.partitions)
    named = {name for step in config.steps for name in (step.topics or {}).values()}
    cuts = [plan for plan in topic_plans(config) if plan.name in named]
    for plan in (*cuts, sensors_topic(config)):
        takes = {schema_name(kind) for kind in plan.types}
        if plan.name == topic and found.schemas - takes:
            holds = ", ".join(_MESSAGES[name] for name in sorted(found.schemas))
            text = (
                f"'{topic}' carries {', '.join(plan.types)}, and the file holds {holds}: nothing "
            )
            raise BrokerError(text + "is published; --topic names another", retriable=False)
    if topic != found.topic:
        return None
    with History(config, [topic]) as history:
        if all(low == high for low, high in history.there.values()):
            return None
    return (
        f"'{topic}' is the topic that the file was of: what still lies there will lie there twice; "
        "--topic names another"
    )


def _require(config: Config, topic: str, partitions: int) -> None:
    with connect(config) as broker:
        there = broker.describe([topic]).get(topic)
    if there is None or there.partitions < partitions:
        has = "is not there" if there is None else f"has {there.partitions} partitions"
        text = f"'{topic}' {has}, and the file's messages need {partitions}; make it with "
        text += f"kafka-topics --create --topic {topic} --partitions {partitions}, or by a "
        raise BrokerError(text + "configuration and stalk topics apply", retriable=False)


def publish(
    config: Config,
    topic: str,
    records: Iterable[Record],
    partitions: int,
    turn: Callable[[], None] = lambda: None,
) -> None:
    """Put records into a topic, each into its partition with its time. `partitions`: so many they
    need. `turn` is called for each.

    Raises BrokerError where the topic isn't there or has too few partitions; where it ends half
    way, it says how many are there.
    """
    _require(config, topic, partitions)
    writer = RecordWriter(config, topic, keep_time=True)
    try:
        for record in records:
            writer.write(record)
            turn()
        writer.flush()
    except BrokerError as error:
        text = f"{error}. Of the file's messages {writer.confirmed:,} are in '{topic}'"
        raise BrokerError(text, retriable=error.retriable) from error
