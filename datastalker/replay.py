"""Replay: what lies in a topic is published once more, in its order, at its own pace or another.

The bytes stay: a batch keeps its session and sequence, what a worker made keeps its origin, so who
dedupes by them does so. Into the topic that it came from a message goes with its place in a header
(`datastalker.delivery.COPY`): workers and the CSV sink have had it, Elasticsearch knows the id.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.delivery import COPY
from datastalker.errors import BrokerError, RegistryError, WireError
from datastalker.history import History
from datastalker.message import Message
from datastalker.position import Position
from datastalker.record import Decoder, Place, Record
from datastalker.topics import client_settings, plan_topic
from datastalker.wire import encode_event, framing_of, schema_name
from datastalker.wire.encoder import BatchEncoder

if TYPE_CHECKING:
    from datastalker.config import Config

_MARK_SECONDS = 2.0
_FLUSH_SECONDS = 30.0
_AHEAD = 500
"""Kafka messages of a partition that wait for their time; with more it is not read on."""


@dataclass
class Totals:
    """What was replayed: Kafka messages, and the messages in them. `first`, `last`: when those were
    published that came first and last, milliseconds."""

    sent: int = 0
    messages: int = 0
    filtered: int = 0
    unreadable: int = 0
    first: int | None = None
    last: int | None = None

    @property
    def seconds(self) -> float:
        """For how long they were published."""
        return ((self.last or 0) - (self.first or 0)) / 1000


class Replay:
    """One range of one topic, into a topic. A context manager."""

    def __init__(
        self,
        config: Config,
        topic: str,
        target: str,
        begin: Position | None,
        end: Position | None,
        *,
        speed: float | None,
        meets: Callable[[Message], bool] | None = None,
        group: str,
        dry: bool = False,
    ) -> None:
        """`speed`: times the pace of then; None: as fast as it goes. `meets`: which messages.
        `group`: under whose name it is kept how far it came.

        Raises BrokerError where the broker or a topic isn't there, or the target does not fit.
        """
        self.config, self.topic, self.target = config, topic, target
        self.speed, self.dry, self.totals = speed, dry, Totals()
        self.stopped = self.resumed = False
        self._meets, self._group = meets, group
        self._decoder = Decoder(framing_of(config.settings.get("schema_registry")))
        self._framing = framing_of(config.settings.get("schema_registry"))
        self.history = History(config, [topic], begin, end, group=group)
        self._done = {place: span.next for place, span in self.history.spans.items()}
        self._waiting: dict[Place, deque[Record]] = {place: deque() for place in self._done}
        self._errors: list[Any] = []
        try:
            self._producer = None if dry else self._produce_to(target)
        except BaseException:
            self.history.close()
            raise

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self.history.close()

    def _produce_to(self, target: str) -> Any:
        from confluent_kafka import Producer

        count = len(self.history.spans)
        with connect(self.config) as broker:
            there = broker.describe([target]).get(target)
            if there is None:
                plan = plan_topic(target, ("frame",), self.config.kafka, self.config.topic(target))
                broker.create(replace(plan, partitions=count))
            elif there.partitions != count:
                raise BrokerError(
                    f"'{target}' has {there.partitions} partitions and '{self.topic}' {count}: "
                    "messages stay in their partition; name a topic with as many, or one that "
                    "isn't there, and it is made",
                    retriable=False,
                )
        self._faults = Faults(self.config.kafka, self.config.file)
        return Producer(
            {
                **client_settings(self.config.kafka),
                **self._faults.settings,
                "acks": "all",
                "enable.idempotence": True,
                "message.max.bytes": 64 << 20,
                "compression.type": self.config.kafka["compression"],
                "linger.ms": 5,
            }
        )

    def go_on(self) -> bool:
        """Go on where a replay of that group was ended. False: there is no such."""
        found = self.resumed = self.history.go_on()
        self._done = {place: span.next for place, span in self.history.spans.items()}
        return found

    def progress(self) -> tuple[int, int]:
        """(done, in all), in Kafka messages."""
        spans = self.history.spans
        total = sum((span.end or 0) - span.begin for span in spans.values())
        return sum(self._done[place] - span.begin for place, span in spans.items()), total

    def run(self, turn: Callable[[], None] = lambda: None) -> None:
        """To the end of the range, or until `stopped`; `turn` is called a few times a second.

        Raises BrokerError; what was marked by then is not replayed again by who goes on.
        """
        marked = time.monotonic()
        for record in self._paced(turn):
            self._replay(record)
            self._done[record.place] = record.offset + 1
            if time.monotonic() - marked > _MARK_SECONDS:
                self._mark()
                marked = time.monotonic()
            if self.stopped:
                break
        if not self.stopped:  # what was compacted away at the end is done with too
            self._done = {place: span.next for place, span in self.history.spans.items()}
        self._mark()
        if not self.stopped and not self.dry:
            self._forget()

    def _paced(self, turn: Callable[[], None]) -> Iterator[Record]:
        """The records, each when its time has come."""
        began, first = 0.0, None
        for records in self.history.read():
            turn()
            if self.stopped:
                return
            if self.speed is None:
                yield from records
                continue
            for record in records:
                self._waiting[record.place].append(record)
                if first is None:  # the pace is kept from then on, however long it took to come
                    began, first = time.monotonic(), record.time
            while first is not None and (due := self._next(first, began)) is not None:
                yield due
            self._hold_back()
        while any(self._waiting.values()) and not self.stopped:
            assert first is not None
            due = self._next(first, began)
            if due is None:
                turn()
                time.sleep(0.05)
            else:
                yield due

    def _next(self, first: int, began: float) -> Record | None:
        """What is due, the oldest first."""
        assert self.speed is not None
        heads = [queue for queue in self._waiting.values() if queue]
        queue = min(heads, key=lambda queue: queue[0].time or 0, default=None)
        if queue is None:
            return None
        due = began + ((queue[0].time or first) - first) / 1000 / self.speed
        return queue.popleft() if due <= time.monotonic() else None

    def _hold_back(self) -> None:
        full = [place for place, queue in self._waiting.items() if len(queue) > _AHEAD]
        self.history.pause(full)
        self.history.resume([p for p in self.history.paused if len(self._waiting[p]) < _AHEAD / 2])

    def _replay(self, record: Record) -> None:
        value = record.value
        if self.dry or self._meets is not None:
            value = self._filtered(record)
            if value is None and record.value is not None:
                return
        totals = self.totals
        totals.first = record.time if totals.first is None else totals.first
        totals.last = record.time
        totals.sent += 1
        if self._producer is None:
            return
        headers = [(name, data) for name, data in record.headers if name != COPY]
        if self.target == self.topic:
            headers.append((COPY, f"{record.topic}/{record.partition}/{record.offset}".encode()))
        while True:
            try:
                self._producer.produce(
                    self.target,
                    value,
                    record.key,
                    record.partition,
                    on_delivery=self._told,
                    headers=headers,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self._check()

    def _filtered(self, record: Record) -> bytes | None:
        """Its bytes with the messages that are asked for; None: it has none. A batch that has none
        left still tells the time."""
        try:
            decoded = self._decoder.decode(record)
        except (WireError, RegistryError):
            self.totals.unreadable += 1
            return record.value if self._meets is None else None
        kept = [m for m in decoded.messages if self._meets is None or self._meets(m)]
        self.totals.messages += len(kept)
        self.totals.filtered += len(decoded.messages) - len(kept)
        batch = decoded.batch
        if len(kept) == len(decoded.messages):
            return record.value
        if batch is None:
            return encode_event(kept[0], self._framing, self.target) if kept else None
        return BatchEncoder(
            batch.sensor,
            batch.session,
            labels=batch.labels,
            interface=batch.interface,
            file=batch.file,
            prefix=self._framing.prefix(schema_name("frame"), self.target),
        ).encode(
            kept,
            sequence=batch.sequence,
            sent_at=batch.sent_at,
            now=batch.now,
            clock_offset_ms=batch.clock_offset_ms,
        )

    def _told(self, error: Any, _: Any) -> None:
        if error is not None:
            self._errors.append(error)

    def _check(self) -> None:
        if self._errors:
            raise self._faults.refused(self._errors[0], self.target, "publishing")

    def _mark(self) -> None:
        """Once the broker has all of it, note how far it came."""
        if self._producer is None:
            return
        if self._producer.flush(_FLUSH_SECONDS):
            raise self._faults.explain(_FLUSH_SECONDS)
        self._check()
        self.history.mark(self._done)

    def _forget(self) -> None:
        """Nothing is left to go on with."""
        with connect(self.config) as broker:
            broker.forget_group(self._group)
