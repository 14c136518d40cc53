"""Broker, topics, clock, registry and Elasticsearch, on real servers."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

import schemas
from datastalker.cli import cli
from infra.local import Elasticsearch, Kafka, Registry


@pytest.fixture
def name() -> str:
    """Of a pipeline, its topics, its indices."""
    return f"doctor{uuid.uuid4().hex[:10]}"


def over(kafka: Kafka, name: str, capture: Path, *sinks: Any, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "partitions": 2},
        **settings,
        "pipeline": [
            {"pcap": {"path": str(capture)}},
            {"topic": f"{name}.frames"},
            "dedupe",
            {"topic": f"{name}.out"},
            *sinks,
        ],
    }


def apply(doctor: Any) -> None:
    done = CliRunner().invoke(cli, ["topics", "apply", "-c", str(doctor.file)])
    assert done.exit_code == 0, done.output


def test_topics_that_are_missing_then_made(
    doctor: Any, kafka: Kafka, name: str, capture: Path
) -> None:
    document = over(kafka, name, capture)
    before = doctor.look(document)
    apply(doctor)
    after = doctor.look(document)

    assert before.failed == {
        f"topic {name}{end}"
        for end in (".frames", ".out", ".sensors", ".dead-letters", "-1-state-changelog")
    }
    missing = before.one(f"topic {name}.frames", "failed")
    assert missing["remedy"] == f"stalk topics apply -c {doctor.file}"
    assert before.one("broker", "ok")["found"].startswith(
        f"1 broker at {kafka.bootstrap_servers}, "
    )
    assert f"topic {name}.sensors is missing" in before.one("clock and broker", "warning")["cause"]

    assert after.code == 0
    assert f"{name}.frames" in after.one("topics", "ok")["found"]
    measured = after.one("clock and broker", "ok")["found"]
    assert " the broker's (± " in measured
    assert float(measured.split()[0]) < 1


def test_a_role_looks_at_the_topics_that_it_needs(
    doctor: Any, kafka: Kafka, name: str, capture: Path
) -> None:
    said = doctor.look(over(kafka, name, capture), "--role", "agent")

    assert said.failed == {f"topic {name}.frames", f"topic {name}.sensors"}


def test_measuring_the_clock_leaves_nothing_but_tombstones(
    doctor: Any, kafka: Kafka, name: str, capture: Path
) -> None:
    doctor.look(document := over(kafka, name, capture))
    apply(doctor)
    doctor.look(document)

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": name})
    try:
        consumer.assign([TopicPartition(f"{name}.sensors", 0, 0)])
        messages = [consumer.poll(30) for _ in range(4)]
    finally:
        consumer.close()
    assert [(m.key(), m.value()) for m in messages] == [(b"stalk doctor", None)] * 4


def test_a_clock_that_is_off(
    doctor: Any, kafka: Kafka, name: str, capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", time.time)  # `apply` loads the plug-in in this process too
    (doctor.folder / "shift.py").write_text(
        "import time\n_time = time.time\ntime.time = lambda: _time() - 7200\n"
    )
    document = over(kafka, name, capture, plugins=["shift.py"])
    doctor.look(document)
    apply(doctor)

    found = doctor.look(document).one("clock and broker", "failed")

    assert found["found"].startswith("7,200.0 s behind the broker's")
    assert "agent: clock_alert_seconds: 5" in found["cause"]


def test_topics_that_are_other_than_configured(
    doctor: Any, kafka: Kafka, name: str, capture: Path
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    made = admin.create_topics(
        [
            NewTopic(f"{name}.frames", 1, 1),
            NewTopic(f"{name}.out", 5, 1),
            NewTopic(f"{name}.dead-letters", 2, 1, config={"retention.ms": "1000"}),
        ]
    )
    for future in made.values():
        future.result(30)
    said = doctor.look(over(kafka, name, capture))

    fewer = said.one(f"topic {name}.frames", "failed")
    assert fewer["found"] == "is: 1 partition; wanted: 2 partitions"
    assert "--allow-repartition" in fewer["remedy"]
    more = said.one(f"topic {name}.out", "failed")
    assert "5 partitions" in more["found"]
    assert "partitions: 5" in more["remedy"]
    settings = said.one(f"topic {name}.dead-letters", "warning")
    assert settings["remedy"] == f"stalk topics apply -c {doctor.file}"


def test_what_the_registry_has_and_would_take(
    doctor: Any, kafka: Kafka, registry: Registry, name: str, capture: Path
) -> None:
    document = over(kafka, name, capture, schema_registry={"url": registry.url})
    other = {**schemas.current("event"), "fields": [{"name": "must", "type": "string"}]}
    with closing(SchemaRegistryClient({"url": registry.url})) as client:
        ours = Schema(schemas.text("frame_batch"), "AVRO")
        client.register_schema(f"{name}.frames-value", ours)
        client.register_schema(f"{name}.sensors-value", Schema(json.dumps(other), "AVRO"))
        client.set_compatibility(f"{name}.sensors-value", "FULL")
        said = doctor.look(document)
        subjects = {s for s in client.get_subjects() if s.startswith(name)}

    assert subjects == {f"{name}.frames-value", f"{name}.sensors-value"}
    assert said.one("registry", "ok")["found"].startswith(f"{registry.url}, ")
    known = said.one(f"registry, {name}.frames-value", "ok")["found"]
    assert known == "schema 'frame_batch' is registered"
    new = said.one(f"registry, {name}.out-value", "ok")["found"]
    assert new == "schema 'frame_batch' is new: the first start registers it"
    refused = said.one(f"registry, {name}.sensors-value", "failed")
    assert "would be refused as incompatible" in refused["found"]


def test_a_registry_that_is_away(doctor: Any, kafka: Kafka, name: str, capture: Path) -> None:
    away = {"url": "http://127.0.0.1:1"}
    found = doctor.look(over(kafka, name, capture, schema_registry=away)).one("registry", "failed")

    assert "the schema registry at http://127.0.0.1:1 can't be reached" in found["cause"]
    assert "schema_registry.url" in found["remedy"]


def stored(doctor: Any, capture: Path, elasticsearch: Any, **options: Any) -> Any:
    url = getattr(elasticsearch, "url", elasticsearch)
    sink = {"elasticsearch": {"hosts": [url], "replicas": 0, **options}}
    return doctor.look(doctor.whole({"pcap": {"path": str(capture)}}, sink))


def test_elasticsearch_and_its_templates(
    doctor: Any, elasticsearch: Elasticsearch, name: str, capture: Path
) -> None:
    missing = stored(doctor, capture, elasticsearch, index=name)
    by_hand = stored(doctor, capture, elasticsearch, index=name, setup=False)
    done = CliRunner().invoke(cli, ["elasticsearch", "setup", "-c", str(doctor.file)])
    assert done.exit_code == 0, done.output
    there = stored(doctor, capture, elasticsearch, index=name, setup=False)
    changed = stored(doctor, capture, elasticsearch, index=name, shards=2)

    about = "elasticsearch, templates"
    assert "the sink makes them at its start" in missing.one(about, "ok")["found"]
    to_do = by_hand.one(about, "failed")
    assert to_do["remedy"] == f"stalk elasticsearch setup -c {doctor.file}"
    assert f"{name}-frame is missing" in to_do["found"]
    assert there.code == 0
    assert there.one(about, "ok")["found"].endswith(" are as they should be")
    assert f"{name}-frame is different" in changed.one(about, "warning")["found"]
    cluster = there.one("elasticsearch", "ok")["found"]
    assert cluster.startswith(f"{elasticsearch.url}: ")
    assert ", 1 server, version 8." in cluster


def test_copies_that_have_no_server(
    doctor: Any, elasticsearch: Elasticsearch, name: str, capture: Path
) -> None:
    found = stored(doctor, capture, elasticsearch, index=name, replicas=1)

    assert found.one("elasticsearch", "warning")["remedy"].startswith("write replicas: 0")


def test_no_elasticsearch_there(doctor: Any, capture: Path) -> None:
    found = stored(doctor, capture, "http://127.0.0.1:1").one("elasticsearch", "failed")

    assert "can't be reached, correct 'hosts' or start it" in found["cause"]


@contextmanager
def answering(status: int, **headers: str) -> Iterator[str]:
    """A server that always answers so: no Elasticsearch, or one that gives a user no right (the one
    of these tests knows no users)."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_answers_is_no_elasticsearch(doctor: Any, capture: Path) -> None:
    with answering(200) as url:
        found = stored(doctor, capture, url).one("elasticsearch", "failed")

    assert "what answers is no Elasticsearch" in found["cause"]
    assert "hosts" in found["remedy"]


