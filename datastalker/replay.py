"""Replay: what lies in a topic is published once more, in its order, at its own pace or another.

The bytes stay: a batch keeps its session and sequence, what a worker made keeps its origin, so who
dedupes by them does so. Into the topic that it came from a message goes with its place in a header
(`datastalker.delivery.COPY`): workers and the CSV sink have had it, Elasticsearch knows the id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from datastalker.broker import Broker, Topic, connect
from datastalker.delivery import COPY
from datastalker.errors import BrokerError, WireError
from datastalker.history import History
from datastalker.message import Message
from datastalker.pace import Pace
from datastalker.position import Position
from datastalker.record import Decoder, Record
from datastalker.record_writer import RecordWriter
from datastalker.topics import plan_topic
from datastalker.wire import framing_of, schema_name
from datastalker.wire.encoder import BatchEncoder

if TYPE_CHECKING:
    from datastalker.config import Config

_MARK_SECONDS = 2.0


@dataclass
class Totals:
    """What was replayed: Kafka messages, and the messages in them. `copies`: of an earlier replay,
    passed over. `first`, `last`: when the earliest and the latest were published, milliseconds."""

    sent: int = 0
    messages: int = 0
    filtered: int = 0
    unreadable: int = 0
    copies: int = 0
    first: int | None = None
    last: int | None = None

    @property
    def seconds(self) -> float:
        """For how long they were published."""
        return ((self.last or 0) - (self.first or 0)) / 1000

    def add(self, record: Record) -> None:
        """Count one that was sent."""
        self.sent += 1
        if record.time is not None:
            self.first = min(record.time, self.first or record.time)
            self.last = max(record.time, self.last or record.time)


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
        self.dry, self.totals = dry, Totals()
        self.stopped = self.resumed = False
        self._speed, self._meets, self._group = speed, meets, group
        self._framing = framing_of(config.settings.get("schema_registry"))
        self._decoder = Decoder(self._framing)
        self.history = History(config, [topic], begin, end, group=group)
        self._begin()
        self._pace: Pace | None = None
        self._writer: RecordWriter | None = None
        try:
            with connect(config) as broker:
                self._prepare(broker)
            if not dry:
                self._writer = RecordWriter(config, target)
        except BaseException:
            self.history.close()
            raise

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self.history.close()

    def _prepare(self, broker: Broker) -> None:
        """See that the target fits, and make it where it isn't there."""
        there, count = broker.describe([self.topic, self.target]), len(self.history.spans)
        target = there.get(self.target)
        if target is None:
            if not self.dry:
                self._make_target(broker, there[self.topic])
        elif target.partitions != count:
            raise BrokerError(
                f"'{self.target}' has {target.partitions} partitions and '{self.topic}' {count}: "
                "messages stay in their partition; name a topic with as many, or one that "
                "isn't there, and it is made",
                retriable=False,
            )
        elif self.target == self.topic:
            settings = broker.describe([self.topic], settings=True)[self.topic].settings
            if "compact" in settings["cleanup.policy"]:
                raise BrokerError(
                    f"'{self.topic}' is compacted, of each key the last message stays: what is "
                    "old would take the place of what is new. Replay it --to-topic another, or "
                    "begin a pipeline with it: stalk run reads it from there",
                    retriable=False,
                )

    def _make_target(self, broker: Broker, source: Topic) -> None:
        """As the configuration has it, but what the source holds must fit into it."""
        plan = plan_topic(
            self.target, ("frame",), self.config.kafka, self.config.topic(self.target)
        )
        limit = "max.message.bytes"
        settings = broker.describe([source.name], settings=True)[source.name].settings
        fitting = {**plan.settings, limit: settings[limit]}
        plan = replace(plan, partitions=source.partitions, settings=fitting)
        broker.create(plan)
        if keys := broker.keys([source]):
            broker.note_keys({broker.describe([self.target])[self.target]: keys[source.name]})

    def go_on(self) -> bool:
        """Go on where a replay of that group was ended. False: there is no such."""
        self.resumed = self.history.go_on()
        self._begin()
        return self.resumed

    def _begin(self) -> None:
        self._done = {place: span.next for place, span in self.history.spans.items()}
        self._before = self.progress()[0]

    def progress(self) -> tuple[int, int]:
        """(done, in all), in Kafka messages."""
        spans = self.history.spans
        total = sum((span.end or 0) - span.begin for span in spans.values())
        return sum(self._done[place] - span.begin for place, span in spans.items()), total

    def seconds_left(self, seconds: float) -> float | None:
        """How long it still takes by what was done in so many seconds, or by its pace."""
        if self._pace is not None and (left := self._pace.seconds_left) is not None:
            return left
        done, total = self.progress()
        now = done - self._before
        return seconds * (total - done) / now if now else None

    def run(self, turn: Callable[[], None] = lambda: None) -> None:
        """To the end of the range, or until `stopped`; `turn` is called a few times a second.

        Raises BrokerError, RegistryError; what was marked by then is not replayed again by who
        goes on.
        """
        self._mark()  # whatever happens from now on, this range can be gone on with
        marked, more = monotonic(), False
        if self._speed is not None:
            self._pace = Pace(self.history, self._speed)
        for records in (self._pace or self.history).read():
            turn()
            for record in records:
                if self.stopped:
                    break
                self._replay(record)
                self._done[record.place] = record.offset + 1
            if self.stopped:
                break
            more = more or bool(records)
            if more and monotonic() - marked > _MARK_SECONDS:
                self._mark()
                marked, more = monotonic(), False
        else:  # what was compacted away at the end is done with too
            self._done = {place: span.next for place, span in self.history.spans.items()}
            self.stopped = False  # too late: all was done
        self._mark()
        if not self.stopped and not self.dry:
            self._forget()

    def _replay(self, record: Record) -> None:
        if self.history.repeats(record):
            self.totals.copies += 1
            return
        value = record.value
        if self.dry or self._meets is not None:
            value = self._filtered(record)
            if value is None and record.value is not None:
                return
        self.totals.add(record)
        if self._writer is None:
            return
        headers = [(name, data) for name, data in record.headers if name != COPY]
        if self.target == self.topic:
            headers.append((COPY, f"{record.topic}/{record.partition}/{record.offset}".encode()))
        self._writer.write(record._replace(value=value, headers=headers))

    def _filtered(self, record: Record) -> bytes | None:
        """Its bytes with the messages that are asked for; None: it has none. A batch that has none
        left still tells the time."""
        try:
            decoded = self._decoder.decode(record)
        except WireError:
            self.totals.unreadable += 1
            return record.value if self._meets is None else None
        kept = [m for m in decoded.messages if self._meets is None or self._meets(m)]
        self.totals.messages += len(kept)
        self.totals.filtered += len(decoded.messages) - len(kept)
        batch = decoded.batch
        if len(kept) == len(decoded.messages):
            return record.value
        if batch is None:  # one message, and it isn't asked for
            return None
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

    def _mark(self) -> None:
        """Once the broker has all of it, note how far it came."""
        if self._writer is not None:
            self._writer.flush()
            self.history.mark(self._done)

    def _forget(self) -> None:
        """Nothing is left to go on with."""
        with connect(self.config) as broker:
            broker.forget_group(self._group)
