"""What librdkafka says when Kafka can't be reached, as one sentence with the setting and the remedy.

librdkafka tries again for ever and tells the cause in its log and in callbacks only. `Faults` listens
to both, keeps what it heard from the terminal, and explains it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from datastalker.errors import BrokerError
from datastalker.text import one_line

log = logging.getLogger(__name__)

_KEPT = 50
_ADDRESS = re.compile(r"(?:\w+://)?(?P<address>[^\s/]+:\d+)/(?P<node>bootstrap|\d+): (?P<said>.*)")
_AFTER = re.compile(r" \(after \d+ms in state \w+\)")


@dataclass(frozen=True, slots=True)
class _Rule:
    """`said`: what librdkafka's text matches. `retriable`: it may be well without a change of ours."""

    said: str
    setting: str
    text: str
    retriable: bool = False


_RULES = (
    _Rule(
        r"Unsupported SASL mechanism.*supported mechanisms: (?P<detail>\S+)",
        "sasl_mechanism",
        "{at} does not take {sasl_mechanism}; it takes {detail}",
    ),
    _Rule(
        r"SASL .* handshake failed",
        "security_protocol",
        "{at} knows no SASL, and {security_protocol} wants it; write PLAINTEXT or SSL, or give the "
        "address of its SASL listener",
    ),
    _Rule(
        r"SASL|[Aa]uthentication",
        "sasl_username, sasl_password",
        "{at} refuses user '{sasl_username}' with the password given (not shown here); correct one "
        "of them",
    ),
    _Rule(
        r"certificate verify failed",
        "ssl_ca",
        "the certificate of {at} is not signed by {authority}, or is for another host name; give "
        "the file with its authority's certificate, and the name that the certificate has",
    ),
    _Rule(
        r"PLAINTEXT broker listener|wrong version number",
        "security_protocol",
        "{at} speaks no TLS, and {security_protocol} wants it; write {without_tls}, or give the "
        "address of its TLS listener",
    ),
    _Rule(
        r"bad certificate|certificate required|certificate unknown",
        "ssl_certificate",
        "{at} refuses our certificate, or wants one; give ssl_certificate and ssl_key",
    ),
    _Rule(
        r"Failed to resolve",
        "bootstrap_servers",
        "no host is known by the name in {at}; correct it, or make the name known (DNS, /etc/hosts)",
        retriable=True,
    ),
    _Rule(
        r"Connection refused",
        "bootstrap_servers",
        "nothing listens at {at} (connection refused); start the broker, or correct the address",
        retriable=True,
    ),
    _Rule(
        r"No route to host|unreachable",
        "bootstrap_servers",
        "there is no way through the network to {at}; correct the address, or the network",
        retriable=True,
    ),
    _Rule(
        r"Invalid response size (3525\d+|2164\d+)",
        "security_protocol",
        "{at} speaks TLS, and {security_protocol} does not; write {with_tls}",
    ),
    _Rule(
        r"Invalid response size",
        "bootstrap_servers",
        "what answers at {at} is no Kafka broker; give the address of one",
    ),
    _Rule(
        r"Required feature not supported",
        "bootstrap_servers",
        "{at} is not for clients: a controller's port, or Kafka older than 2.8; give the address of "
        "a broker's listener",
    ),
    _Rule(
        r"Disconnected|connection closed",
        "security_protocol",
        "{at} closes the connection; its listener may want another protocol than "
        "{security_protocol} (one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)",
        retriable=True,
    ),
    _Rule(
        r"timed out",
        "bootstrap_servers",
        "{at} does not answer; is it a broker's address, does the broker live, does a firewall "
        "stand between?",
        retriable=True,
    ),
)

_FILES = {
    "ssl.ca.location": "ssl_ca",
    "ssl.certificate.location": "ssl_certificate",
    "ssl.key.location": "ssl_key",
}


