"""Why a broker can't be reached: one sentence with the setting and the remedy, within seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import pytest

from datastalker.broker import Broker
from datastalker.broker_faults import Faults
from datastalker.cli import main
from datastalker.errors import BrokerError
from datastalker.options import complete
from datastalker.topics import KAFKA
from infra.local import Kafka, Stack
from infra.local.service import Ports

PASSWORD = "open-sesame"
LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:{broker},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{ssl},\
MOVED://127.0.0.1:{moved},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SASL_PLAINTEXT://127.0.0.1:{sasl},\
SSL://127.0.0.1:{ssl},MOVED://127.0.0.1:1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,\
MOVED:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_home="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={pem}
"""


class GuardedKafka(Kafka):
    """A broker with listeners for SASL and TLS too, and one that sends clients where nobody is."""

    usual_ports: ClassVar[Ports] = {
        "broker": 9092, "controller": 9093, "sasl": 9094, "ssl": 9095, "moved": 9096
    }  # fmt: skip

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    def arguments(self, home: Path, ports: Ports) -> list[str]:
        key, pem = self.directory / "key.pem", self.directory / "both.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        pem.write_text(key.read_text() + self.certificate.read_text())
        arguments = super().arguments(home, ports)
        with (self.directory / "server.properties").open("a") as file:
            file.write(LISTENERS.format(password=PASSWORD, pem=pem, **ports))
        return arguments


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    stack = Stack(tmp_path_factory.mktemp("guarded"), quick=True).end_with(os.getpid())
    yield GuardedKafka(stack.directory, stack.kafka._options).start()
    stack.stop(wipe=True)


def settings(at: int | str, **given: Any) -> dict[str, Any]:
    servers = at if isinstance(at, str) else f"127.0.0.1:{at}"
    return complete(KAFKA, {"bootstrap_servers": servers, **given}, (), lambda path, text: None)


def fault(at: int | str, **given: Any) -> BrokerError:
    begin = monotonic()
    with pytest.raises(BrokerError) as raised:
        Broker(settings(at, **given), "home.yaml").describe(["wifi.frames"])
    assert monotonic() - begin < 12
    assert "\n" not in str(raised.value)
    return raised.value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_wrong_address_is_said_with_its_setting_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = f"127.0.0.1:{free_port()}"
    path = tmp_path / "home.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: '{at}'}}\n"
        "pipeline: [pcap: {path: x}, topic: frames, csv: {directory: out}]\n"
    )
    begin = monotonic()

    with pytest.raises(SystemExit) as ended:
        main(["topics", "plan", "-c", str(path)])

    assert monotonic() - begin < 10
    assert ended.value.code == 1
    assert tuple(capfd.readouterr()) == (
        "",
        f"stalk: {path}: kafka: bootstrap_servers: nothing listens at {at} (connection refused); "
        "start the broker, or correct the address\n",
    )


def test_a_name_that_no_host_has() -> None:
    error = fault("no-such-host.invalid:9092")

    assert "kafka: bootstrap_servers: no host is known by the name in no-such-host.invalid" in str(error)  # fmt: skip # noqa: E501
    assert error.retriable


def test_an_address_that_accepts_and_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        at = silent.getsockname()[1]

        error = fault(at)

    assert f"kafka: bootstrap_servers: 127.0.0.1:{at} does not answer" in str(error)
    assert error.retriable


def test_an_address_of_something_else() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=_speak_http, args=(listener,), daemon=True).start()

        error = fault(listener.getsockname()[1])

        assert "is no Kafka broker" in str(error)
        assert not error.retriable


def _speak_http(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            connection.recv(1000)


def test_all_addresses_that_are_wrong_are_named_and_one_that_is_right_is_enough(
    guarded: GuardedKafka,
) -> None:
    first, second = free_port(), free_port()

    text = str(fault(f"127.0.0.1:{first},127.0.0.1:{second}"))

    assert f"127.0.0.1:{first}" in text
    assert f"127.0.0.1:{second}" in text
    good = f"127.0.0.1:{first},{guarded.bootstrap_servers}"
    assert Broker(settings(good), "home.yaml").brokers == 1


def test_a_controller_is_not_for_clients(guarded: GuardedKafka) -> None:
    at = guarded.ports["controller"]

    assert f"127.0.0.1:{at} is not for clients: a controller's port" in str(fault(at))


def test_a_broker_that_sends_its_clients_elsewhere(guarded: GuardedKafka) -> None:
    text = str(fault(guarded.ports["moved"]))

    assert "nothing listens at 127.0.0.1:1 (connection refused)" in text
    assert f"see the broker's advertised.listeners; 127.0.0.1:{guarded.ports['moved']} answered" in text  # fmt: skip # noqa: E501


def test_a_wrong_password_is_said_and_not_shown(guarded: GuardedKafka) -> None:
    given = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "home"}
    at = guarded.ports["sasl"]

    error = fault(at, **given, sasl_password="wr0ng-one")

    assert str(error) == (
        f"home.yaml: kafka: sasl_username, sasl_password: 127.0.0.1:{at} refuses user 'home' with "
        "the password given (not shown here); correct one of them"
    )
    assert not error.retriable
    assert Broker(settings(at, **given, sasl_password=PASSWORD), "home.yaml").brokers == 1


