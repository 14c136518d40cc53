"""Kafka messages to messages of the pipeline; what can't be read goes to the dead letters."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from datastalker.delivery import Origin, Seen, is_copy
from datastalker.errors import RegistryError, RetryLater, WireError
from datastalker.message import Message
from datastalker.stats import Stats, Taps
from datastalker.topics import TopicPlan
from datastalker.wire import Batch, BatchDecoder, Framing, decode_event
from sinks.dead_letters import DeadLetters

Place = tuple[str, int]
"""A topic and the number of a partition."""

_AGAIN_SECONDS = 2.0


def place(record: Any) -> Place:
    """Where a Kafka message comes from."""
    return record.topic(), record.partition()


class Reader:
    """Reads the topics of a segment."""

    def __init__(
        self,
        plans: dict[str, TopicPlan],
        framing: Framing,
        when: Callable[[Message], bool] | None,
        dead: DeadLetters,
        stats: Stats,
    ) -> None:
        """`plans`: by the topic's name. `when`: the condition of the sink, if it has one."""
        self.plans, self.framing, self.when = plans, framing, when
        self.dead, self.stats = dead, stats
        self._batches = BatchDecoder(framing)
        self.taps: Taps = ()
        """Who looks at what the sink gets."""

    def read(self, record: Any, seen: Seen | None = None) -> list[Message]:
        """The messages for the sink in a Kafka message, each counted as consumed.

        `seen`: what of the partition was seen; a repeat gives none. Raises RetryLater while the
        registry is away.
        """
        value = record.value()
        if value is None:  # a tombstone: the key's latest state is none
            return []
        batch: Batch | None = None
        try:
            if self.plans[record.topic()].frames:
                batch = self._batches.decode(value)
                messages = batch.messages
            else:
                messages = [decode_event(value, self.framing)]
            fresh = seen is None or _is_fresh(seen, record, batch)
        except RegistryError as error:
            if error.retriable:
                raise RetryLater(str(error), _AGAIN_SECONDS) from error
            raise
        except Exception as error:
            self._poison(record, error)
            return []
        if not fresh:
            self.stats.incr("sink/repeated", len(messages))
            return []
        if self.when is not None:
            passing = len(messages)
            messages = [message for message in messages if self.when(message)]
            self.stats.incr("sink/skipped", passing - len(messages))
        self.stats.incr("sink/consumed", len(messages))
        for tap in self.taps:
            tap.see(messages)
        return messages

    def _poison(self, record: Any, error: Exception) -> None:
        """One message that is none of ours, or a mistake of ours: never a reason to stop."""
        named = isinstance(error, WireError)
        reason = str(error) if named else f"{type(error).__name__}: {error}"
        self.dead.put(record, reason, "" if named else traceback.format_exc())
        self.stats.incr("sink/consumed")
        self.stats.incr("sink/dead")


def _is_fresh(seen: Seen, record: Any, batch: Batch | None) -> bool:
    """Note where a message was made; False if it, or one that tells the same, was seen already."""
    headers = record.headers()
    if is_copy(headers, Origin(record.topic(), record.partition(), record.offset())):
        return False
    origin = Origin.from_headers(headers)
    if origin is not None:
        return seen.origin(origin)
    if batch is not None and batch.session:
        return seen.batch(batch.session, batch.sequence)
    return True
