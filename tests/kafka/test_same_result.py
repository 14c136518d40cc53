"""One YAML gives the same rows in one process and as processes over a real broker."""

from __future__ import annotations

import csv
import json
import os
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastalker.config import load
from infra.local import Elasticsearch, Kafka
from infra.whole import messages, stalk, wait_until_idle, worker

CAPTURES = Path(
    os.environ.get("DATASTALKER_CAPTURES", Path(__file__).parents[3] / "shared/captures")
)
LARGE = CAPTURES / "neildalal_WPA3-Attacks-IDS__auth_25.pcapng"

PIPELINE = """\
name: {name}
labels: {{site: home}}
kafka: {{bootstrap_servers: "{kafka}", partitions: {partitions}}}
workers: {{http_port: 0}}
topics: {{"{name}.frames": {{partitions: {partitions}}}}}
pipeline:
  - pcap: {{path: "{path}"}}
  - topic: {name}.frames
  - dedupe: {{window_seconds: 2, mode: {mode}}}
  - beacon_filter
  - oui
  - moving_average
  - presence: {{absent_after_seconds: 60}}
  - topic: {{frame: {name}.decorated, presence: {name}.presence}}
  - csv: {{directory: {out}}}
"""

Write = Callable[..., Path]


@pytest.fixture
def configuration(tmp_path: Path, kafka: Kafka) -> Write:
    name = f"same-{uuid.uuid4().hex[:8]}"

    def write(path: str, out: str, partitions: int, more: str = "", mode: str = "first") -> Path:
        text = PIPELINE.format(
            name=name, kafka=kafka.bootstrap_servers, path=path, out=tmp_path / out,
            partitions=partitions, mode=mode,
        )  # fmt: skip
        (tmp_path / "config.yaml").write_text(text + more)
        return tmp_path / "config.yaml"

    return write


def rows(folder: Path, kind: str) -> Counter[tuple[tuple[str, Any], ...]]:
    """The rows of all CSV files of a type, in no order."""
    found: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for path in folder.glob(f"{kind}-*.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            found.update(tuple(row.items()) for row in csv.DictReader(handle))
    return found


def over_kafka(config: Path, log: Path, sink: str) -> None:
    """Run agent, worker and a sink, each to the end of what there is."""
    settings = load(str(config))
    servers, topic = settings.kafka["bootstrap_servers"], f"{settings.settings['name']}.frames"
    stalk("topics", "apply", "-c", str(config))
    before = messages(servers, topic)
    with worker(config, log) as address:
        stalk("capture", "-q", "-c", str(config))
        wait_until_idle(address, messages(servers, topic) - before)
    stalk("sink", sink, "--drain", "-c", str(config))


@pytest.mark.parametrize(("partitions", "mode"), [(1, "first"), (3, "first"), (3, "merge")])
def test_the_rows_are_the_same_in_one_process_and_over_kafka(
    tmp_path: Path, configuration: Write, partitions: int, mode: str
) -> None:
    stalk("simulate", "--out", str(tmp_path / "air"), "--minutes", "5", "--attack")
    path = f"{tmp_path}/air/sensor-*.pcap"
    stalk("run", "-q", "-c", str(configuration(path, "embedded", partitions, mode=mode)))

    over_kafka(configuration(path, "kafka", partitions, mode=mode), tmp_path / "worker.log", "csv")

    for kind in ("frame", "presence"):
        one, other = rows(tmp_path / "embedded", kind), rows(tmp_path / "kafka", kind)
        assert sum(one.values()) > 10
        assert one - other == Counter()
        assert other - one == Counter()


@pytest.mark.skipif(not LARGE.exists(), reason=f"no captures in {CAPTURES}")
def test_a_large_real_capture_gives_the_same_rows_too(tmp_path: Path, configuration: Write) -> None:
    stalk("run", "-q", "-c", str(configuration(str(LARGE), "embedded", 2)))

    over_kafka(configuration(str(LARGE), "kafka", 2), tmp_path / "worker.log", "csv")

    for kind in ("frame", "presence"):
        one, other = rows(tmp_path / "embedded", kind), rows(tmp_path / "kafka", kind)
        assert sum(one.values()) > 10
        assert (one - other, other - one) == (Counter(), Counter())


def test_reading_a_file_twice_adds_no_document(
    tmp_path: Path, configuration: Write, elasticsearch: Elasticsearch
) -> None:
    stalk("simulate", "--out", str(tmp_path / "air"), "--minutes", "2")
    path = f"{tmp_path}/air/sensor-hall.pcap"
    index = f"twice-{uuid.uuid4().hex[:8]}"
    sink = f'  - elasticsearch: {{hosts: ["{elasticsearch.url}"], index: {index}, replicas: 0}}\n'
    config = configuration(path, "out", 1, sink)

    over_kafka(config, tmp_path / "worker.log", "elasticsearch")
    once = _documents(elasticsearch.url, index)
    over_kafka(config, tmp_path / "worker.log", "elasticsearch")

    assert once > 10
    assert _documents(elasticsearch.url, index) == once


def _documents(url: str, index: str) -> int:
    def request(path: str, method: str) -> bytes:
        asked = urllib.request.Request(f"{url}/{index}-*/{path}", method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return bytes(answer.read())

    request("_refresh", "POST")
    return int(json.loads(request("_count", "GET"))["count"])
