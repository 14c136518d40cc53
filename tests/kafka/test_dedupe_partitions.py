"""Three agents, a simulated sensor each, through one topic: dedupe scores 1.0 on any number of
partitions, though they begin at different times, publish at different paces, and one is done before
another has begun."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker.simulator.score import Truth
from infra.local import Kafka
from infra.whole import ROOT, balance, messages, stalk, total, wait_until_idle, worker

PACES: dict[str, float | str] = {"hall": "max", "study": 60, "garage": 40}
"""How many times as fast as it was captured each file is published."""


@dataclass
class Site:
    """Sensor nodes and a worker that share topics; each node has a configuration of its own."""

    path: Path
    kafka: Kafka
    partitions: int
    dedupe: dict[str, Any]

    def __post_init__(self) -> None:
        self.name = f"dedupe-{uuid.uuid4().hex[:8]}"
        self.air, self.out = self.path / "air", self.path / "out"
        stalk("simulate", "--out", str(self.air), "--minutes", "5", "--attack")
        self.config = self.write("all", {"path": f"{self.air}/sensor-*.pcap"})
        stalk("topics", "apply", "-c", str(self.config))

    def write(self, sensor: str, source: dict[str, Any]) -> Path:
        kafka = {"bootstrap_servers": self.kafka.bootstrap_servers, "partitions": self.partitions}
        document = {
            "name": self.name,
            "sensor": sensor,
            "kafka": kafka,
            "workers": {"http_port": 0},
            "pipeline": [
                {"pcap": source},
                {"topic": f"{self.name}.frames"},
                {"dedupe": {"window_seconds": 2, **self.dedupe}},
                {"topic": f"{self.name}.deduped"},
                {"csv": {"directory": str(self.out)}},
            ],
        }
        file = self.path / f"{sensor}.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return file

    def agent(self, sensor: str, speed: float | str) -> subprocess.Popen[bytes]:
        source = {"path": f"{self.air}/sensor-{sensor}.pcap", "speed": speed}
        config = self.write(sensor, source)
        command = [sys.executable, "-m", "capture_agent", "-c", str(config)]
        with open(self.path / f"{sensor}.log", "wb") as log:
            return subprocess.Popen(command, cwd=ROOT, stderr=log)

    def run(self, paces: dict[str, float | str]) -> str:
        """Agents beside a worker, each a second after the other, all to their ends; its metrics."""
        with worker(self.config, self.path / "worker.log") as address:
            agents = []
            for sensor, speed in paces.items():
                agents.append(self.agent(sensor, speed))
                time.sleep(1)
            assert [agent.wait(120) for agent in agents] == [0] * len(agents)
            for sensor in paces:
                balance((self.path / f"{sensor}.log").read_text())
            sent = messages(self.kafka.bootstrap_servers, f"{self.name}.frames")
            page = wait_until_idle(address, sent)
        stalk("sink", "csv", "--drain", "-c", str(self.config))
        return page

    def rows(self) -> Iterable[dict[str, str]]:
        for path in self.out.glob("frame-*.csv"):
            with open(path, encoding="utf-8", newline="") as handle:
                yield from (row for row in csv.DictReader(handle) if row["seq"])


@pytest.mark.parametrize("partitions", [1, 2, 12])
def test_every_transmission_passes_once(tmp_path: Path, kafka: Kafka, partitions: int) -> None:
    site = Site(tmp_path, kafka, partitions, {"late_seconds": 600})
    site.run(PACES)
    score = Truth(site.air).score_dedupe(site.rows())

    assert score.heard > 1000
    assert (score.precision, score.recall) == (1.0, 1.0), str(score)


def test_merged_every_transmission_comes_out_once_to_the_last_window(
    tmp_path: Path, kafka: Kafka
) -> None:
    site = Site(tmp_path, kafka, 2, {"late_seconds": 600, "mode": "merge"})
    page = site.run(dict.fromkeys(PACES, 30))
    rows = list(site.rows())
    score = Truth(site.air).score_dedupe(rows)

    assert (score.precision, score.recall) == (1.0, 1.0), str(score)
    merged = sum(int(row["copies"]) for row in rows)
    heard = sum(len(sent.heard) for sent in Truth(site.air).transmissions if sent.seq is not None)
    assert merged + total(page, "datastalker_stage_counter") == heard
