"""What comes to a topic from now on, read by nobody's group: nothing is joined or committed."""

from __future__ import annotations

from collections.abc import Iterator

from datastalker import extras
from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.config import Config
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.tapped import Counts
from datastalker.topics import TopicPlan, client_settings
from datastalker.wire import BatchDecoder, decode_event, framing_of

_AT_ONCE = 64
_TURN_SECONDS = 0.25


def follow(config: Config, plan: TopicPlan) -> Iterator[Message | Counts]:
    """The messages, and the counts now and then; for ever. Raises BrokerError."""
    with extras.needs("reading a topic", "agent"):
        from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition
    with connect(config) as broker:
        broker.require([plan])
        count = broker.describe([plan.name])[plan.name].partitions
    framing = framing_of(config.settings.get("schema_registry"))
    batches = BatchDecoder(framing)
    faults = Faults(config.kafka, config.file)
    consumer = Consumer(
        {
            **client_settings(config.kafka),
            **faults.settings,
            "group.id": f"{config.settings['name']}-tap",  # demanded; never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "fetch.wait.max.ms": 100,
        }
    )
    seen = unreadable = 0
    try:
        consumer.assign([TopicPartition(plan.name, number, OFFSET_END) for number in range(count)])
        while True:
            try:
                records = consumer.consume(_AT_ONCE, _TURN_SECONDS)
            except KafkaException as raised:
                raise faults.refused(raised.args[0], plan.name, "reading") from None
            for record in records:
                error, value = record.error(), record.value()
                if error is not None:
                    if error.fatal() or not error.retriable():
                        raise faults.refused(error, plan.name, "reading")
                    continue
                if value is None:  # a tombstone
                    continue
                try:
                    found = (
                        batches.decode(value).messages
                        if plan.frames
                        else [decode_event(value, framing)]
                    )
                except WireError:
                    unreadable += 1
                    continue
                seen += len(found)
                yield from found
            yield {"seen": seen, "unreadable": unreadable}
    finally:
        consumer.close()