@pytest.mark.parametrize(
    ("listener", "given", "setting", "said"),
    [
        ("sasl", {}, "security_protocol", "may want another protocol than PLAINTEXT"),
        ("ssl", {}, "security_protocol", "may want another protocol than PLAINTEXT"),
        ("broker", {"security_protocol": "SSL"}, "security_protocol",
            "speaks no TLS, and SSL wants it; write PLAINTEXT"),
        ("sasl", {"security_protocol": "SASL_SSL"}, "security_protocol",
            "speaks no TLS, and SASL_SSL wants it; write SASL_PLAINTEXT"),
        ("broker", {"security_protocol": "SASL_PLAINTEXT"}, "security_protocol",
            "knows no SASL, and SASL_PLAINTEXT wants it; write PLAINTEXT or SSL"),
        ("sasl", {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256"},
            "sasl_mechanism", "does not take SCRAM-SHA-256; it takes PLAIN"),
        ("ssl", {"security_protocol": "SSL"}, "ssl_ca",
            "is not signed by an authority that this machine knows"),
        ("ssl", {"security_protocol": "SSL", "ssl_ca": "/none.pem"}, "ssl_ca",
            "/none.pem can't be read, or is not what it should be (PEM)"),
    ],
)  # fmt: skip
def test_another_way_to_speak_than_the_listener_s(
    guarded: GuardedKafka, listener: str, given: dict[str, Any], setting: str, said: str
) -> None:
    if given.get("security_protocol", "").startswith("SASL"):
        given = {**given, "sasl_username": "home", "sasl_password": PASSWORD}

    text = str(fault(guarded.ports[listener], **given))

    assert text.startswith(f"home.yaml: kafka: {setting}: ")
    assert said in text
    assert PASSWORD not in text


def test_a_certificate_of_another_host_is_refused(guarded: GuardedKafka) -> None:
    given = {"security_protocol": "SSL", "ssl_ca": str(guarded.certificate)}
    at = guarded.ports["ssl"]

    text = str(fault(f"localhost:{at}", **given))

    assert "kafka: ssl_ca: the certificate of localhost:" in text
    assert "or is for another host name" in text
    assert Broker(settings(at, **given), "home.yaml").brokers == 1


class Refusal:
    """An error of a broker that a test's own can't be brought to: full disks, missing rights."""

    def __init__(self, name: str, text: str, retriable: bool = False) -> None:
        self.name, self.str, self.retriable = lambda: name, lambda: text, lambda: retriable


@pytest.mark.parametrize(
    ("refusal", "said", "retriable"),
    [
        (Refusal("KAFKA_STORAGE_ERROR", "Disk error", True),
            "kafka: topic 'frames': making it: the broker can't write: its disk (log.dirs) is full or "
            "broken; make room there, or lower 'retention_hours'", True),
        (Refusal("TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed"),
            "kafka: sasl_username: topic 'frames': making it: the broker does not allow it to user "
            "'home'; give it the right (ACL), or another sasl_username", False),
        (Refusal("POLICY_VIOLATION", "Too small."),
            "kafka: topic 'frames': making it: Too small.", False),
        (Refusal("NOT_CONTROLLER", "Not the controller", True),
            "kafka: topic 'frames': making it: Not the controller", True),
    ],
    ids=lambda value: value.name() if isinstance(value, Refusal) else "",
)  # fmt: skip
def test_what_a_broker_refuses(refusal: Refusal, said: str, retriable: bool) -> None:
    faults = Faults(settings(9092, sasl_username="home"), "home.yaml")

    error = faults.refused(refusal, "frames", "making it")

    assert (str(error), error.retriable) == (f"home.yaml: {said}", retriable)


def test_what_is_not_known_is_shown_as_librdkafka_says_it() -> None:
    faults = Faults(settings(9092), "home.yaml")

    faults.hear("FAIL [rdkafka#producer-1] [thrd:main]: 10.0.0.1:9092/1: Odd\x1b[31m (after 3ms in state UP)")  # fmt: skip # noqa: E501

    assert str(faults.explain(8)) == (
        "home.yaml: kafka: bootstrap_servers: 127.0.0.1:9092 can't be used: 10.0.0.1:9092: Odd\\x1b[31m"
    )
