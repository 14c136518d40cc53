"""Dedupe over three simulated sensors through Kafka scores 1.0 on any number of partitions."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path

import pytest

from datastalker.simulator.score import Truth
from infra.local import Kafka
from infra.whole import messages, stalk, wait_until_idle, worker

PIPELINE = """\
name: {name}
kafka: {{bootstrap_servers: "{kafka}", partitions: {partitions}}}
workers: {{http_port: 0}}
pipeline:
  - pcap: {{path: "{air}/sensor-*.pcap"}}
  - topic: {name}.frames
  - dedupe: {{window_seconds: 2}}
  - topic: {name}.deduped
  - csv: {{directory: {out}}}
"""


@pytest.mark.parametrize("partitions", [1, 2, 12])
def test_every_transmission_passes_once(tmp_path: Path, kafka: Kafka, partitions: int) -> None:
    name = f"dedupe-{uuid.uuid4().hex[:8]}"
    air, out, config = tmp_path / "air", tmp_path / "out", tmp_path / "config.yaml"
    stalk("simulate", "--out", str(air), "--minutes", "5", "--attack")
    text = PIPELINE.format(
        name=name, kafka=kafka.bootstrap_servers, partitions=partitions, air=air, out=out
    )
    config.write_text(text)
    stalk("topics", "apply", "-c", str(config))
    with worker(config, tmp_path / "worker.log") as address:
        stalk("capture", "-q", "-c", str(config))
        wait_until_idle(address, messages(kafka.bootstrap_servers, f"{name}.frames"))
    stalk("sink", "csv", "--drain", "-c", str(config))

    rows = []
    for path in out.glob("frame-*.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            rows += [row for row in csv.DictReader(handle) if row["seq"]]
    score = Truth(air).score_dedupe(rows)

    assert score.heard > 1000
    assert (score.precision, score.recall) == (1.0, 1.0), str(score)
