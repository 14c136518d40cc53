"""With `pseudonymise` in the agent no address and no network's name is on the wire: the bytes say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastalker import config as configuration
from datastalker.message import Message
from datastalker.segments import sensors_topic
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from datastalker.wire import BatchDecoder, decode_batch
from datastalker.wire.encoder import BatchEncoder
from infra.local import Kafka

Make = Callable[..., Any]
KEY = "0123456789abcdef0123456789abcdef"
NOBODY = {"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}
NAMES = ("ssid", "wps_device_name", "wps_uuid")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of a household, as one sensor hears it."""
    folder = tmp_path_factory.mktemp("sample")
    write_scene(Options(minutes=60, sensors=1), folder)
    (capture,) = folder.glob("sensor-*.pcap")
    return capture


def forms(address: str) -> Iterator[bytes]:
    """An address as it may stand among bytes."""
    digits = address.replace(":", "")
    yield bytes.fromhex(digits)
    for text in (address, address.replace(":", "-"), digits):
        yield text.encode()
        yield text.upper().encode()
    yield f"{digits[:4]}.{digits[4:8]}.{digits[8:]}".encode()


def secrets(frames: list[Message]) -> dict[str, list[bytes]]:
    """All that a capture says of whose it is: addresses and names, and how each may be written."""
    addresses = {frame[key] for frame in frames for key in ("ta", "ra", "sa", "da", "bssid")}
    names = {frame[key] for frame in frames for key in NAMES}
    assert len(addresses) > 20
    assert len(names) > 5
    return {
        **{address: list(forms(address)) for address in addresses - NOBODY - {None}},
        **{name: [name.encode(), name.encode().hex().encode()] for name in names - {None, ""}},
    }


def on_the_wire(node: Any) -> bytes:
    """Every byte of every topic that the agent writes: keys, values, headers."""
    topics = [node.frames, f"{node.name}.presence", f"{node.name}.alert"]
    topics.append(sensors_topic(configuration.load(str(node.file))).name)
    parts: list[bytes] = []
    for topic in topics:
        for messages in node.read(topic).values():
            for message in messages:
                headers = [part for pair in message.headers() or () for part in pair]
                for part in (message.key(), message.value(), *headers):
                    parts.append(part.encode() if isinstance(part, str) else part or b"")
    return b"\n".join(parts)


def found(wire: bytes, said: dict[str, list[bytes]]) -> set[str]:
    return {what for what, written in said.items() if any(form in wire for form in written)}


def make(make_node: Make, kafka: Kafka, sample: Path, stages: list[Any]) -> Any:
    topics = {"presence": "presence", "alert": "alert"}
    node = make_node(kafka, 0, stages=[*stages, "presence"], topics=topics)
    node.source = {"pcap": {"path": str(sample)}}
    node.ready()
    assert node.run().code == 0
    return node


def test_no_address_and_no_name_of_the_sample_is_in_any_topic(
    kafka: Kafka, make_node: Make, sample: Path
) -> None:
    plain = make(make_node, kafka, sample, [])
    said = secrets(plain.published())

    node = make(make_node, kafka, sample, [{"pseudonymise": {"key": KEY}}])

    assert found(on_the_wire(plain), said) == set(said)  # it is looked for in the right way
    assert found(on_the_wire(node), said) == set()
    assert KEY.encode() not in on_the_wire(node)
    before, after = plain.published(), node.published()
    assert len(before) == len(after)
    assert len({f["ta"] for f in after}) == len({f["ta"] for f in before})
    assert {m["event"] for m in node.events("presence")} == {"NEW", "ACTIVE", "ABSENT"}


def test_names_are_there_where_they_are_kept_and_addresses_are_not(
    kafka: Kafka, make_node: Make, sample: Path
) -> None:
    stage = {"pseudonymise": {"key": KEY, "keep_ssids": True}}

    node = make(make_node, kafka, sample, [stage])

    said = secrets(make(make_node, kafka, sample, []).published())
    names = {frame["ssid"] for frame in node.published()} - {None, ""}
    assert len(names) > 3
    assert found(on_the_wire(node), said) == names


def test_in_a_worker_what_was_changed_is_not_passed_on_by_the_bytes_it_was_read_from(
    sample: Path,
) -> None:
    """A worker sends what it read by its old bytes, if nobody changed it."""
    text = f"pipeline:\n- pcap: {{path: '{sample}'}}\n- pseudonymise: {{key: '{KEY}'}}\n"
    pipeline = configuration.build(configuration.parse(text, "c.yaml"))
    assert pipeline.source is not None
    frames = [frame for batch in pipeline.source.run() for frame in batch]
    said = secrets(frames)
    head = {"sequence": 0, "sent_at": 0, "now": 0}
    read = BatchEncoder("porch", "s").encode(frames, **head)
    assert found(read, said) == set(said)
    decoder = BatchDecoder(to_pass_on=True)
    out = BatchEncoder("worker", "w", to_pass_on=True)

    same = out.encode(decoder.decode(read).messages, **head)
    assert found(same, said) == set(said)
    batch = decoder.decode(read).messages
    hidden = out.encode(pipeline.feed(batch), **head)

    assert len(decode_batch(hidden).messages) == len(frames)
    assert found(hidden, said) == set()
