"""Which field a topic of frames is partitioned by: Kafka does not know, so it is written down there.

One compacted topic for the whole cluster, since a topic's key is the same for all who use it:

    datastalker.topic-keys    key: the topic's name    value: {"key": "ta", "topic_id": "gMvi…"}

`stalk topics apply` writes; agents, workers and sinks read at the start. The id is Kafka's own of the
topic: what was noted of a topic that was deleted and made again by hand counts no more.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

from datastalker.topics import TopicPlan

NAME = "datastalker.topic-keys"
_TYPE = "topic_key"


def plan(kafka: dict[str, Any]) -> TopicPlan:
    """The topic of keys, as it is to be."""
    return TopicPlan(NAME, (_TYPE,), 1, kafka["replication"], "", True, -1)


def read(settings: dict[str, Any], partitions: int, seconds: float) -> dict[tuple[str, str], str]:
    """The key by a topic's name and id. `settings` are librdkafka's.

    Raises TimeoutError, and KafkaException where the broker refuses.
    """
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    passing = (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.GROUP_AUTHORIZATION_FAILED,  # the group is a name only
    )
    consumer = Consumer(
        {
            **settings,
            "group.id": NAME,  # demanded by librdkafka; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
        }
    )
    found: dict[tuple[str, str], str] = {}
    try:
        consumer.assign([TopicPartition(NAME, n, 0) for n in range(partitions)])
        open_partitions, until = set(range(partitions)), monotonic() + seconds
        while open_partitions:
            message = consumer.poll(max(0.0, until - monotonic()))
            if message is None:
                if monotonic() >= until:
                    raise TimeoutError
                continue
            error = message.error()
            if error is None:
                _note(found, message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
            elif error.code() not in passing:
                raise KafkaException(error)
    finally:
        consumer.close()
    return found


def write(settings: dict[str, Any], keys: dict[tuple[str, str], str], seconds: float) -> None:
    """Note the keys of topics, by name and id. Raises as `read` does."""
    from confluent_kafka import KafkaException, Producer

    errors: list[Any] = []
    producer = Producer({**settings, "acks": "all"})
    for (name, topic_id), key in keys.items():
        producer.produce(
            NAME,
            key=name.encode(),
            value=json.dumps({"key": key, "topic_id": topic_id}).encode(),
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    if producer.flush(seconds):
        raise TimeoutError
    if errors:
        raise KafkaException(errors[0])


def _note(found: dict[tuple[str, str], str], name: bytes | None, value: bytes | None) -> None:
    """What is not ours, or of a version to come, says nothing."""
    try:
        said = json.loads(value or b"")
        found[(name or b"").decode(), str(said["topic_id"])] = str(said["key"])
    except (ValueError, KeyError, TypeError):
        return
