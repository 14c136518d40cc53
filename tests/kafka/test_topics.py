"""`stalk topics plan|apply` on a real broker, and what agents, workers and sinks demand at the start."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer

from datastalker import config as configuration
from datastalker import extras, segments, topic_keys
from datastalker.broker import Topic, connect
from datastalker.cli import main
from datastalker.errors import BrokerError, DataStalkerError
from datastalker.topics import TopicPlan
from infra.local import Kafka


@dataclass
class Home:
    """A configuration whose topics are this test's own, and the command line on it."""

    path: Path
    name: str
    servers: str
    capsys: pytest.CaptureFixture[str]
    kafka: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def frames(self) -> str:
        return f"{self.name}.frames"

    def write(self) -> str:
        settings = {
            "name": self.name,
            "kafka": {"bootstrap_servers": self.servers, **self.kafka},
            "topics": self.topics,
            "pipeline": [
                {"pcap": {"path": "x.pcap"}},
                {"topic": self.frames},
                {"oui": {"fields": ["ta"]}},
                {"presence": {"absent_after_seconds": 300}},
                {"topic": {"frame": f"{self.name}.out", "presence": f"{self.name}.presence"}},
                {"csv": {"directory": "out"}},
            ],
        }
        self.path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return str(self.path)

    def topics_command(self, *args: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error of `stalk topics …`."""
        try:
            main(["topics", args[0], "-c", self.write(), *args[1:]])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *self.capsys.readouterr()

    def plan(self, *args: str) -> tuple[int, str, str]:
        return self.topics_command("plan", *args)

    def apply(self, *args: str) -> tuple[int, str, str]:
        return self.topics_command("apply", *args)

    def config(self) -> configuration.Config:
        config = configuration.load(self.write())
        assert config.problems == []
        return config

    def there(self, name: str) -> Topic:
        with connect(self.config()) as broker:
            return broker.describe([name], settings=True)[name]

    def require(self) -> None:
        config = self.config()
        with connect(config) as broker:
            broker.require(segments.topic_plans(config))


@pytest.fixture
def home(kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    name = f"t{uuid.uuid4().hex[:8]}"
    return Home(tmp_path / "home.yaml", name, kafka.bootstrap_servers, capsys)


def cells(table: str, topic: str) -> list[str]:
    """What a table says of a topic: as it is, as it is wanted, what is to do."""
    return re.split(r"\s{2,}", rows(table)[topic])[1:]


def rows(table: str) -> dict[str, str]:
    """The line of each topic in a table."""
    lines = table.splitlines()[1:]
    return {line.split()[0]: line for line in lines if "  " in line}


def test_apply_makes_what_is_missing_and_plan_only_shows_it(home: Home) -> None:
    home.kafka = {"partitions": 3, "retention_hours": 2}
    planned = home.plan()
    missing = home.plan()

    applied = home.apply()

    assert (planned[0], applied[0], applied[2]) == (0, 0, "")
    assert planned == missing, "plan made something"
    assert cells(planned[1], home.frames) == ["missing", "3 partitions, 2 h, key ta", "make it"]
    topic = home.there(home.frames)
    assert (topic.partitions, topic.replication) == (3, 1)
    assert topic.settings["cleanup.policy"] == "delete"
    assert topic.settings["retention.ms"] == "7200000"


def test_every_topic_of_the_pipeline_is_made_with_those_that_nobody_wrote_down(home: Home) -> None:
    home.kafka = {"partitions": 2}
    home.topics = {home.frames: {"partitions": 4}}
    home.apply()

    with connect(home.config()) as broker:
        found = broker.describe(
            [plan.name for plan in segments.topic_plans(home.config())], settings=True
        )

    assert {
        name.removeprefix(home.name): (topic.partitions, topic.settings["cleanup.policy"])
        for name, topic in found.items()
    } == {
        ".frames": (4, "delete"),
        ".out": (2, "delete"),
        ".presence": (2, "compact"),
        ".sensors": (2, "compact"),
        ".dead-letters": (2, "delete"),
        "-1-state-changelog": (4, "compact"),  # Faust: as many as the topic it reads
    }


def test_to_apply_twice_changes_nothing(home: Home) -> None:
    home.apply()

    code, out, err = home.apply()

    assert (code, err) == (0, "")
    assert all(line.endswith("nothing") for line in rows(out).values())
    assert "done" not in out


def test_retention_and_compaction_follow_the_configuration(home: Home) -> None:
    home.apply()
    home.topics = {
        home.frames: {"retention_hours": 1},
        f"{home.name}.presence": {"compact": False, "retention_hours": 24},
    }

    code, out, _ = home.apply()

    assert code == 0
    assert (
        f"topic '{home.frames}': change it: the broker then removes what is older than 1 h" in out
    )
    assert home.there(home.frames).settings["retention.ms"] == "3600000"
    presence = home.there(f"{home.name}.presence").settings
    assert (presence["cleanup.policy"], presence["retention.ms"]) == ("delete", "86400000")
    assert home.there(f"{home.name}-1-state-changelog").settings["segment.bytes"] == "33554432"


def test_settings_of_a_topic_that_the_configuration_does_not_name_are_left_alone(
    home: Home,
) -> None:
    home.apply()
    with connect(home.config()) as broker:
        broker.alter(home.frames, {"max.message.bytes": "2000000"})
    home.kafka = {"retention_hours": 1}

    home.apply()

    settings = home.there(home.frames).settings
    assert (settings["max.message.bytes"], settings["retention.ms"]) == ("2000000", "3600000")


def test_partitions_are_added_only_with_the_flag_and_it_says_what_that_means(home: Home) -> None:
    home.apply()
    home.topics = {home.frames: {"partitions": 4}}

    refused = home.apply()
    unchanged = home.there(home.frames).partitions
    applied = home.apply("--allow-repartition")

    assert (refused[0], unchanged) == (1, 1)
    assert f"topic '{home.frames}': add 3 partitions: most values of 'ta' go to another partition" in refused[2]  # fmt: skip # noqa: E501
    assert "presence says NEW again" in refused[2]
    assert "--allow-repartition" in refused[2]
    assert applied[0] == 0
    assert home.there(home.frames).partitions == 4
    assert home.there(f"{home.name}-1-state-changelog").partitions == 4
    assert home.apply()[0] == 0


def test_dead_letters_have_no_key_and_may_get_partitions_at_any_time(home: Home) -> None:
    home.apply()
    home.topics = {f"{home.name}.dead-letters": {"partitions": 2}}

    assert home.apply()[0] == 0
    assert home.there(f"{home.name}.dead-letters").partitions == 2


def test_fewer_partitions_are_refused_with_what_to_do_and_nothing_else_is_changed(
    home: Home,
) -> None:
    home.kafka = {"partitions": 3}
    home.apply()
    home.topics = {home.frames: {"partitions": 1, "retention_hours": 5}}

    codes = home.plan()[0], home.apply("--allow-repartition")
    code, _, err = codes[1]

    assert (codes[0], code) == (1, 1)
    assert (
        f"topic '{home.frames}': can't be made fewer: Kafka can't take partitions away; write "
        "partitions: 3 for it under 'topics:', or give the topic another name, or delete it with all "
        f"it holds (kafka-topics.sh --bootstrap-server {home.servers} --delete --topic {home.frames})"
        " and apply again"
    ) in err
    assert home.there(home.frames).settings["retention.ms"] == "604800000"


def test_another_key_is_refused_with_what_to_do(home: Home) -> None:
    home.apply()
    home.topics = {f"{home.name}.out": {"key": "ssid"}}

    code, out, err = home.apply()

    assert code == 1
    assert "key ta" in rows(out)[f"{home.name}.out"]
    assert f"topic '{home.name}.out': can't be changed: its frames lie in partitions by 'ta'" in err
    assert "write key: ta" in err


def test_a_topic_that_was_deleted_and_made_again_has_no_key_from_before(home: Home) -> None:
    home.apply()
    with connect(home.config()) as broker:
        broker._client.delete_topics([f"{home.name}.out"])[f"{home.name}.out"].result()
    home.topics = {f"{home.name}.out": {"key": "ssid"}}

    code, out, _ = home.apply()

    assert (code, "make it" in rows(out)[f"{home.name}.out"]) == (0, True)
    assert rows(home.apply()[1])[f"{home.name}.out"].endswith("nothing")


def test_of_a_topic_that_was_made_by_hand_the_key_is_noted_from_now_on(home: Home) -> None:
    out = f"{home.name}.out"
    with connect(home.config()) as broker:
        broker.create(TopicPlan(out, ("frame",), 2, 1, "ta", False, 604800000))
    home.topics = {out: {"partitions": 2}}

    planned, applied = home.plan(), home.apply()

    assert (planned[0], applied[0]) == (0, 0)
    assert "note key ta: it was not made by `stalk topics apply`" in planned[1]
    home.topics[out]["key"] = "bssid"
    assert home.plan()[0] == 1


def test_what_others_write_among_the_keys_does_not_hinder(home: Home) -> None:
    home.apply()
    producer = Producer({"bootstrap.servers": home.servers})
    for key, value in ((None, b"?"), (b"x", None), (b"\xff", b"{}"), (b"y", b"[1]")):
        producer.produce(topic_keys.NAME, key=key, value=value, partition=0)
        producer.flush(10)  # one by one: of a batch with a record without key nothing is taken

    assert home.apply()[0] == 0
    home.require()


def test_more_copies_than_brokers_are_refused_before_anything_is_made(home: Home) -> None:
    home.kafka = {"replication": 3}

    code, _, err = home.apply()

    assert code == 1
    assert "replication: 3 copies need as many brokers, and there is one" in err
    with pytest.raises(BrokerError, match="is missing"):
        home.require()


def test_another_number_of_copies_is_refused_with_what_to_do(home: Home) -> None:
    home.apply()
    home.topics = {home.frames: {"replication": 2}}

    code, _, err = home.apply()

    assert code == 1
    assert "write replication: 1 for it under 'topics:'" in err


def test_a_start_without_topics_says_which_are_missing_and_makes_none(home: Home) -> None:
    for _ in range(2):  # Kafka makes a topic when it is asked for the wrong way, and says so later
        with pytest.raises(BrokerError) as raised:
            home.require()

        text = str(raised.value)
        assert f"topic '{home.frames}' is missing; topic '{home.name}.out' is missing" in text
        assert f"`stalk topics apply -c {home.path}` makes what is missing" in text
        assert raised.value.retriable is False


def test_a_start_with_topics_as_configured_says_nothing(home: Home) -> None:
    home.kafka = {"partitions": 2}
    home.apply()

    home.require()


def test_a_start_with_another_number_of_partitions_or_another_key_says_so(home: Home) -> None:
    home.apply()
    home.topics = {home.frames: {"partitions": 4}, f"{home.name}.out": {"key": "ssid"}}

    with pytest.raises(BrokerError) as raised:
        home.require()

    text = str(raised.value)
    assert f"topic '{home.frames}' has 1 partition, and partitions: 4 is configured" in text
    assert f"topic '{home.name}.out' is partitioned by 'ta', and key: ssid is configured" in text


def test_each_process_needs_its_own_topics_only(home: Home) -> None:
    config = home.config()
    capture, worker, sinks = segments.segments(config)

    names = [
        [plan.name.removeprefix(home.name) for plan in segments.segment_topics(config, segment)]
        for segment in (capture, worker, sinks)
    ]

    assert names == [
        [".frames", ".sensors"],
        [".frames", ".out", ".presence", ".dead-letters", "-1-state-changelog"],
        [".out", ".presence", ".dead-letters"],
    ]


def test_a_pipeline_without_a_cut_needs_no_topics_and_no_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: '127.0.0.1:1'}\npipeline: [{pcap: {path: x}}, print]"
    )

    with pytest.raises(SystemExit) as ended:
        main(["-c", str(path), "topics", "plan"])

    assert ended.value.code == 0
    assert "needs no topics" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kafka", "topics", "said"),
    [
        ({"bootstrap_servers": "localhost"}, {}, "'bootstrap_servers' must be host:port, several"),
        ({"bootstrap_servers": "a:9092,b:c"}, {}, "'bootstrap_servers' must be host:port, several"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "a"}, {}, "SASL_SSL needs 'sasl_password'"),
        ({"ssl_key": "k.pem"}, {}, "'ssl_key' is of use with 'ssl_certificate' only; give both"),
        ({}, {"frames": {"compact": True}}, "carries frames, and a compacted topic would keep only"),
        ({}, {"frames": {"partitions": 0}}, "'partitions' must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_configuration_is_shown_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    kafka: dict[str, Any], topics: dict[str, Any], said: str,
) -> None:  # fmt: skip
    home = Home(tmp_path / "c.yaml", "home", "127.0.0.1:1", capsys, kafka)
    home.topics = {f"home.{name}": given for name, given in topics.items()}

    code, _, err = home.plan()

    assert code == 2
    assert said in err
    assert err.startswith(f"{home.path}:")


@pytest.mark.parametrize("name", ["my home", "häuser", ".."])
def test_a_name_that_no_topic_can_have_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, _, err = Home(tmp_path / "c.yaml", name, "127.0.0.1:1", capsys).plan()

    assert code == 2
    assert f"'{name}' can't begin the names of topics" in err


def test_a_topic_that_a_worker_would_read_and_write_is_a_mistake() -> None:
    text = (
        "pipeline: [pcap: {path: x}, topic: a, oui: {fields: [ta]}, topic: a, csv: {directory: o}]"
    )

    problems = [str(problem) for problem in configuration.parse(text, "c.yaml").problems]

    assert "topic 'a' stands higher up already: messages would go round for ever" in problems[0]


def _with_status_in(topic: str) -> configuration.Config:
    text = (
        "name: home\npipeline: [pcap: {path: '-'}, topic: a, oui: {fields: [ta]}, "
        f"topic: {{frame: b, sensor: {topic}}}, csv: {{directory: o}}]"
    )
    return configuration.parse(text, "c.yaml")


def test_a_cut_that_names_the_sensors_topic_gives_sinks_the_agents_status() -> None:
    config = _with_status_in("home.sensors")

    assert config.problems == []
    named = {plan.name: plan for plan in segments.topic_plans(config)}
    assert named["home.sensors"] == segments.sensors_topic(config)
    assert segments.segments(config)[-1].source["sensor"].name == "home.sensors"


def test_what_agents_write_has_the_broker_s_time_whatever_their_clocks_say() -> None:
    plans = segments.topic_plans(_with_status_in("home.sensors"))

    by_broker = {p.name for p in plans if p.config().get("message.timestamp.type")}
    assert by_broker == {"a", "home.sensors"}


def test_a_topic_for_status_that_no_agent_writes_to_is_a_mistake() -> None:
    (problem,) = _with_status_in("wifi.sensors").problems

    said = "nobody writes messages of type 'sensor' to 'wifi.sensors': agents write their status to"
    assert said in str(problem)
    assert "write {sensor: home.sensors}" in str(problem)


def test_without_the_package_it_says_what_to_install(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(
        DataStalkerError, match=r"needs the package confluent-kafka: make -C .* setup"
    ):
        connect(home.config())
