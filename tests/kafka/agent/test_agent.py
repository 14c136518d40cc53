"""`stalk capture`: what is in the topics afterwards, on a real broker."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from infra.local import Kafka

Make = Callable[..., Any]


def test_what_is_published_is_what_an_embedded_run_hands_over(
    kafka: Kafka, make_node: Make
) -> None:
    stages = [{"oui": {"fields": ["ta"]}}, {"strip": {"keys": ["tsf"]}}]
    node = make_node(
        kafka, stages=stages, settings={"labels": {"site": "home", "floor": 1}}
    ).ready()

    said = node.run()

    assert said.code == 0
    assert node.published() == node.embedded()
    assert said.balance["published"] == len(node.embedded())
    assert node.published()[0]["labels"] == {"site": "home", "floor": "1"}


def test_all_of_a_transmitter_is_in_the_partition_that_kafka_gives_its_address(
    kafka: Kafka, make_node: Make
) -> None:
    node = make_node(kafka, partitions=5).ready()
    beside = make_node(kafka, partitions=5).ready()

    assert node.run().code == 0

    where: dict[str, set[int]] = {}
    for number, batches in node.batches().items():
        for batch in batches:
            for frame in batch.messages:
                where.setdefault(frame["ta"] or frame["ra"], set()).add(number)
    assert len(where) == make_node.stations
    assert {len(partitions) for partitions in where.values()} == {1}
    assert len(set().union(*where.values())) == 4  # of 5
    told: dict[str, set[int]] = {}
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2_random"}
    )
    for address in where:
        key = bytes.fromhex(address.replace(":", ""))
        producer.produce(
            beside.frames,
            b"",
            key,
            on_delivery=lambda error, m, a=address: told.update({a: {m.partition()}}),
        )
    assert producer.flush(60) == 0
    assert told == where


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_capture_file_fills_the_topic_with_the_same_each_time(
    kafka: Kafka, make_node: Make, partitions: int
) -> None:
    """Heartbeats stand in the same places, for they go by the file's own time."""
    runs = []
    for _ in range(2):
        node = make_node(kafka, 5000, partitions=partitions).ready(batch_frames=100)
        assert node.run().code == 0
        runs.append(
            {
                number: [(b.sequence, b.now, b.sensor, b.messages) for b in batches]
                for number, batches in node.batches().items()
            }
        )

    assert runs[0] == runs[1]
    assert (
        sum(not messages for batch in runs[0].values() for _, _, _, messages in batch)
        >= 4 * partitions
    )


def test_batches_are_full_numbered_from_0_and_end_with_a_heartbeat(
    kafka: Kafka, make_node: Make
) -> None:
    node = make_node(kafka).ready(batch_frames=50, heartbeat_seconds=1000)

    assert node.run().code == 0

    last = node.embedded()[-1]["timestamp"]
    sessions = set()
    for batches in node.batches().values():
        sizes = [len(batch.messages) for batch in batches]
        assert set(sizes[:-2]) == {50}
        assert 0 < sizes[-2] <= 50
        assert sizes[-1] == 0
        assert [batch.sequence for batch in batches] == list(range(len(batches)))
        assert [batch.now for batch in batches[:-1]] == [
            batch.messages[-1]["timestamp"] for batch in batches[:-1]
        ]
        assert batches[-1].now == last
        sessions |= {batch.session for batch in batches}
    assert len(sessions) == 1


@pytest.mark.parametrize(("compression", "codec"), [(None, 3), ("zstd", 4), ("none", 0)])
def test_what_lies_at_the_broker_is_numbered_by_its_producer_and_compressed(
    kafka: Kafka, make_node: Make, compression: str | None, codec: int
) -> None:
    """The producer's number and sequence are what the broker tells repeats by: it is idempotent,
    which librdkafka allows with acks=all only."""
    node = make_node(kafka, 2000, partitions=1)
    at = {"bootstrap_servers": kafka.bootstrap_servers, "partitions": 1}
    node.settings = {"kafka": at | ({"compression": compression} if compression else {})}

    assert node.ready(batch_frames=50).run().code == 0

    found = list(record_batches(kafka.directory / "data" / f"{node.frames}-0"))
    # What would not get smaller, such as a heartbeat alone, is left as it is.
    assert {codec_ for codec_, *_, size in found if codec_ or size > 300} == {codec}
    (producer,) = {producer for _, producer, *_ in found}
    assert producer >= 0
    due = 0
    for _, _, sequence, count, _ in found:
        assert sequence == due
        due += count
    assert due == len(node.batches()[0]) > 30


