"""The whole over brokers that want passwords and certificates, and with a schema registry."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from infra.local import Elasticsearch, Kafka, Registry, Stack
from infra.local.service import Ports
from infra.whole import ROOT, capture, messages, stalk, wait_until_idle, worker

USER, PASSWORD = "home", "open-sesame"
LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:{broker},SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{mutual},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SASL_SSL://127.0.0.1:{sasl},\
SSL://127.0.0.1:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={both}
ssl.truststore.type=PEM
ssl.truststore.location={certificate}
"""


class SecuredKafka(Kafka):
    """A broker with listeners for TLS with passwords, and for TLS with certificates of clients."""

    usual_ports: ClassVar[Ports] = {
        "broker": 9092, "controller": 9093, "sasl": 9094, "mutual": 9095
    }  # fmt: skip

    @property
    def certificate(self) -> Path:
        """Of the broker and, since it is the only one that it trusts, of its clients."""
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    def arguments(self, home: Path, ports: Ports) -> list[str]:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        both = self.directory / "both.pem"
        both.write_text(self.key.read_text() + self.certificate.read_text())
        arguments = super().arguments(home, ports)
        with (self.directory / "server.properties").open("a") as file:
            file.write(
                LISTENERS.format(
                    user=USER, password=PASSWORD, both=both, certificate=self.certificate, **ports
                )
            )
        return arguments

    def clients(self, how: str) -> dict[str, Any]:
        """`kafka:` of who comes by one of three ways."""
        ca = {"ssl_ca": str(self.certificate)}
        if how == "certificate":
            mine = {"ssl_certificate": str(self.certificate), "ssl_key": str(self.key)}
            at = f"127.0.0.1:{self.ports['mutual']}"
            return {"bootstrap_servers": at, "security_protocol": "SSL", **ca, **mine}
        return {
            "bootstrap_servers": f"127.0.0.1:{self.ports['sasl']}",
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": how,
            "sasl_username": USER,
            "sasl_password": PASSWORD,
            **ca,
        }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    stack = Stack(tmp_path_factory.mktemp("secured"), quick=True).end_with(os.getpid())
    kafka = SecuredKafka(stack.directory, stack.kafka._options).start()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = [UserScramCredentialUpsertion(USER, scram, PASSWORD.encode())]
    admin.alter_user_scram_credentials(wanted)[USER].result(60)
    yield kafka
    kafka.wipe()
    stack.stop(wipe=True)


