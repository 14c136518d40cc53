"""Frames to bytes and back: CPU a frame, against other ways to do the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from time import process_time
from typing import Any

import schemas
from bench.frames import big
from capture_agent.capture_file import open_capture
from capture_agent.frame import FrameParser
from datastalker.message import Message
from datastalker.wire import BatchDecoder, BatchEncoder
from datastalker.wire.frames import Origin, from_record, to_record

COUNT, SIZE, TIMES = 100_000, 200, 5
ORIGIN = Origin("porch", None, "big.pcap")
HEAD: dict[str, Any] = {"sequence": 1, "sent_at": 1, "now": 1, "clock_offset_ms": None}


def table() -> str:
    path, _, what = big()
    batches = list(_batches(str(path)))
    rows = [("JSON (standard library)", *_json(batches))]
    try:
        rows += _fastavro(batches)
    except ImportError:
        rows.append(("fastavro is not installed", 0.0, 0.0, 0.0))
    ours = _ours(batches)
    rows.append(("DataStalker", *ours))
    lines = [
        f"### On the wire\n\n{COUNT:,} of {what}, {SIZE} a batch; messages in, messages out.\n"
    ]
    lines += [
        "| | encode, µs a frame | decode, µs a frame | bytes a frame |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {encode:.1f} | {decode:.1f} | {size:.0f} |"
        for name, encode, decode, size in rows
    ]
    return "\n".join(lines)


def _batches(path: str) -> Iterator[list[Message]]:
    """Messages of the first frames, in batches as an agent sends them."""
    messages: list[Message] = []
    with open(path, "rb", buffering=0) as stream:
        parser = None
        for interface, records in open_capture(stream, path):
            template = {"sensor": ORIGIN.sensor, "file": ORIGIN.file}
            parser = parser or FrameParser(
                interface.link_type, template, False, "0123456789abcdef", numbered=True
            )
            messages += parser.parse(records, len(messages) + 1)
            if len(messages) >= COUNT:
                break
    for start in range(0, COUNT, SIZE):
        yield messages[start : start + SIZE]


def _measure(batches: list[Any], make: Callable[[], Callable[[Any], Any]]) -> float:
    """Microseconds a frame of a function over all batches, the best of several runs."""
    best = float("inf")
    for _ in range(TIMES):
        function = make()
        begin = process_time()
        for batch in batches:
            function(batch)
        best = min(best, process_time() - begin)
    return best / COUNT * 1e6


def _both(
    batches: list[list[Message]],
    encoder: Callable[[], Callable[[Any], bytes]],
    decoder: Callable[[], Callable[[Any], list[Message]]],
) -> tuple[float, float, float]:
    function = encoder()
    written = [function(batch) for batch in batches]
    read = decoder()
    assert all(read(data) == batch for data, batch in zip(written, batches, strict=True))
    size = sum(map(len, written)) / COUNT
    return _measure(batches, encoder), _measure(written, decoder), size


def _json(batches: list[list[Message]]) -> tuple[float, float, float]:
    def encode(batch: list[Message]) -> bytes:
        return json.dumps(batch, separators=(",", ":")).encode()

    return _both(
        batches, lambda: encode, lambda: lambda data: [Message(m) for m in json.loads(data)]
    )


def _ours(batches: list[list[Message]]) -> tuple[float, float, float]:
    def encoder() -> Callable[[Any], bytes]:
        made = BatchEncoder(ORIGIN.sensor, "s", file=ORIGIN.file)
        return lambda batch: made.encode(batch, **HEAD)

    def decoder() -> Callable[[Any], list[Message]]:
        made = BatchDecoder()
        return lambda data: made.decode(data).messages

    return _both(batches, encoder, decoder)


def _fastavro(batches: list[list[Message]]) -> list[tuple[str, float, float, float]]:
    from fastavro import parse_schema, schemaless_reader, schemaless_writer

    schema: Any = parse_schema(_bare(schemas.current("frame_batch")))
    head = {**HEAD, **ORIGIN._asdict(), "session": "s"}

    def write(records: list[dict[str, Any]]) -> bytes:
        out = BytesIO()
        schemaless_writer(out, schema, {**head, "frames": records})
        return out.getvalue()

    def read(data: bytes) -> Any:
        return schemaless_reader(BytesIO(data), schema, None)

    records = [[to_record(message, ORIGIN) for message in batch] for batch in batches]
    written = list(map(write, records))
    alone = _measure(records, lambda: write), _measure(written, lambda: read)
    whole = _both(
        batches,
        lambda: lambda batch: write([to_record(message, ORIGIN) for message in batch]),
        lambda: lambda data: [from_record(frame, ORIGIN) for frame in read(data)["frames"]],
    )
    return [
        ("fastavro, and messages made records and back", *whole),
        ("fastavro alone, from records to records", *alone, whole[2]),
    ]


def _bare(schema: Any) -> Any:
    """Without logical types, which would make a datetime of every time."""
    if isinstance(schema, dict):
        return {key: _bare(part) for key, part in schema.items() if key != "logicalType"}
    return [_bare(part) for part in schema] if isinstance(schema, list) else schema
