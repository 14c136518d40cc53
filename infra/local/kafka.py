"""Apache Kafka: one node, broker and controller at once (KRaft)."""

from __future__ import annotations

import base64
import socket
import struct
import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

from infra.local.errors import StackError
from infra.local.maven import Artifact, fetch
from infra.local.service import Ports, Service

VERSION = "4.4.0"

_ARTIFACTS = (
    Artifact("org.apache.kafka", "kafka_2.13", VERSION),
    Artifact("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.5"),  # as in Kafka's own archive
)
_METADATA, _METADATA_VERSION = 3, 4


class Kafka(Service):
    """A broker whose every topic has one replica."""

    name = "kafka"
    usual_ports: ClassVar[Ports] = {"broker": 9092, "controller": 9093}

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.ports['broker']}"

    def install(self) -> Path:
        return fetch(self.name, _ARTIFACTS, self._say)

    def arguments(self, home: Path, ports: Ports) -> list[str]:
        if "," in str(self.directory):  # Kafka would read it as two folders
            raise StackError(f"{self.directory}: Kafka's folder may have no comma in its name")
        configuration = self.directory / "server.properties"
        data = self.directory / "data"
        configuration.write_text(_CONFIGURATION.format(data=data, **ports))
        jars = ["-cp", f"{home / 'lib'}/*"]
        if not (data / "meta.properties").exists():
            tool = [*self._jvm(), "-Xmx128m", *jars, "kafka.tools.StorageTool", "format"]
            tool += ["-t", _cluster_id(), "-c", str(configuration)]
            done = subprocess.run(tool, capture_output=True, text=True)
            if done.returncode:
                said = (done.stderr or done.stdout).strip()[-2000:]
                raise StackError(f"Kafka could not lay out {data}:\n{said}")
        return ["-Xmx512m", *jars, "kafka.Kafka", str(configuration)]

    def healthy(self, ports: Ports) -> bool:
        """Whether clients would be sent to this broker: it has caught up and is let in."""
        try:
            return ports["broker"] in brokers("127.0.0.1", ports["broker"])
        except (OSError, struct.error):
            return False


def _cluster_id() -> str:
    # As `random-uuid` makes them: 22 characters, the first never a dash, which is an option's
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode()[:22]


def brokers(host: str, port: int) -> list[int]:
    """The ports of the brokers that Kafka names to a client (a Metadata request, no topics)."""
    header = struct.pack(">hhih5s", _METADATA, _METADATA_VERSION, 1, 5, b"stack")
    message = header + struct.pack(">ib", 0, 0)
    with socket.create_connection((host, port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(message)) + message)
        with connection.makefile("rb") as answer:
            body = answer.read(struct.unpack(">i", answer.read(4))[0])
    at, found = 12, []  # after the correlation id, the throttle time, the count of brokers
    for _ in range(struct.unpack_from(">i", body, 8)[0]):
        at += 6 + struct.unpack_from(">h", body, at + 4)[0]  # node id, host
        found.append(struct.unpack_from(">i", body, at)[0])
        at += 6 + max(0, struct.unpack_from(">h", body, at + 4)[0])  # port, rack
    return found


_CONFIGURATION = """\
# Written at each start. Small, for one machine.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
log.dirs={data}
num.network.threads=2
num.io.threads=4
# After a kill -9 the controller waits this long before it lets the broker in again (9 s by default)
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