class Faults:
    """Hears what one client of librdkafka says: give the client `settings` beside its own."""

    def __init__(self, kafka: dict[str, Any], file: str) -> None:
        """`kafka` is that of the configuration, completed; `file` the configuration's name."""
        self.kafka = kafka
        self.file = file
        self._heard: dict[tuple[str, str, str], None] = {}
        logger = logging.Logger("librdkafka")  # of nobody's tree: nothing reaches the terminal
        logger.addHandler(_Ear(self))
        self.settings: dict[str, Any] = {"error_cb": self._error, "logger": logger}

    def _error(self, error: Any) -> None:
        self.hear(error.str())

    def hear(self, text: str) -> None:
        """Remember what was said, once."""
        found = _ADDRESS.search(text)
        if found is None:
            return
        said = _AFTER.sub("", found["said"])
        if len(self._heard) < _KEPT:
            self._heard[found["address"], found["node"], said] = None

    @property
    def heard(self) -> bool:
        """Whether anything went wrong."""
        return bool(self._heard)

    @property
    def hopeless(self) -> bool:
        """Whether something went wrong that waiting does not mend."""
        return self.heard and not self.explain(0).retriable

    def forget(self) -> None:
        """It went well after all: what was heard explains nothing that comes later."""
        self._heard.clear()

    def explain(self, seconds: float) -> BrokerError:
        """The most telling of what was heard; `seconds`: for how long there was no answer."""
        for rule in _RULES:
            matches = [
                (address, node, match)
                for address, node, said in self._heard
                if (match := re.search(rule.said, said))
            ]
            if matches:
                at = ", ".join(dict.fromkeys(address for address, _, _ in matches))
                found = matches[0][2].groupdict().get("detail", "")
                text = rule.text.format(at=at, detail=found, **self._words())
                if all(node != "bootstrap" for _, node, _ in matches):
                    text += (
                        f". It is the broker itself that sends its clients there: see the "
                        f"broker's advertised.listeners; {self._servers()} answered"
                    )
                return self.error(rule.setting, text, retriable=rule.retriable)
        at = self._servers()
        if self._heard:
            said = "; ".join(f"{address}: {said}" for address, _, said in self._heard)
            return self.error("bootstrap_servers", f"{at} can't be used: {said}", retriable=True)
        text = f"no answer from {at} within {seconds:.0f} s; " + (
            "is it a broker's address, does the broker live, does a firewall stand between?"
        )
        return self.error("bootstrap_servers", text, retriable=True)

    def refused_settings(self, said: str) -> BrokerError:
        """librdkafka would not even make a client; it names the setting of its own."""
        for theirs, ours in _FILES.items():
            if theirs in said:
                text = f"{self.kafka[ours]} can't be read, or is not what it should be (PEM)"
                return self.error(ours, text)
        return self.error("", said)

    def refused(self, error: Any, topic: str, what: str) -> BrokerError:
        """The broker answered, and would not do it; `error` is its KafkaError."""
        name, said = error.name(), error.str()
        about = f"topic '{topic}': {what}: "
        if name.endswith("AUTHORIZATION_FAILED"):
            who = self.kafka["sasl_username"]
            user = f"user '{who}'" if who else "a client without a user name"
            text = f"the broker does not allow it to {user}; give it the right (ACL), or another "
            return self.error("sasl_username", about + text + "sasl_username")
        if name in ("INVALID_REPLICATION_FACTOR", "NOT_ENOUGH_REPLICAS"):
            text = f"{said} Write a smaller 'replication', or start more brokers"
            return self.error("replication", about + text)
        if name in ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"):
            text = "a message is larger than the topic takes; raise its max.message.bytes "
            how = f"(kafka-configs --alter --topic {topic} --add-config max.message.bytes=N)"
            return self.error("", about + text + how)
        if name == "KAFKA_STORAGE_ERROR":
            text = "the broker can't write: its disk (log.dirs) is full or broken; make room there"
            return self.error("", f"{about}{text}, or lower 'retention_hours'", retriable=True)
        if error.retriable() or name in ("_TIMED_OUT", "_TRANSPORT", "REQUEST_TIMED_OUT"):
            return self.error("", about + said, retriable=True)
        return self.error("", about + said)

    def error(self, setting: str, text: str, *, retriable: bool = False) -> BrokerError:
        """An error that names the file and the setting under `kafka:`."""
        where = f"kafka: {setting}" if setting else "kafka"
        return BrokerError(f"{self.file}: {where}: {one_line(text)}", retriable=retriable)

    def _words(self) -> dict[str, str]:
        protocol = self.kafka["security_protocol"]
        sasl = protocol.startswith("SASL")
        return {
            "security_protocol": protocol,
            "sasl_mechanism": self.kafka["sasl_mechanism"],
            "sasl_username": self.kafka["sasl_username"] or "",
            "authority": self.kafka["ssl_ca"] or "an authority that this machine knows",
            "with_tls": "SASL_SSL" if sasl else "SSL",
            "without_tls": "SASL_PLAINTEXT" if sasl else "PLAINTEXT",
        }

    def _servers(self) -> str:
        return str(self.kafka["bootstrap_servers"])


class _Ear(logging.Handler):
    """librdkafka's log: heard, and passed to ours at DEBUG."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.faults.hear(text)
        log.debug("librdkafka: %s", text)
