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
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from datastalker import extras
from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError, InputError, OutputError
from datastalker.record import Record
from datastalker.topics import client_settings

if TYPE_CHECKING:
    from datastalker.config import Config

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "KafkaMessage",
    "namespace": "datastalker",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": "long"},
        {"name": "time", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
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
_FLUSH_SECONDS = 60.0
_BYTES = ("key", "value")


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
    if path.exists() and not replace:
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
        part.unlink(missing_ok=True)
    return count


def read(path: Path) -> Iterator[Record]:
    """The records of a file. Raises InputError, with the place where it is damaged."""
    count = 0
    try:
        with _open(path, "rb") as handle:
            for told in _avro(handle) if form(path) == "avro" else map(json.loads, handle):
                count += 1
                yield _record(told, form(path))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except InputError:
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
    headers = [(each["name"], each["value"]) for each in told["headers"]]
    if kind == "jsonl":
        told |= {name: _bytes(told[name]) for name in _BYTES}
        headers = [(name, _bytes(value)) for name, value in headers]
    elif told["time"] is not None:
        told["time"] = round(told["time"].timestamp() * 1000)
    return Record(**{**told, "headers": headers})


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _open(path: Path, mode: str) -> Any:
    """Packed or not, by the name, or by that of what it is a part of."""
    packed = path.name.removesuffix(".part").endswith(".gz")
    return gzip.open(path, mode) if packed else path.open(mode)


def publish(
    config: Config,
    topic: str,
    records: Callable[[], Iterable[Record]],
    turn: Callable[[int], None] = lambda count: None,
) -> int:
    """Put records into a topic, each into its partition with its time; gives how many.

    Raises BrokerError where the topic isn't there or has too few partitions.
    """
    from confluent_kafka import Producer

    highest = max((record.partition for record in records()), default=-1)
    with connect(config) as broker:
        there = broker.describe([topic]).get(topic)
    if there is None or there.partitions <= highest:
        has = "is not there" if there is None else f"has {there.partitions} partitions"
        text = f"'{topic}' {has}, and the file's messages need {highest + 1}; make it with "
        text += f"kafka-topics --create --topic {topic} --partitions {highest + 1}, or by a "
        raise BrokerError(text + "configuration and stalk topics apply", retriable=False)
    faults, errors = Faults(config.kafka, config.file), []
    producer = Producer(
        {
            **client_settings(config.kafka),
            **faults.settings,
            "acks": "all",
            "enable.idempotence": True,
            "message.max.bytes": 64 << 20,
        }
    )

    def told(error: Any, _: Any) -> None:
        if error is not None:
            errors.append(error)

    count = 0
    for record in records():
        settings: dict[str, Any] = {"on_delivery": told, "headers": record.headers}
        if record.time is not None:
            settings["timestamp"] = record.time
        while True:
            try:
                producer.produce(topic, record.value, record.key, record.partition, **settings)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        count += 1
        turn(count)
        if errors:
            break
    if not errors and producer.flush(_FLUSH_SECONDS):
        raise faults.explain(_FLUSH_SECONDS)
    if errors:
        raise faults.refused(errors[0], topic, "publishing")
    return count
