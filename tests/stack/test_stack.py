"""The local stack: real servers, started, used, killed, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from confluent_kafka import Consumer, Producer

from infra.local import Elasticsearch, Kafka, Registry, Stack

ROOT = Path(__file__).parents[2]


def produce(kafka: Kafka, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        messages = consumer.consume(count, timeout=30)
        assert [message.error() for message in messages] == [None] * len(messages)
        return [message.value() for message in messages]
    finally:
        consumer.close()


def call(method: str, url: str, body: object = None) -> Any:
    request = Request(url, json.dumps(body).encode() if body is not None else None, method=method)
    request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_record_comes_back_from_kafka(kafka: Kafka) -> None:
    produce(kafka, "stack.once", b"hello")
    assert consume(kafka, "stack.once", 1) == [b"hello"]


def test_a_document_is_found_in_elasticsearch(elasticsearch: Elasticsearch) -> None:
    index = f"{elasticsearch.url}/stack-test"
    call("PUT", f"{index}/_doc/1?refresh=true", {"ssid": "home"})
    found = call("POST", f"{index}/_search", {"query": {"term": {"ssid": "home"}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]


def test_a_schema_comes_back_from_the_registry(registry: Registry) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    subject = f"{registry.url}/subjects/stack-value/versions"
    number = call("POST", subject, {"schema": json.dumps(schema)})["id"]
    assert json.loads(call("GET", f"{registry.url}/schemas/ids/{number}")["schema"]) == schema


def test_the_fixtures_of_all_workers_are_one_stack(stack: Stack, kafka: Kafka) -> None:
    assert Stack(stack.directory).kafka.pid == kafka.pid


@pytest.mark.parametrize("name", ["kafka", "elasticsearch", "registry"])
def test_a_server_listens_on_loopback_only(request: pytest.FixtureRequest, name: str) -> None:
    server = request.getfixturevalue(name)
    pid, sockets = server.pid, set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            sockets.add(os.readlink(file))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    assert {port for _, port in found} >= set(server.ports.values())
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, as IPv6 too
    assert {address for address, _ in found} <= loopback


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A second stack, of Kafka alone."""
    stack = Stack(tmp_path_factory.mktemp("other"), quick=True).end_with(os.getpid())
    stack.kafka.start()
    yield stack
    stack.stop(wipe=True)


def test_two_stacks_run_side_by_side(kafka: Kafka, other: Stack) -> None:
    produce(kafka, "stack.both", b"here")
    produce(other.kafka, "stack.both", b"there")
    assert consume(kafka, "stack.both", 1) == [b"here"]
    assert consume(other.kafka, "stack.both", 1) == [b"there"]


def test_a_paused_broker_is_running_but_not_ready(other: Stack) -> None:
    other.kafka.pause()
    assert (other.kafka.running, other.kafka.ready) == (True, False)
    other.kafka.resume()
    other.kafka.start()  # waits until it serves
    assert other.kafka.ready


def test_kill_and_restart_keep_address_and_data(other: Stack) -> None:
    kafka = other.kafka
    produce(kafka, "stack.killed", b"before")
    address, pid = kafka.bootstrap_servers, kafka.pid
    kafka.kill()
    assert not kafka.running
    kafka.restart()
    assert kafka.bootstrap_servers == address
    assert kafka.pid != pid
    assert consume(kafka, "stack.killed", 1) == [b"before"]


def test_stop_leaves_no_process_and_a_start_finds_the_data_on_other_ports(other: Stack) -> None:
    kafka = other.kafka
    produce(kafka, "stack.stopped", b"before")
    pid, port = kafka.pid, kafka.ports["broker"]
    assert other.stop() == ["kafka"]
    assert not Path(f"/proc/{pid}").exists()
    assert (kafka.directory / "data" / ".kafka_cleanshutdown").exists()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        kafka.start()
    assert kafka.ports["broker"] != port
    assert consume(kafka, "stack.stopped", 1) == [b"before"]


def test_elasticsearch_and_the_registry_keep_what_was_stored_over_a_kill(
    own_stack: Callable[[], Stack], elasticsearch: Elasticsearch, registry: Registry
) -> None:
    stack = own_stack()
    stack.start(["elasticsearch", "registry"])  # beside those of all tests
    assert stack.elasticsearch.url != elasticsearch.url
    assert stack.registry.url != registry.url
    call("PUT", f"{stack.elasticsearch.url}/kept/_doc/1", {"a": 1})
    call("POST", f"{stack.registry.url}/subjects/kept/versions", {"schema": '"string"'})
    stack.elasticsearch.kill()
    stack.registry.kill()
    stack.start(["elasticsearch", "registry"])
    assert call("GET", f"{stack.elasticsearch.url}/kept/_doc/1")["_source"] == {"a": 1}
    assert call("GET", f"{stack.registry.url}/subjects") == ["kept"]
    assert elasticsearch.ready
    assert registry.ready
    assert "kept" not in call("GET", f"{registry.url}/subjects")


def test_a_stack_ends_with_the_process_it_was_bound_to(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from infra.local import Stack\n"
        "print(Stack(Path(sys.argv[1]), quick=True).end_with(os.getpid()).kafka.start().pid)\n"
        "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    record = Stack(tmp_path).kafka._state.get("kafka")
    assert record is not None
    assert record.process.pid == int(done.stdout)
    assert record.process.wait(10)


def test_ctrl_c_leaves_nothing_half_started(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local", "start", "--directory", str(tmp_path / "stack")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as starting:
        while not (tmp_path / "stack" / "stack.json").exists():
            time.sleep(0.05)
        starting.send_signal(signal.SIGINT)
        assert starting.wait(30) == 130
    stack = Stack(tmp_path / "stack")
    assert [service.running for service in stack.services()] == [False] * 3


def test_ctrl_c_while_the_last_is_handed_to_a_thread_leaves_nothing_either(
    own_stack: Callable[[], Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ThreadPoolExecutor):
        def submit(self, *given: Any, **named: Any) -> Any:
            if len(self._threads) == 1:
                raise KeyboardInterrupt
            return super().submit(*given, **named)

    monkeypatch.setattr("infra.local.stack.ThreadPoolExecutor", Interrupted)
    stack = own_stack()

    with pytest.raises(KeyboardInterrupt):
        stack.start(["registry", "kafka"])

    assert [service.running for service in stack.services()] == [False] * 3


def test_the_command_starts_says_where_and_stops(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -S: with nothing of the venv, as on a bare machine
        command = [sys.executable, "-S", "-m", "infra.local", *arguments]
        command += ["--directory", str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    started = run("start", "--service", "kafka")
    assert started.returncode == 0, started.stderr
    address = Stack(tmp_path).kafka.bootstrap_servers
    assert address in started.stdout
    assert str(tmp_path / "kafka" / "kafka.log") in started.stdout
    assert run("env").stdout == f"export KAFKA_BOOTSTRAP_SERVERS={address}\n"
    assert run("status", "--service", "kafka").returncode == 0
    assert run("status").returncode == 3
    assert run("stop", "--wipe").stdout.startswith("stack: stopped kafka\n")
    assert not tmp_path.exists()
    assert run("stop").stdout == "stack: nothing was running\n"
