"""Agents: CPU from a capture file to Kafka, all delivered, the whole process. `python -m bench.agent`."""

from __future__ import annotations

import sys
import tempfile
import uuid
from pathlib import Path

import yaml

from bench import frames
from bench.process import best
from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.segments import topic_plans
from infra.local import Stack


def table(times: int = 3) -> str:
    """µs of CPU a frame with 1 and 4 partitions: the best of several runs, start and end included."""
    path, count, what = frames.big()
    lines = [f"Agent: {what}, to Kafka, all delivered", ""]
    lines += [
        "| partitions | µs CPU a frame | frames/s (wall) | MiB |",
        "| --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.kafka.start()
            for partitions in (1, 4):
                file = _configure(Path(folder), stack.kafka.bootstrap_servers, path, partitions)
                command = [sys.executable, "-m", "capture_agent", "-q", "-c", str(file)]
                cost = best(command, times)
                each, rate = cost.cpu / count * 1e6, count / cost.wall
                lines.append(f"| {partitions} | {each:.1f} | {rate:,.0f} | {cost.rss:.0f} |")
        finally:
            stack.stop(wipe=True)
    return "\n".join(lines)


def _configure(folder: Path, servers: str, capture: Path, partitions: int) -> Path:
    """A configuration with topics of its own, which are made."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    document = {
        "name": name,
        "kafka": {"bootstrap_servers": servers, "partitions": partitions},
        "pipeline": [{"pcap": {"path": str(capture)}}, {"topic": f"{name}.frames"}],
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    config = configuration.load(str(file))
    with connect(config) as broker:
        for plan in topic_plans(config):
            broker.create(plan)
    return file


if __name__ == "__main__":
    print(table())
