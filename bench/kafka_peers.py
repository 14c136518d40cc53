"""Peers over Kafka, each in an environment of its own. The programs are in `bench/peers`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import schemas
from bench.frames import FOLDER
from bench.process import ROOT, MissingError, Rate
from bench.wire import _bare
from datastalker.oui import SHIPPED
from infra.whole import messages

PACKAGES = {
    "quix_app": ("quixstreams>=3,<4", "fastavro"),
    "bytewax_flow": ("bytewax[kafka]>=0.21,<1", "fastavro"),
    "faust_app": ("faust-streaming>=0.11", "aiokafka[lz4]", "fastavro"),
}


def run(program: str, servers: str, source: str, pinned: list[str], job: str) -> Rate:
    """Let a peer read a topic to its end. `job`: "whole", or "dedupe" alone.

    Raises MissingError.
    """
    python = _environment(program)
    name = f"{source}.{program}.{job}"
    _create(servers, f"{name}.in", f"{name}.out")
    if program == "quix_app":
        # Quix Streams keeps state by the key, so all have the same.
        copy(servers, records(servers, source), f"{name}.in", key="0", partition=0)
        source = f"{name}.in"
    count = messages(servers, source)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schema.json").write_text(json.dumps(_bare(schemas.current("frame_batch"))))
        shutil.copy(SHIPPED, Path(folder, "oui.txt.gz"))
        script = ROOT / "bench" / "peers" / f"{program}.py"
        arguments = [servers, source, f"{name}.out", str(count), folder, job]
        command = [*pinned, str(python), "-W", "ignore", str(script), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            raise MissingError("it did not finish within two minutes") from None
    try:
        return Rate(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError) as error:
        raise MissingError(
            f"it failed ({done.returncode}): {(done.stderr or done.stdout)[-300:]}"
        ) from error


def _environment(program: str) -> Path:
    """The Python of the environment that has the program's packages, which is made at first."""
    folder = FOLDER / f"venv-{program}"
    python, ready = folder / "bin" / "python", folder / "ready"
    packages = PACKAGES[program]
    if not ready.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "-q", *packages]
            subprocess.run(install, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            raise MissingError(f"{packages[0]} can't be installed: {said}") from error
        ready.touch()
    return python


def records(servers: str, topic: str) -> list[Any]:
    """All Kafka messages of a topic."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    settings: dict[str, Any] = {"bootstrap.servers": servers, "group.id": "bench"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    try:
        numbers = list(consumer.list_topics(topic, timeout=15).topics[topic].partitions)
        places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
        wanted = sum(consumer.get_watermark_offsets(place, timeout=15)[1] for place in places)
        consumer.assign(places)
        found: list[Any] = []
        while len(found) < wanted:
            read = consumer.consume(1000, 10)
            if not read:
                raise MissingError(f"{topic} ended after {len(found)} of {wanted} messages")
            found += [message for message in read if not message.error()]
        return found
    finally:
        consumer.close()


def copy(servers: str, of: list[Any], target: str, **instead: Any) -> None:
    """Publish messages once more. `instead`: the key or the partition that all get."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20})
    for message in of:
        place = {"key": message.key(), "partition": message.partition()} | instead
        producer.produce(target, message.value(), **place)
        producer.poll(0)
    producer.flush(30)


def _create(servers: str, *topics: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in topics]).values():
        made.result(30)