def record_batches(folder: Path) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each batch in a broker's own files: codec, producer, its first sequence, its records, bytes.

    https://kafka.apache.org/documentation/#recordbatch
    """
    (log,) = folder.glob("*.log")
    data, at = log.read_bytes(), 0
    while at + 61 <= len(data) and (length := int.from_bytes(data[at + 8 : at + 12], "big")):
        codec, _, _, _, producer, _, sequence, count = struct.unpack_from(
            ">hiqqqhii", data, at + 21
        )
        yield codec & 7, producer, sequence, count, length
        at += 12 + length


def test_every_frame_is_published_filtered_or_dropped_for_a_reason(
    kafka: Kafka, make_node: Make, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    node = make_node(
        kafka, 3000, stages=["faulty"], settings={"plugins": [str(tmp_path / "faulty.py")]}
    ).ready()

    said = node.run()

    assert said.code == 0
    assert said.balance == {
        "captured": 3000,
        "published": 2459,
        "filtered": 300,
        "dropped": 241,
        "bad_fcs": 150,
        "protocol_version": 60,
        "stage_error": 30,
        "unwritable": 1,
    }
    assert len(node.published()) == 2459
    (status,) = [s for s in node.statuses() if s["state"] == "ended"]
    assert {k: status[k] for k in ("captured", "published", "filtered", "dropped", "waiting")} == {
        **{k: said.balance[k] for k in ("captured", "published", "filtered", "dropped")},
        "waiting": 0,
    }
    assert status["dropped_bad_fcs"] == 150
    assert "can't be sent" in said.text


FAULTY = '''\
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage("faulty")
class Faulty(Stage):
    """Drops, fails, and makes what can't be sent."""
    def handle(self, message):
        number = message["frame_number"]
        if number % 10 == 1:
            return None
        if number % 100 == 2:
            raise RuntimeError("as some stages do")
        if number == 5:
            message["thing"] = object()
        return message
'''


VISITS = '''\
from datastalker.pipeline import Message, Pipeline, Stage

@Pipeline.register_stage("visits")
class Visits(Stage):
    """Makes, of some frames, a message of a type that it does not declare."""
    def handle(self, message):
        if message["frame_number"] % 10:
            return message
        return [message, Message(type="visit", timestamp=message["timestamp"], id=message["id"])]