def test_a_wrong_password(doctor: Any, capture: Path) -> None:
    secret = {"username": "me", "password": "sesame"}
    with answering(401, **{"X-Elastic-Product": "Elasticsearch"}) as url:
        said = stored(doctor, capture, url, **secret)

    found = said.one("elasticsearch", "failed")
    assert "correct username and password, or api_key" in found["cause"]
    assert "sesame" not in json.dumps(said.findings)


def test_a_user_that_may_store_and_look_at_nothing(doctor: Any, capture: Path) -> None:
    with answering(403, **{"X-Elastic-Product": "Elasticsearch"}) as url:
        sets_up = stored(doctor, capture, url)
        by_hand = stored(doctor, capture, url, setup=False)

    assert "'monitor'" in sets_up.one("elasticsearch", "warning")["cause"]
    assert "manage_index_templates" in sets_up.one("elasticsearch, templates", "failed")["cause"]
    assert by_hand.code == 0
    assert by_hand.one("elasticsearch, templates", "warning")


def test_what_never_answers_is_told_within_its_time(doctor: Any, capture: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        said = doctor.look(
            {
                "kafka": {"bootstrap_servers": at},
                "schema_registry": {"url": f"http://{at}"},
                "pipeline": [
                    {"pcap": {"path": str(capture)}},
                    {"topic": "a"},
                    "dedupe",
                    {"topic": "b"},
                    {"elasticsearch": {"hosts": [f"http://{at}"]}},
                ],
            }
        )

    assert time.monotonic() - begin < 30
    assert said.failed == {"broker", "registry", "elasticsearch"}
    assert "does not answer" in said.one("broker", "failed")["cause"]
    assert said.one("registry", "failed")["found"] == "no answer within 15 s"
    assert "schema_registry: url" in said.one("registry", "failed")["remedy"]
