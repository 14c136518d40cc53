"""The broker, for what is done before messages flow: which topics it has, and to make what is missing.

    with connect(config) as broker:
        broker.require(topic_plans(config))

Every call ends within seconds: with an answer, or with a BrokerError that names the setting under
`kafka:` and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from datastalker import extras, topic_keys
from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError
from datastalker.topics import TopicPlan, client_settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from datastalker.config import Config

SECONDS = 8.0
"""How long a broker may take for an answer."""

_REFUSED_SECONDS = 3.0
"""How long to try again where nothing listens: a broker that is just being restarted comes back."""

_ROUND_SECONDS = 0.5


@dataclass(frozen=True)
class Topic:
    """A topic as it is."""

    name: str
    id: str
    partitions: int
    replication: int
    settings: dict[str, str] = field(default_factory=dict, hash=False)


def connect(config: Config, seconds: float = SECONDS) -> Broker:
    """Reach the broker of a checked configuration, or raise BrokerError that says why not."""
    extras.require("confluent_kafka", "Kafka", "agent")
    return Broker(config.kafka, config.file, seconds)


class Broker:
    """A connection for administration. `brokers`: how many there are."""

    def __init__(self, kafka: dict[str, Any], file: str, seconds: float = SECONDS) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        self.kafka = kafka
        self.file = file
        self.seconds = seconds
        self.faults = Faults(kafka, file)
        self._settings = {
            **client_settings(kafka),
            "socket.connection.setup.timeout.ms": int(seconds * 500),
        }
        try:
            self._client: AdminClient = AdminClient({**self._settings, **self.faults.settings})
        except KafkaException as error:
            raise self.faults.refused_settings(error.args[0].str()) from None
        self.brokers = self._reach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: librdkafka ends its threads with the last reference."""

    def _reach(self) -> int:
        from confluent_kafka import KafkaException

        begin = monotonic()
        while True:
            try:
                found = self._client.list_topics(timeout=min(self.seconds, _ROUND_SECONDS))
            except KafkaException:
                self._client.poll(0)  # serves the callbacks that tell why
            else:
                self.faults.forget()
                return len(found.brokers)
            waited = monotonic() - begin
            if waited >= self.seconds:
                raise self.faults.explain(self.seconds)
            if self.faults.hopeless or (self.faults.heard and waited >= _REFUSED_SECONDS):
                raise self.faults.explain(self.seconds)

    def names(self) -> list[str]:
        """The topics that are there, Kafka's own left out. Raises BrokerError."""
        from confluent_kafka import KafkaException

        try:
            found = self._client.list_topics(timeout=self.seconds)
        except KafkaException:
            raise self.faults.explain(self.seconds) from None
        return sorted(name for name in found.topics if not name.startswith("__"))

    def describe(self, names: Iterable[str], *, settings: bool = False) -> dict[str, Topic]:
        """Those of the topics that are there; with their settings if asked for."""
        from confluent_kafka import KafkaError, TopicCollection
        from confluent_kafka.admin import ConfigResource, ResourceType

        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        futures = self._client.describe_topics(
            TopicCollection(wanted), request_timeout=self.seconds
        )
        found: dict[str, Topic] = {}
        for name, future in futures.items():
            told = self._result(future, name, "looking at it", KafkaError.UNKNOWN_TOPIC_OR_PART)
            if told is not None:
                copies = min((len(part.replicas) for part in told.partitions), default=0)
                found[name] = Topic(name, str(told.topic_id), len(told.partitions), copies)
        if not settings or not found:
            return found
        resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in found}
        asked = self._client.describe_configs(
            list(resources.values()), request_timeout=self.seconds
        )
        for name, resource in resources.items():
            entries = self._result(asked[resource], name, "reading its settings")
            values = {key: entry.value for key, entry in entries.items() if entry.value is not None}
            found[name] = replace(found[name], settings=values)
        return found

    def create(self, plan: TopicPlan) -> None:
        """Make a topic. No error if somebody else was quicker."""
        from confluent_kafka import KafkaError
        from confluent_kafka.admin import NewTopic

        new = NewTopic(plan.name, plan.partitions, plan.replication, config=plan.config())
        future = self._client.create_topics([new], request_timeout=self.seconds)[plan.name]
        self._result(future, plan.name, "making it", KafkaError.TOPIC_ALREADY_EXISTS)

    def forget_group(self, group: str) -> None:
        """Delete a consumer group that nobody is in. No error if it isn't there."""
        from confluent_kafka import KafkaError

        future = self._client.delete_consumer_groups([group], request_timeout=self.seconds)[group]
        self._result(future, group, "forgetting the group", KafkaError.GROUP_ID_NOT_FOUND)

    def alter(self, name: str, settings: dict[str, str]) -> None:
        """Change settings of a topic, and leave the others as they are."""
        from confluent_kafka.admin import (
            AlterConfigOpType,
            ConfigEntry,
            ConfigResource,
            ResourceType,
        )

        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        futures = self._client.incremental_alter_configs([resource], request_timeout=self.seconds)
        self._result(futures[resource], name, "changing its settings")

    def grow(self, name: str, partitions: int) -> None:
        """Add partitions to a topic until it has so many."""
        from confluent_kafka.admin import NewPartitions

        futures = self._client.create_partitions(
            [NewPartitions(name, partitions)], request_timeout=self.seconds
        )
        self._result(futures[name], name, "adding partitions")

    def keys(self, topics: Iterable[Topic]) -> dict[str, str]:
        """The field each topic is partitioned by, of those of which it was noted."""
        there = self.describe([topic_keys.NAME]).get(topic_keys.NAME)
        if there is None:
            return {}
        noted = self._move(
            lambda settings: topic_keys.read(settings, there.partitions, self.seconds),
            "reading which key topics have",
        )
        return {t.name: noted[t.name, t.id] for t in topics if (t.name, t.id) in noted}

    def note_keys(self, keys: dict[Topic, str]) -> None:
        """Write down by which field topics are partitioned."""
        noted = {(topic.name, topic.id): key for topic, key in keys.items()}
        self._move(
            lambda settings: topic_keys.write(settings, noted, self.seconds),
            "noting which key topics have",
        )

    def require(self, plans: Iterable[TopicPlan]) -> None:
        """Raise one BrokerError for all topics that are missing or not as they are needed.

        For the start of agents, workers and sinks: it makes nothing and waits for nothing.
        """
        wanted = {plan.name: plan for plan in plans}
        there = self.describe(wanted)
        keys = self.keys(t for t in there.values() if wanted[t.name].frames)
        problems = []
        for name, plan in wanted.items():
            topic = there.get(name)
            if topic is None:
                problems.append(f"topic '{name}' is missing")
            elif topic.partitions != plan.partitions:
                has = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
                problems.append(
                    f"topic '{name}' has {has}, and partitions: {plan.partitions} is configured"
                )
            elif keys.get(name, plan.key) != plan.key:
                problems.append(
                    f"topic '{name}' is partitioned by '{keys[name]}', and key: {plan.key} is "
                    "configured"
                )
        if problems:
            text = "; ".join(problems)
            remedy = f"`stalk topics apply -c {self.file}` makes what is missing, and says the rest"
            at = self.kafka["bootstrap_servers"]
            raise BrokerError(f"{self.file}: at {at}: {text}. {remedy}", retriable=False)

    def _result(self, future: Any, topic: str, what: str, *fine: int) -> Any:
        """The answer to a request; None where the error is one of `fine`."""
        from confluent_kafka import KafkaException

        try:
            answer = future.result(timeout=self.seconds + 2)
        except KafkaException as raised:
            error = raised.args[0]
            if error.code() in fine:
                return None
            self._client.poll(0)
            if error.name() in ("_TIMED_OUT", "_TRANSPORT") and self.faults.heard:
                raise self.faults.explain(self.seconds) from None
            raise self.faults.refused(error, topic, what) from None
        except TimeoutError:
            raise self.faults.explain(self.seconds) from None
        return answer

    def _move(self, call: Callable[[dict[str, Any]], Any], what: str) -> Any:
        """Read or write messages, with a client of its own."""
        from confluent_kafka import KafkaException

        faults = Faults(self.kafka, self.file)
        try:
            return call({**self._settings, **faults.settings})
        except KafkaException as error:
            raise faults.refused(error.args[0], topic_keys.NAME, what) from None
        except TimeoutError:
            raise faults.explain(self.seconds) from None
