"""Topics: what a configuration says of the broker, and what it needs there.

A cut is a topic for each message type. Frames travel in batches, partitioned by the cut's key (the
transmitter by default); every other type travels one record a message, by its own `key`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from datastalker.options import Option, option, options_of

FRAME = "frame"
ALERT = "alert"
SENSOR = "sensor"
"""Type of the status messages that agents send of themselves."""


def _addresses(value: str) -> str | None:
    for address in value.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            return f"must be host:port, several with commas between, not '{value}'"
    return None


class KafkaSettings:
    """`kafka:` in the configuration. Not used by a run in one process."""

    bootstrap_servers: str = option(
        "localhost:9092",
        "where the brokers are: host:port, several with commas between",
        check=_addresses,
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = option(
        "PLAINTEXT", "how to speak to them"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = option(
        "PLAIN", "how to show who we are"
    )
    sasl_username: str | None = option(None, "user name for SASL")
    sasl_password: str | None = option(
        None, "password for SASL: ${NAME} or ${file:PATH}", secret=True
    )
    ssl_ca: str | None = option(None, "file with the certificates of who signs the brokers'")
    ssl_certificate: str | None = option(None, "file with our certificate, for mutual TLS")
    ssl_key: str | None = option(None, "file with its key")
    partitions: int = option(1, "of a topic that `topics` says nothing of", minimum=1)
    replication: int = option(1, "copies of each partition, likewise", minimum=1)
    retention_hours: float = option(168, "how long a topic of frames keeps them", minimum=0.01)
    compression: Literal["none", "lz4", "zstd", "gzip", "snappy"] = option(
        "lz4", "of what is published"
    )


class TopicSettings:
    """One entry of `topics:` in the configuration; what is left out follows `kafka:`."""

    partitions: int | None = option(None, "number of partitions", minimum=1)
    replication: int | None = option(None, "copies of each partition", minimum=1)
    retention_hours: float | None = option(None, "how long messages are kept", minimum=0.01)
    compact: bool | None = option(
        None, "keep the last message of each key for ever; the default for presence and sensor"
    )
    key: str = option("ta", "field whose value says which partition a frame goes to")


KAFKA: dict[str, Option] = options_of(KafkaSettings) or {}
TOPIC: dict[str, Option] = options_of(TopicSettings) or {}


def check_kafka(kafka: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings of `kafka:` together: the setting, and what to do."""
    if kafka["security_protocol"].startswith("SASL"):
        for name in ("sasl_username", "sasl_password"):
            if not kafka[name]:
                text = f"security_protocol {kafka['security_protocol']} needs '{name}'; give it"
                yield name, text
    if (kafka["ssl_certificate"] is None) != (kafka["ssl_key"] is None):
        given, other = "ssl_certificate", "ssl_key"
        if kafka[given] is None:
            given, other = other, given
        yield given, f"'{given}' is of use with '{other}' only; give both"


COMPACTED = ("presence", SENSOR)
"""Types of which the latest message of a key is a state that makes sense by itself."""


@dataclass(frozen=True)
class TopicPlan:
    """A topic as the configuration wants it."""

    name: str
    types: tuple[str, ...]
    partitions: int
    replication: int
    key: str
    compact: bool
    retention_ms: int
    settings: dict[str, str] = field(default_factory=dict, hash=False)
    """Of the broker's settings of a topic, those beside `compact` and `retention_ms`."""

    @property
    def frames(self) -> bool:
        """It carries batches of frames; else one record a message."""
        return FRAME in self.types

    def config(self) -> dict[str, str]:
        """The broker's settings of the topic that this plan cares for."""
        policy = "compact" if self.compact else "delete"
        return {
            "cleanup.policy": policy,
            "retention.ms": str(self.retention_ms),
            **self.settings,
        }


def plan_topic(
    name: str, types: tuple[str, ...], kafka: dict[str, Any], topic: dict[str, Any]
) -> TopicPlan:
    """What is wanted of one topic: its own settings, else those of `kafka:`."""
    hours = topic["retention_hours"] or kafka["retention_hours"]
    compact = topic["compact"]
    if compact is None:
        compact = bool(types) and all(kind in COMPACTED for kind in types)
    return TopicPlan(
        name,
        types,
        topic["partitions"] or kafka["partitions"],
        topic["replication"] or kafka["replication"],
        topic["key"],
        compact,
        -1 if compact else int(hours * 3_600_000),
    )


def client_settings(kafka: dict[str, Any]) -> dict[str, Any]:
    """`kafka:` as librdkafka's settings, for producers, consumers and the admin client."""
    settings: dict[str, Any] = {
        "bootstrap.servers": kafka["bootstrap_servers"],
        "security.protocol": kafka["security_protocol"],
        "allow.auto.create.topics": False,  # a name misspelt is an error, not a topic
    }
    if kafka["security_protocol"].startswith("SASL"):
        settings["sasl.mechanism"] = kafka["sasl_mechanism"]
    for ours, theirs in (
        ("sasl_username", "sasl.username"),
        ("sasl_password", "sasl.password"),
        ("ssl_ca", "ssl.ca.location"),
        ("ssl_certificate", "ssl.certificate.location"),
        ("ssl_key", "ssl.key.location"),
    ):
        if kafka[ours] is not None:
            settings[theirs] = kafka[ours]
    return settings


ONCE: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    # A broker knows the repeats of five requests. With five on their way in one partition
    # librdkafka polls without a pause until one is answered; with fewer it sleeps.
    "max.in.flight.requests.per.connection": 4,
}
"""librdkafka's settings for producers of which each message is in its partition once, in order,
however often it had to be sent."""


def murmur2(data: bytes) -> int:
    """Kafka's own hash of a key (Utils.murmur2), as an unsigned 32-bit number."""
    length = len(data)
    m = 0x5BD1E995
    h = 0x9747B28C ^ length
    for at in range(0, length & ~3, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ k >> 24) * m & 0xFFFFFFFF
        h = h * m & 0xFFFFFFFF ^ k
    tail = data[length & ~3 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partition_field(key: str) -> Callable[[Mapping[str, Any]], Any]:
    """Gives the value by which a frame's partition is told where a topic has that key.

    A frame without a transmitter goes by its receiver: an ACK meets whom it answers.
    """
    if key == "ta":
        return lambda message: message.get("ta") or message.get("ra")
    return lambda message: message.get(key)


def partition_of_value(value: Any, partitions: int) -> int:
    """The partition of frames with that value of the key: by an address's 6 bytes, else by the
    text; 0 for frames without."""
    if value is None:
        return 0
    text = str(value)
    if len(text) == 17 and text[2::3] == ":::::":
        try:
            return partition_of(bytes.fromhex(text.replace(":", "")), partitions)
        except ValueError:
            pass
    return partition_of(text.encode("utf-8", "replace"), partitions)
