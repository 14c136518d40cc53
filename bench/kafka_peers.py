"""Quix Streams at the worker's job, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import schemas
from bench.frames import FOLDER
from bench.process import MissingError
from bench.wire import _bare

_SCRIPT = """\
import json, sys, time
from io import BytesIO
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from quixstreams import Application

servers, source, sink, count, state_dir, schema_file = sys.argv[1:]
schema = parse_schema(json.load(open(schema_file)))
app = Application(broker_address=servers, consumer_group=sink, auto_offset_reset="earliest",
                  state_dir=state_dir, use_changelog_topics=True, loglevel="ERROR")
marks = []
frames = kept_frames = seen = 0

def handle(value, state):
    global frames, kept_frames, seen
    if not marks:
        marks.append((time.perf_counter(), time.process_time()))
    batch = schemaless_reader(BytesIO(value[10:]), schema, None)
    kept = []
    for frame in batch["frames"]:
        frames += 1
        if frame["seq"] is not None:
            key = "|".join(str(frame[name]) for name in KEY)
            before, now = state.get(key), frame["timestamp"]
            if before is not None and abs(now - before) <= 2_000_000:
                continue
            state.set(key, now)
        kept.append(frame)
    kept_frames += len(kept)
    out = None
    if kept:
        stream = BytesIO()
        schemaless_writer(stream, schema, {**batch, "frames": kept})
        out = value[:10] + stream.getvalue()
    seen += 1
    if seen == int(count):
        marks.append((time.perf_counter(), time.process_time()))
        app.stop()
    return out

KEY = "ta", "ra", "kind", "seq", "frag", "retry", "length"
sdf = app.dataframe(app.topic(source, value_deserializer="bytes"))
sdf = sdf.apply(handle, stateful=True).filter(lambda value: value is not None)
sdf.to_topic(app.topic(sink, value_serializer="bytes"))
app.run(timeout=60)
(t0, c0), (t1, c1) = marks
print(json.dumps({"wall": t1 - t0, "cpu": c1 - c0, "frames": frames, "kept": kept_frames}))
"""


def quix(servers: str, source: str, pinned: list[str]) -> tuple[int, float, float]:
    """Decode, dedupe, encode with its state store and changelog: frames, wall and CPU seconds.

    Raises MissingError.
    """
    python = _environment()
    keyed = f"{source}.keyed"
    count = _with_keys(servers, source, keyed)
    with tempfile.TemporaryDirectory() as folder:
        script, schema = Path(folder, "job.py"), Path(folder, "schema.json")
        script.write_text(_SCRIPT)
        schema.write_text(json.dumps(_bare(schemas.current("frame_batch"))))
        arguments = [servers, keyed, f"{keyed}.out", str(count), f"{folder}/state", str(schema)]
        try:
            done = subprocess.run(
                [*pinned, str(python), "-W", "ignore", str(script), *arguments],
                capture_output=True,
                text=True,
                timeout=120,
            )
            found = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
            said = done.stderr[-300:] if "done" in locals() else error
            raise MissingError(f"Quix Streams failed: {said}") from error
    return found["frames"], found["wall"], found["cpu"]


def _environment() -> Path:
    folder = FOLDER / "venv-quix"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        if subprocess.run(
            [str(python), "-c", "import quixstreams"], capture_output=True
        ).returncode:
            install = [str(python), "-m", "pip", "install", "-q", "quixstreams>=3,<4", "fastavro"]
            subprocess.run(install, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError("Quix Streams can't be installed") from error
    return python


def values(servers: str, topic: str) -> list[bytes]:
    """All Kafka messages of a topic."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    settings: dict[str, Any] = {"bootstrap.servers": servers, "group.id": "bench"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    try:
        numbers = list(consumer.list_topics(topic, timeout=15).topics[topic].partitions)
        places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
        wanted = sum(consumer.get_watermark_offsets(place, timeout=15)[1] for place in places)
        consumer.assign(places)
        found: list[bytes] = []
        while len(found) < wanted:
            messages = consumer.consume(1000, 10)
            if not messages:
                raise MissingError(f"{topic} ended after {len(found)} of {wanted} messages")
            found += [message.value() for message in messages if not message.error()]
        return found
    finally:
        consumer.close()


def _with_keys(servers: str, source: str, target: str) -> int:
    """Copy with the transmitter as key, which is what Quix keeps state by; heartbeats left out."""
    from confluent_kafka import Producer

    from datastalker.wire import decode_batch

    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20})
    count = 0
    for value in values(servers, source):
        for message in islice(decode_batch(value).messages, 1):
            key = str(message.get("ta") or message.get("ra") or "none")
            producer.produce(target, value, key=key, partition=0)
            producer.poll(0)
            count += 1
    producer.flush(30)
    return count
