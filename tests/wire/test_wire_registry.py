"""With a schema registry: the Confluent format, read back by confluent-kafka's own deserializer."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from typing import Any

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

import schemas
from datastalker.errors import RegistryError, WireError
from datastalker.message import Message
from datastalker.options import complete, options_of
from datastalker.wire import (
    BatchDecoder,
    BatchEncoder,
    Confluent,
    SchemaRegistrySettings,
    SingleObject,
    decode_event,
    encode_event,
    framing_of,
)
from datastalker.wire.frames import Origin, from_record
from infra import release_schemas
from infra.local import Registry

HEAD: dict[str, Any] = {"sequence": 4, "sent_at": 5, "now": 6, "clock_offset_ms": 0.5}


@pytest.fixture
def topic() -> str:
    return f"frames-{uuid.uuid4().hex}"


@pytest.fixture
def confluent(registry: Registry) -> Iterator[Confluent]:
    with closing(Confluent({"url": registry.url})) as framing:
        yield framing


@pytest.fixture
def client(registry: Registry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield client


def read_by_confluent(client: SchemaRegistryClient, topic: str, data: bytes) -> Any:
    return AvroDeserializer(client)(data, SerializationContext(topic, MessageField.VALUE))


def micros(value: Any) -> int:
    """A timestamp as confluent-kafka gives it, a datetime."""
    return round(value.timestamp() * 1_000_000)


def test_a_batch_is_read_by_the_deserializer_of_confluent_kafka(
    client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    encoder = BatchEncoder("porch", "s", prefix=confluent.prefix("frame_batch", topic))
    messages = release_schemas.frames()
    data = encoder.encode(messages, **HEAD)
    record = read_by_confluent(client, topic, data)
    assert (record["sensor"], record["sequence"], micros(record["now"])) == ("porch", 4, 6)
    for frame in record["frames"]:
        frame["timestamp"] = micros(frame["timestamp"])
    assert [from_record(frame, Origin("porch")) for frame in record["frames"]] == messages
    assert BatchDecoder(confluent).decode(data).messages == messages


def test_an_event_is_read_by_the_deserializer_of_confluent_kafka(
    client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    message = Message(
        type="presence", timestamp=7, id="i", event="NEW", key="k", ssids=["x"], house=True
    )
    data = encode_event(message, confluent, topic)
    record = read_by_confluent(client, topic, data)
    assert (micros(record["timestamp"]), record["key"], record["ssids"]) == (7, "k", ["x"])
    assert record["extra"] == {"house": True}
    assert decode_event(data, confluent) == message


def test_a_schema_is_registered_under_its_topic_once(
    registry: Registry, client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    prefix = confluent.prefix("frame_batch", topic)
    with closing(Confluent({"url": registry.url})) as another:
        assert another.prefix("frame_batch", topic) == prefix
    version = client.get_latest_version(f"{topic}-value")
    assert prefix == b"\0" + version.schema_id.to_bytes(4, "big")
    assert json.loads(version.schema.schema_str) == schemas.current("frame_batch")


def test_what_was_written_without_a_registry_is_read_with_one(confluent: Confluent) -> None:
    message = Message(type="alert", timestamp=1, id="x")
    assert decode_event(encode_event(message), confluent) == message


def test_what_a_later_version_wrote_is_read(
    client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    later = json.loads(schemas.text("frame_batch"))
    frame = later["fields"][-1]["type"]["items"]
    frame["fields"].insert(3, {"name": "mood", "type": ["null", "string"], "default": None})
    kind = next(field for field in frame["fields"] if field["name"] == "kind")
    kind["type"]["symbols"].insert(0, "NEW_KIND")
    number = client.register_schema(f"{topic}-value", Schema(json.dumps(later), "AVRO"))
    body = BytesIO()
    fields = {"timestamp": 5, "id": "5", "length": 9, "mood": "good"}
    head = {"sensor": "s", "session": "x", **HEAD}
    written = [fields | {"kind": "NEW_KIND"}, fields | {"kind": "ACK"}]
    fastavro.schemaless_writer(body, fastavro.parse_schema(later), head | {"frames": written})
    data = b"\0" + number.to_bytes(4, "big") + body.getvalue()
    batch = BatchDecoder(confluent).decode(data)
    assert [message["kind"] for message in batch.messages] == ["RESERVED", "ACK"]
    assert [message["timestamp"] for message in batch.messages] == [5, 5]
    assert "mood" not in batch.messages[0]


def test_an_id_that_the_registry_does_not_have_is_no_message(confluent: Confluent) -> None:
    with pytest.raises(WireError, match=r"schema id 999999, which the registry at .* doesn't have"):
        BatchDecoder(confluent).decode(b"\0\0\x0f\x42\x3frest")


def test_a_schema_of_somebody_else_is_no_message(
    client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    number = client.register_schema(f"{topic}-value", Schema('"string"', "AVRO"))
    with pytest.raises(WireError, match="it holds string, where FrameBatch belongs"):
        BatchDecoder(confluent).decode(b"\0" + number.to_bytes(4, "big") + b"\2x")


def test_a_schema_that_is_not_compatible_is_refused_with_its_name(
    client: SchemaRegistryClient, confluent: Confluent, topic: str
) -> None:
    other = {**schemas.current("event"), "fields": [{"name": "must", "type": "string"}]}
    client.register_schema(f"{topic}-value", Schema(json.dumps(other), "AVRO"))
    client.set_compatibility(f"{topic}-value", "FULL")
    with pytest.raises(RegistryError, match=f"refuses schema 'event' as {topic}-value") as caught:
        confluent.prefix("event", topic)
    assert not caught.value.retriable


def test_a_registry_that_is_not_there_is_told_and_may_come_back() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    begin = time.monotonic()
    framing = Confluent({"url": url})
    for use in (
        lambda: framing.prefix("frame_batch", "t"),
        lambda: BatchDecoder(framing).decode(b"\0\0\0\0\1rest"),
    ):
        with pytest.raises(
            RegistryError, match=f"the schema registry at {url} can't be reached"
        ) as caught:
            use()
        assert caught.value.retriable
    framing.close()
    assert time.monotonic() - begin < 20


@pytest.fixture
def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """A registry that answers as it is told: its url, and {status, body}; `seen` is what it was asked."""
    told: dict[str, Any] = {
        "status": 500,
        "body": {"error_code": 50001, "message": "no"},
        "seen": [],
    }

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            told["seen"].append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(told["body"]).encode()
            self.send_response(told["status"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "retriable"), [(401, False), (422, False), (500, True), (429, True)]
)
def test_a_registry_that_refuses_says_whether_it_may_pass(
    answers: tuple[str, dict[str, Any]], status: int, retriable: bool
) -> None:
    url, told = answers
    told["status"] = status
    with (
        closing(Confluent({"url": url})) as framing,
        pytest.raises(RegistryError, match="no") as caught,
    ):
        framing.prefix("event", "t")
    assert caught.value.retriable is retriable


def test_name_and_password_are_sent(answers: tuple[str, dict[str, Any]]) -> None:
    url, told = answers
    told |= {"status": 200, "body": {"id": 258}}
    settings = {"url": url, "username": "me", "password": "a:b", "ca": None}
    with closing(Confluent(settings)) as framing:
        assert framing.prefix("event", "t") == b"\0\0\0\1\2"
    assert told["seen"][0] == "Basic bWU6YTpi"


def test_the_setting_is_checked() -> None:
    options = options_of(SchemaRegistrySettings)
    assert options is not None
    found: list[str] = []
    complete(
        options, {"url": "localhost:8081", "user": "x"}, (), lambda path, text: found.append(text)
    )
    assert len(found) == 2
    assert any("must begin with http:// or https://" in text for text in found)
    assert any("unknown option 'user', did you mean 'username'?" in text for text in found)


def test_no_setting_means_no_registry() -> None:
    assert isinstance(framing_of(None), SingleObject)
