"""`stalk top --topics` on a real broker: what comes, from now on, and nobody is disturbed."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.errors import BrokerError, ConfigError
from datastalker.segments import topic_plans
from datastalker.simulator.scene import Options
from datastalker.simulator.truth import read_transmissions
from datastalker.simulator.write import write_scene
from datastalker.top.feed import Live
from datastalker.top.topics import TopicsFeed, topics_of
from infra.local import Kafka
from infra.whole import capture
from tests.top.looking import look, until

PIPELINE = """\
name: {name}
sensor: porch
kafka: {{bootstrap_servers: "{servers}", partitions: 3}}
pipeline:
- pcap: {{path: '{captures}/sensor-*.pcap'}}
- topic: {name}.frames
- dedupe
- presence
- topic: {{frame: {name}.decorated, presence: {name}.presence}}
- csv
"""


@pytest.fixture
def file(kafka: Kafka, tmp_path: Path) -> Path:
    write_scene(Options(minutes=2), tmp_path / "air")
    name = f"top{uuid.uuid4().hex[:8]}"
    text = PIPELINE.format(name=name, servers=kafka.bootstrap_servers, captures=tmp_path / "air")
    (tmp_path / "home.yaml").write_text(text)
    return tmp_path / "home.yaml"


def test_every_frame_that_agents_publish_and_their_status_are_seen_and_no_group_is_made(
    file: Path, kafka: Kafka
) -> None:
    config = configuration.load(str(file))
    with connect(config, 30) as broker:
        for plan in topic_plans(config):
            broker.create(plan)
    live = Live(TopicsFeed(config))
    live.start()
    time.sleep(1)
    capture(file)
    truth: Counter[str] = Counter()
    for sent in read_transmissions(file.parent / "air"):
        truth.update(heard.removesuffix(".pcap") for heard in sent.heard)
    until(lambda: look(live, lambda air, stages: air.pace.count >= truth.total()))
    until(lambda: look(live, lambda air, stages: "porch" in air.sensors))
    time.sleep(1.5)
    live.stop()

    heard = look(live, lambda air, stages: {n: s.pace.count for n, s in air.sensors.items()})
    assert heard == {**truth, "porch": 0}
    assert look(live, lambda air, stages: air.sensors["porch"].status["captured"]) == truth.total()
    rows = look(live, lambda air, stages: {r.totals.name: r.totals for r in stages.rates()})
    assert rows[topics_of(config)[0]].sent == truth.total()
    assert live.error is None
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    groups = admin.list_consumer_groups().result(30).valid
    assert f"{config.settings['name']}-top" not in {group.group_id for group in groups}


def test_a_topic_that_is_missing_beside_others_is_told_of(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration.load(str(file))
    frames, *others = topics_of(config)
    with connect(config, 30) as broker:
        broker.create(next(plan for plan in topic_plans(config) if plan.name == frames))
    live = Live(TopicsFeed(config))
    live.start()
    live.stop()

    assert [record.args for record in caplog.records if record.name == "datastalker.top"] == [
        (name,) for name in others
    ]
    assert live.error is None


def test_a_topic_that_is_not_there_is_one_sentence(file: Path) -> None:
    config = configuration.load(str(file))

    with pytest.raises(BrokerError, match=r"is no topic 'top.*\.frames': stalk topics apply"):
        TopicsFeed(config).open()


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("- topic: a", ["a", "x.sensors"]),
        ("- topic: {frame: a, presence: b}\n- topic: {frame: c, alert: d}", ["a", "b", "d", "x.sensors"]),
        ("- topic: a\n- pseudonymise: {key: 0123456789abcdef}\n- topic: {frame: b}", ["b", "x.sensors"]),
        ("- topic: {frame: a, presence: a}", ["a", "x.sensors"]),
    ],
)  # fmt: skip
def test_frames_are_of_the_first_topic_behind_what_hides(stages: str, expected: list[str]) -> None:
    text = f"name: x\npipeline:\n- pcap: {{path: x.pcap}}\n{stages}\n- csv\n"

    assert topics_of(configuration.parse(text, "top.yaml")) == expected


def test_without_a_topic_it_is_a_mistake_of_the_file() -> None:
    config = configuration.parse("pipeline: [pcap: {path: x}, csv]", "top.yaml")

    with pytest.raises(ConfigError, match="it has no topic"):
        TopicsFeed(config)
