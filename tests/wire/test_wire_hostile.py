"""Bytes from anywhere: a WireError that says what is wrong, never a crash, a hang or a flood."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire import BatchDecoder, BatchEncoder, decode_batch, decode_event, encode_event
from datastalker.wire.frames import BATCH as BATCH_CODEC
from datastalker.wire.frames import Origin, from_record
from datastalker.wire.framing import Framing, Writer, single_object_prefix
from datastalker.wire.primitives import write_long
from infra import release_schemas

PREFIX = single_object_prefix("frame_batch")
ENCODER = BatchEncoder("porch", "s", labels={"a": "b"})
BATCH = ENCODER.encode(release_schemas.frames(), sequence=1, sent_at=2, now=3)
HEARTBEAT = ENCODER.encode([], sequence=1, sent_at=2, now=3)
EVENT = encode_event(Message(type="alert", timestamp=1, id="x", names=["a"], raw=b"\0", n=1.5))


class Foreign(Framing):
    """Another schema than the current one."""

    def __init__(self, **changes: Any) -> None:
        current = schemas.current("frame_batch")
        fields = [
            *current["fields"],
            {"name": "more", "type": changes.get("more", "string"), "default": ""},
        ]
        self._writer = Writer({**current, "fields": fields})

    def prefix(self, name: str, topic: str) -> bytes:
        return b""

    def writer(self, data: bytes) -> tuple[Writer, int]:
        return self._writer, 0


READERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "batch": (BATCH, decode_batch),
    "heartbeat": (HEARTBEAT, decode_batch),
    "event": (EVENT, decode_event),
    "another version": (BATCH[10:] + b"\2x", BatchDecoder(Foreign()).decode),
}
every_reader = pytest.mark.parametrize("name", READERS)


def attempt(read: Callable[[bytes], Any], data: bytes) -> str | None:
    """What is said about bytes; None if they were read."""
    try:
        read(data)
    except WireError as error:
        return str(error)
    return None


@every_reader
def test_whatever_is_cut_short_is_told(name: str) -> None:
    whole, read = READERS[name]
    assert attempt(read, whole) is None
    for size in range(len(whole)):
        assert attempt(read, whole[:size])


@every_reader
def test_what_follows_the_end_is_told(name: str) -> None:
    whole, read = READERS[name]
    said = attempt(read, whole + b"\0")
    assert said is not None
    assert "1 bytes follow" in said


@every_reader
def test_changed_bytes_give_messages_or_an_error(name: str) -> None:
    whole, read = READERS[name]
    rng = random.Random(802_11)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
            elif kind == 1:
                del data[at : at + rng.randint(1, 9)]
                data += b"\0" * (not data)
            else:
                data[at:at] = rng.randbytes(rng.randint(1, 9))
        attempt(read, bytes(data))


@every_reader
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_gives_messages_or_an_error(name: str, garbage: bytes, framed: bool) -> None:
    whole, read = READERS[name]
    attempt(read, whole[:10] + garbage if framed else garbage)


def plainly(data: bytes) -> list[Message]:
    """Messages of a batch by the codec and `from_record` alone."""
    record, end = BATCH_CODEC.read(data, 10)
    if end != len(data):
        raise WireError("more follows")
    origin = Origin(record["sensor"], record["interface"], record["file"], record["labels"])
    return [from_record(frame, origin) for frame in record["frames"]]


def exactly(messages: list[Message]) -> list[list[str]]:
    return [sorted(map(repr, message.items())) for message in messages]


def test_what_is_remembered_never_makes_a_difference() -> None:
    decoder, rng = BatchDecoder(), random.Random(1)
    seeds = [ENCODER.encode([m], sequence=1, sent_at=2, now=3) for m in release_schemas.frames()]
    read = 0
    for _ in range(6000):
        data = bytearray(rng.choice(seeds))
        at = rng.randrange(10, len(data))
        data[at : at + 1] = rng.choice(
            (bytes([data[at] ^ 1 << rng.randrange(8)]), rng.randbytes(6))
        )
        raw = bytes(data)
        said = attempt(plainly, raw)
        assert (attempt(decoder.decode, raw) is None) == (said is None)
        if said is None:
            read += 1
            assert exactly(decoder.decode(raw).messages) == exactly(plainly(raw))
    assert read > 500


@pytest.mark.parametrize("count", [1 << 60, -(1 << 60), (1 << 63) - 1, -(1 << 63), 1_000_000])
@pytest.mark.parametrize("name", ["batch", "another version"])
def test_a_count_is_believed_as_far_as_bytes_follow(name: str, count: int) -> None:
    read = READERS[name][1]
    head = HEARTBEAT[10:-1]
    size = write_long(5) if count < 0 else b""
    data = (PREFIX if name == "batch" else b"") + head + write_long(count) + size + b"\0" * 500
    tracemalloc.start()
    begin = time.process_time()
    said = attempt(read, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said
    assert peak < 2_000_000
    assert time.process_time() - begin < 2


def test_a_schema_whose_items_take_no_bytes_is_refused() -> None:
    empty = {"type": "record", "name": "Empty", "fields": []}
    for more in (
        {"type": "array", "items": "null"},
        {"type": "array", "items": empty},
        {"type": "array", "items": {"type": "fixed", "name": "Nothing", "size": 0}},
        {"type": "map", "values": {"type": "array", "items": {"type": "null"}}},
        {
            "type": "array",
            "items": {"type": "record", "name": "R", "fields": [{"name": "e", "type": empty}]},
        },
    ):
        decode = BatchDecoder(Foreign(more=more)).decode
        said = attempt(decode, HEARTBEAT[10:] + write_long(1 << 60))
        assert said == "its schema has a type whose values take no bytes"


def test_a_schema_nested_without_end_is_refused() -> None:
    more: Any = "string"
    for _ in range(500):
        more = {"type": "array", "items": more}
    assert (
        attempt(BatchDecoder(Foreign(more=more)).decode, HEARTBEAT[10:])
        == "its schema is nested too deeply"
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is nothing in it"),
        (b"{}", "it is no Avro of ours: it starts with 7b 7d"),
        (b"\0\0\0\0\7rest", "it is in the format of a schema registry (schema id 7): set schema_reg"),
        (bytes.fromhex("c3010102030405060708"), "it was written with a schema that isn't known here "
         "(fingerprint 0807060504030201): by a later version?"),
        (b"\xc3\x01\1", "it is no Avro of ours: it starts with c3 01 01"),
        (EVENT, "it holds Event, where FrameBatch belongs"),
        (PREFIX + b"\3", "the length at byte 10 is below 0"),
        (PREFIX + b"\xff" * 11, "the number at byte 10 is longer than 64 bits"),
        (PREFIX + b"\x02\xff", "the text at byte 10 is not UTF-8: invalid start byte"),
        (PREFIX + b"\xfe\xff\xff\xff\x0f", "cut short: it ends inside a value, after 15 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: bytes, said: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_batch(data)
    assert str(caught.value).startswith(said)


def test_a_batch_is_no_event() -> None:
    with pytest.raises(WireError, match="it holds FrameBatch, where Presence or Event belongs"):
        decode_event(BATCH)