'''


def test_a_message_of_a_type_without_a_topic_is_counted(
    kafka: Kafka, make_node: Make, tmp_path: Path
) -> None:
    (tmp_path / "visits.py").write_text(VISITS)
    settings = {"plugins": [str(tmp_path / "visits.py")]}
    node = make_node(kafka, 300, stages=["visits"], settings=settings).ready()

    said = node.run()

    assert said.code == 0
    (status,) = [s for s in node.statuses() if s["state"] == "ended"]
    assert status["events_dropped_no_topic"] == 15  # each other has a bad FCS, and is not there
    assert "messages of type 'visit' have no topic" in said.text


def test_events_of_stages_go_to_their_topic_by_their_key(kafka: Kafka, make_node: Make) -> None:
    stages = [{"presence": {"absent_after_seconds": 300}}]
    node = make_node(kafka, stages=stages, topics={"presence": "presence"}).ready()

    said = node.run()

    assert said.code == 0
    embedded = node.embedded()
    expected = [message for message in embedded if message.type == "presence"]
    assert len(expected) >= 16

    def order(message: Any) -> str:
        return json.dumps(message, sort_keys=True)

    assert sorted(node.events("presence"), key=order) == sorted(expected, key=order)
    assert node.published() == [message for message in embedded if message.type == "frame"]
    partitions = {
        m.key(): number for number, kept in node.read(f"{node.name}.presence").items() for m in kept
    }
    assert set(partitions) == {message["key"].encode() for message in expected}
    assert f"{len(expected)} events" in said.text


def test_a_pipe_is_sent_on_as_it_comes_with_heartbeats_and_a_status(
    kafka: Kafka, make_node: Make
) -> None:
    node = make_node(kafka, 0, source={"pcap": {"path": "-"}})
    node.ready(linger_ms=50, heartbeat_seconds=0.2, status_seconds=0.3)
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(make_node.header() + make_node.air(40))
    process.stdin.flush()

    until = make_node.until
    until(lambda: len(node.published()) == 38, "the frames, before the pipe ends")
    beats = until(
        lambda: [
            b for batches in node.batches().values() for b in batches if not b.messages and b.now
        ],
        "a heartbeat",
    )
    assert min(beat.now for beat in beats) >= node.published()[-1]["timestamp"]
    until(lambda: any(s["published"] == 38 for s in node.statuses()), "a status")
    later = until(
        lambda: [b.now for b in node.batches()[0] if b.now > beats[-1].now], "time to move on"
    )
    assert later[-1] - node.published()[-1]["timestamp"] < 200 * 1_000_000
    process.stdin.write(make_node.air(40, first=40))
    process.stdin.close()
    process.wait(60)

    assert process.returncode == 0
    ended = node.statuses()[-1]
    assert ended["state"] == "ended"
    assert ended["captured"] == 80
    assert ended["key"] == "porch"
    assert ended["version"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_delivers_what_was_read_and_says_how_much(
    kafka: Kafka, make_node: Make, number: signal.Signals
) -> None:
    node = make_node(kafka, 20_000)
    node.source = {"pcap": {"path": str(node.capture), "speed": 10}}  # 20 s of it
    node.ready(linger_ms=50)
    process = node.start()
    make_node.until(lambda: len(node.published()) > 100, "the first frames")

    process.send_signal(number)
    said = make_node.end(process)

    assert said.code == 0
    assert f"stopped: {number.name}" in said.text
    frames = node.published()
    assert said.balance["published"] == len(frames)
    assert 100 < len(frames) < 15_000
    whole = node.embedded()
    assert frames == whole[: len(frames)]
    assert said.balance["captured"] >= len(frames)
    assert all(not batches[-1].messages for batches in node.batches().values())


def test_what_finds_no_room_in_memory_waits_and_nothing_is_lost(
    kafka: Kafka, make_node: Make
) -> None:
    node = make_node(kafka, 20_000).ready(queue_mb=0.1, batch_frames=20)

    said = node.run()

    assert said.code == 0
    assert said.balance["published"] == len(node.published()) == len(node.embedded())


def test_batches_that_a_broker_would_not_take_are_halved(
    kafka: Kafka, make_node: Make, tmp_path: Path
) -> None:
    (tmp_path / "fat.py").write_text(FAT)
    node = make_node(
        kafka, 300, partitions=1, stages=["fat"], settings={"plugins": [str(tmp_path / "fat.py")]}
    ).ready()

    said = node.run()

    assert said.code == 0
    assert node.published() == node.embedded()
    sizes = [len(batch.messages) for batch in node.batches()[0]]
    assert max(sizes) == 50


FAT = '''\
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage("fat")
class Fat(Stage):
    """Adds twelve thousand bytes."""
    def handle(self, message):
        message["fat"] = "x" * 12_000
        return message
'''


def test_nobody_at_the_address_is_said_within_seconds(make_node: Make, kafka: Kafka) -> None:
    node = make_node(kafka, settings={"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    node.write()
    began = time.monotonic()

    said = node.run()

    assert said.code == 1
    assert time.monotonic() - began < 20  # 10 s, and what a busy machine adds
    assert "bootstrap_servers" in said.text
    assert "127.0.0.1:1" in said.text
    assert len(said.text.strip().splitlines()) == 1


def test_a_topic_that_is_missing_is_named_and_not_made(kafka: Kafka, make_node: Make) -> None:
    node = make_node(kafka)
    node.write()

    said = node.run()

    assert said.code == 1
    assert f"topic '{node.frames}' is missing" in said.text
    assert "stalk topics apply" in said.text
    assert len(said.text.strip().splitlines()) == 1
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    assert node.frames not in admin.list_topics(timeout=30).topics


def test_a_file_that_can_t_be_read_ends_it_with_one_sentence(kafka: Kafka, make_node: Make) -> None:
    node = make_node(kafka).ready()
    os.unlink(node.capture)

    said = node.run()

    assert said.code == 1
    assert "there is no such file" in said.text
    assert "Traceback" not in said.text


def test_a_topic_of_another_key_is_partitioned_by_that(kafka: Kafka, make_node: Make) -> None:
    node = make_node(kafka, partitions=4)
    node.settings = {"topics": {node.frames: {"key": "kind"}}}
    node.ready()

    assert node.run().code == 0

    kinds = [
        Counter(f["kind"] for batch in batches for f in batch.messages)
        for batches in node.batches().values()
    ]
    every = [kind for found in kinds for kind in found]
    assert sorted(every) == ["ACK", "BEACON", "DATA"]
    assert node.published() == node.embedded()