@pytest.fixture(scope="module")
def air(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three sensors hear in a minute."""
    folder = tmp_path_factory.mktemp("air")
    stalk("simulate", "--out", str(folder), "--minutes", "1")
    return folder


class Whole:
    """One YAML with topics of its own, run by all processes to the end of a capture."""

    def __init__(
        self, path: Path, air: Path, plain: str, kafka: dict[str, Any], **settings: Any
    ) -> None:
        self.path, self.plain = path, plain
        self.name = f"whole-{uuid.uuid4().hex[:8]}"
        self.frames, self.out = f"{self.name}.frames", f"{self.name}.out"
        self.sinks: list[Any] = [{"csv": {"directory": str(path / "out")}}]
        self.document = {
            "name": self.name,
            "kafka": {"partitions": 2, **kafka},
            "workers": {"http_port": 0},
            **settings,
            "pipeline": [
                {"pcap": {"path": f"{air}/sensor-*.pcap"}},
                {"topic": self.frames},
                "dedupe",
                "presence",
                {"topic": {"frame": self.out, "presence": f"{self.name}.presence"}},
            ],
        }

    def write(self) -> Path:
        stages: list[Any] = self.document["pipeline"]  # type: ignore[assignment]
        document = {**self.document, "pipeline": [*stages, *self.sinks]}
        file = self.path / "config.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return file

    def run(self) -> None:
        config = str(self.write())
        stalk("topics", "apply", "-c", config)
        with worker(Path(config), self.path / "worker.log") as address:
            capture(config)
            wait_until_idle(address, messages(self.plain, self.frames))
        for sink in self.sinks:
            stalk("sink", next(iter(sink)), "--drain", "-c", config)

    def embedded(self) -> Counter[str]:
        """The ids of the rows of a run in one process."""
        self.sinks[0]["csv"]["directory"] = str(self.path / "embedded")
        stalk("run", "-q", "-c", str(self.write()))
        return self.ids("embedded")

    def ids(self, folder: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for path in (self.path / folder).glob("*.csv"):
            with open(path, encoding="utf-8", newline="") as handle:
                found.update(row["id"] for row in csv.DictReader(handle))
        return found

    def first_bytes(self, topic: str) -> set[int]:
        """With which byte the messages of a topic begin."""
        consumer = Consumer({"bootstrap.servers": self.plain, "group.id": "look"})
        begins = set()
        try:
            for number in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
                part = TopicPartition(topic, number, 0)
                _, end = consumer.get_watermark_offsets(part, timeout=30)
                consumer.assign([part])
                for _ in range(end):
                    message = consumer.poll(30)
                    assert message is not None
                    begins.add(message.value()[0])
        finally:
            consumer.close()
        return begins


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512", "certificate"])
def test_agent_worker_and_sink_come_in_by_every_way(
    tmp_path: Path, air: Path, secured: SecuredKafka, how: str
) -> None:
    whole = Whole(tmp_path, air, secured.bootstrap_servers, secured.clients(how))
    whole.run()
    assert whole.ids("out") == whole.embedded() != Counter()


@pytest.mark.parametrize("role", ["capture", "worker", "sink csv", "topics apply", "dlq ls"])
def test_a_wrong_password_is_said_within_seconds_and_not_shown(
    tmp_path: Path, air: Path, secured: SecuredKafka, role: str
) -> None:
    whole = Whole(tmp_path, air, secured.bootstrap_servers, secured.clients("SCRAM-SHA-512"))
    whole.document["kafka"]["sasl_password"] = "not-this"  # type: ignore[index]
    assert_said(role, whole.write(), "refuses user 'home' with the password given")


@pytest.mark.parametrize("role", ["capture", "worker", "sink csv", "topics apply", "dlq ls"])
def test_a_wrong_address_is_said_within_seconds(tmp_path: Path, air: Path, role: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{unused.getsockname()[1]}"
        whole = Whole(tmp_path, air, at, {"bootstrap_servers": at})
        said = f"kafka: bootstrap_servers: nothing listens at {at} (connection refused); start the"
        assert_said(role, whole.write(), said)


def assert_said(role: str, config: Path, what: str) -> None:
    """A process of this role ends soon, with a sentence and nothing else."""
    command = [sys.executable, "-m", "datastalker", *role.split(), "-c", str(config)]
    if role == "worker":
        command = [sys.executable, "-m", "faust", "-A", "processors", "worker"]
    environment = {**os.environ, "DATASTALKER_CONFIG": str(config)}
    begin = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert time.monotonic() - begin < 30  # 10 s, and what a busy machine adds
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert what in said
    assert "Traceback" not in said
    assert "not-this" not in said


def test_with_a_registry_all_processes_read_and_write_its_format(
    tmp_path: Path, air: Path, kafka: Kafka, registry: Registry, elasticsearch: Elasticsearch
) -> None:
    at = kafka.bootstrap_servers
    registered = {"schema_registry": {"url": registry.url}}
    whole = Whole(tmp_path, air, at, {"bootstrap_servers": at}, **registered)
    options = {"hosts": [elasticsearch.url], "index": whole.name, "replicas": 0}
    whole.sinks.append({"elasticsearch": options})
    whole.run()
    url = f"{elasticsearch.url}/{whole.name}-*"
    urllib.request.urlopen(f"{url}/_refresh", b"", timeout=30).close()
    with urllib.request.urlopen(f"{url}/_count", timeout=30) as answer:
        count = json.load(answer)["count"]
    whole.sinks.pop()

    assert whole.first_bytes(whole.frames) == whole.first_bytes(whole.out) == {0}
    assert whole.ids("out") == whole.embedded() != Counter()
    assert count == whole.ids("out").total()
