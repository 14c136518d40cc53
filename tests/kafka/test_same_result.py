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
from infra.whole import capture, messages, stalk, wait_until_idle, worker

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
        capture(config)
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


def test_the_documents_are_those_of_one_process_and_reading_a_file_twice_adds_none(
    tmp_path: Path, configuration: Write, elasticsearch: Elasticsearch
) -> None:
    stalk("simulate", "--out", str(tmp_path / "air"), "--minutes", "2")
    path = f"{tmp_path}/air/sensor-hall.pcap"
    index = f"twice-{uuid.uuid4().hex[:8]}"
    sink = f'  - elasticsearch: {{hosts: ["{elasticsearch.url}"], index: %s, replicas: 0}}\n'
    stalk("run", "-q", "-c", str(configuration(path, "embedded", 1, sink % f"{index}-one")))
    config = configuration(path, "kafka", 1, sink % f"{index}-many")

    over_kafka(config, tmp_path / "worker.log", "elasticsearch")
    once = _documents(elasticsearch.url, f"{index}-many")
    over_kafka(config, tmp_path / "worker.log", "elasticsearch")

    assert len(once) > 10
    assert once == _documents(elasticsearch.url, f"{index}-one")
    assert _documents(elasticsearch.url, f"{index}-many") == once


def _documents(url: str, index: str) -> dict[str, Any]:
    """All documents by their ids."""

    def ask(path: str, body: dict[str, Any] | None = None) -> Any:
        asked = urllib.request.Request(
            f"{url}/{index}-*/{path}",
            b"" if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    ask("_refresh")
    found: dict[str, Any] = {}
    after: list[Any] = []
    while True:
        page = {"size": 5000, "sort": ["timestamp", "id"]} | (
            {"search_after": after} if after else {}
        )
        hits = ask("_search", page)["hits"]["hits"]
        if not hits:
            return found
        found |= {hit["_id"]: hit["_source"] for hit in hits}
        after = hits[-1]["sort"]
