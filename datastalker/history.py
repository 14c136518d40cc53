"""A range of topics, read by nobody's group: nothing is joined, nothing committed, nobody disturbed.

    with History(config, ["wifi.frames"], parse_position("-2h")) as history:
        for records in history.read():      # a list each quarter of a second at least, maybe empty
            for record in records:
                messages = decoder.decode(record).messages

Its end is what is there when it begins, unless it follows. `datastalker.merged` puts the frames of
several partitions in the order of their time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError
from datastalker.message import Message
from datastalker.options import suggest
from datastalker.position import BEGINNING, END, Position
from datastalker.topics import client_settings
from datastalker.wire import Batch, BatchDecoder, Framing, SingleObject, decode_event

if TYPE_CHECKING:
    from datastalker.config import Config

log = logging.getLogger("datastalker.history")

Place = tuple[str, int]
"""A topic and the number of a partition."""

_SECONDS = 10.0
_SILENT_SECONDS = 30.0
_TURN_SECONDS = 0.25
_AT_ONCE = 64


class Record(NamedTuple):
    """A Kafka message as it is. `time`: milliseconds since 1970, None where it has none."""

    topic: str
    partition: int
    offset: int
    time: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass
class Span:
    """What of a partition is to be read: from `begin` up to `end`, which is not in it (None: on and
    on). `next`: the offset that comes next; what lies before it was read."""

    begin: int
    end: int | None
    next: int

    @property
    def done(self) -> bool:
        return self.end is not None and self.next >= self.end


class History:
    """Reads all partitions of topics, each from a place to a place.

    `spans`: by topic and partition, what is read. `notes`: what of the range is not there, in
    sentences. A context manager, or `close` it.
    """

    def __init__(
        self,
        config: Config,
        topics: Iterable[str],
        begin: Position | None = None,
        end: Position | None = None,
        *,
        follow: bool = False,
        group: str | None = None,
    ) -> None:
        """`begin`: from the beginning unless given. `follow`: whatever comes then is read too, and
        `end` is not looked at. `group`: under whose name `mark` keeps how far it came.

        Raises BrokerError where the broker or a topic isn't there.
        """
        self.topics = list(dict.fromkeys(topics))
        self.notes: list[str] = []
        self.paused: set[Place] = set()
        self.there: dict[Place, tuple[int, int]] = {}
        """The offsets that each partition had at the start: from, up to."""
        self.follows = follow
        with connect(config) as broker:
            there = broker.describe(self.topics)
            self.topic_ids = {name: topic.id for name, topic in there.items()}
        missing = [name for name in self.topics if name not in there]
        if missing:
            named = ", ".join(f"'{name}'" for name in missing)
            at = config.kafka["bootstrap_servers"]
            text = f"{config.file}: at {at} is no topic {named}"
            if len(missing) == 1:
                text += suggest(missing[0], _named(config))
            raise BrokerError(text, retriable=False)
        self._faults = Faults(config.kafka, config.file)
        from confluent_kafka import Consumer  # it is there: `connect` says what to do if not

        self._consumer = Consumer(
            {
                **client_settings(config.kafka),
                **self._faults.settings,
                # Demanded; never joined, and without a mark nobody hears of it
                "group.id": group or f"{config.settings['name']}-history",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
            }
        )
        try:
            places = [(name, n) for name in self.topics for n in range(there[name].partitions)]
            self.spans = self._spans(places, begin, None if follow else end)
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def read(self) -> Iterator[list[Record]]:
        """What is in the range, each partition in its order; lists may be empty.

        Ends where the range ends. Raises BrokerError where no more will come.
        """
        from confluent_kafka import TopicPartition

        todo = {place for place, span in self.spans.items() if not span.done}
        self._consumer.assign([TopicPartition(*p, self.spans[p].next) for p in sorted(todo)])
        silent = 0.0
        while todo:
            records: list[Record] = []
            begun = monotonic()
            found = self._found(self._consumer.consume(_AT_ONCE, _TURN_SECONDS))
            for place, record in found:
                span = self.spans[place]
                if span.done:
                    continue
                if record is None:  # nothing follows: what the range had besides is compacted away
                    span.next = max(span.next, span.end or 0)
                elif record.offset >= span.next:
                    if span.end is None or record.offset < span.end:
                        records.append(record)
                    span.next = record.offset + 1
            silent = 0.0 if found or todo <= self.paused else silent + monotonic() - begun
            if silent > _SILENT_SECONDS and not self.follows:
                raise self._faults.explain(_SILENT_SECONDS)
            yield records
            over = {place for place in todo if self.spans[place].done}
            if over:
                todo -= over
                self._consumer.incremental_unassign([TopicPartition(*place) for place in over])

    def _found(self, raw: list[Any]) -> list[tuple[Place, Record | None]]:
        """Kafka messages as they came; None: the end of a partition for now."""
        from confluent_kafka import KafkaError

        found: list[tuple[Place, Record | None]] = []
        for message in raw:
            error, place = message.error(), (message.topic(), message.partition())
            if error is None:
                kind, time = message.timestamp()
                headers = [(name, value) for name, value in message.headers() or ()]
                found.append(
                    (
                        place,
                        Record(
                            *place,
                            message.offset(),
                            time if kind else None,
                            message.key(),
                            message.value(),
                            headers,
                        ),
                    )
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                # A range's end was there when it began, so it can't be before it
                if place in self.spans and (self.spans[place].end or 0) <= message.offset():
                    found.append((place, None))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                text = f"{place[0]}[{place[1]}]: what was to be read next is no longer there; the "
                raise BrokerError(text + "topic's retention_hours were over", retriable=False)
            elif error.fatal() or error.code() not in _passing():
                raise self._faults.refused(error, place[0] or ", ".join(self.topics), "reading")
            else:
                log.info("Kafka: %s", error.str())
        return found

    def mark(self, done: Mapping[Place, int]) -> None:
        """Keep with the broker that all before these offsets is done with. Raises BrokerError."""
        from confluent_kafka import KafkaException, TopicPartition

        kept = [
            TopicPartition(*place, offset, metadata=f"{span.begin} {span.end or 0}")
            for place, offset in done.items()
            for span in (self.spans[place],)
        ]
        try:
            self._consumer.commit(offsets=kept, asynchronous=False)
        except KafkaException as raised:
            raise self._refused(raised, kept[0].topic) from None

    def go_on(self) -> bool:
        """Go on from the last mark, with the range of that time. False: there is none."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            found = self._consumer.committed(
                [TopicPartition(*place) for place in self.spans], timeout=_SECONDS
            )
        except KafkaException as raised:
            raise self._refused(raised, self.topics[0]) from None
        marked = [part for part in found if part.offset >= 0 and part.metadata]
        for part in marked:
            begin, end = map(int, (part.metadata or "").split())
            low, _ = self._watermarks((part.topic, part.partition))
            self.spans[part.topic, part.partition] = Span(begin, end, max(part.offset, low))
        return bool(marked)

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch no more of these partitions for now."""
        from confluent_kafka import TopicPartition

        more = [
            place for place in places if place not in self.paused and not self.spans[place].done
        ]
        if more:
            self._consumer.pause([TopicPartition(*place) for place in more])
            self.paused.update(more)

    def resume(self, places: Iterable[Place]) -> None:
        """Go on with them, where they were."""
        from confluent_kafka import TopicPartition

        again = [place for place in places if place in self.paused]
        self.paused.difference_update(again)
        for place in again:
            if not self.spans[place].done:
                self._consumer.resume([TopicPartition(*place)])

    def progress(self) -> tuple[int, int] | None:
        """(read, in all) in Kafka messages; None: it follows."""
        if self.follows:
            return None
        spans = self.spans.values()
        total = sum((span.end or 0) - span.begin for span in spans)
        return sum(min(span.next, span.end or 0) - span.begin for span in spans), total

    def _spans(
        self, places: list[Place], begin: Position | None, end: Position | None
    ) -> dict[Place, Span]:
        lows, highs = {}, {}
        for place in places:
            lows[place], highs[place] = self.there[place] = self._watermarks(place)
        default = Position(END if self.follows else BEGINNING)
        begins = self._offsets(begin or default, lows, highs, "begins")
        ends = self._offsets(end or Position(END), lows, highs, "ends")
        spans = {}
        for place in places:
            first, last = begins[place], max(begins[place], ends[place])
            if begin is not None and begin.offsets and place[1] not in begin.offsets:
                last = first = highs[place]  # of the other partitions nothing was asked for
            spans[place] = Span(first, None if self.follows else last, first)
        return spans

    def _offsets(
        self, position: Position, lows: dict[Place, int], highs: dict[Place, int], what: str
    ) -> dict[Place, int]:
        """The offset that a position means in each partition, within what is there."""
        if position.time is not None:
            return self._by_time(position.time, highs)
        if position.text == END:
            return highs
        wrong = [n for n in position.offsets if n not in {number for _, number in lows}]
        if wrong:
            text = (
                f"'{position.text}': there is no partition {wrong[0]} in {', '.join(self.topics)}"
            )
            raise BrokerError(text, retriable=False)
        found = {}
        for place, low in lows.items():
            wanted = position.offsets.get(place[1], position.offset)
            if wanted is None:
                wanted = highs[place] if position.offsets and what == "ends" else low
            elif not low <= wanted <= highs[place] and (position.offsets or what == "begins"):
                there = f"it has {low:,} to {highs[place]:,}"
                self.notes.append(f"{place[0]}[{place[1]}] {what} at {wanted:,}? {there}")
            found[place] = min(max(wanted, low), highs[place])
        return found

    def _by_time(self, time: int, highs: dict[Place, int]) -> dict[Place, int]:
        """The first offset that was published then or later, by partition."""
        from confluent_kafka import KafkaException, TopicPartition

        # Rounded up: of a millisecond that had begun already only what comes after
        asked = [TopicPartition(*place, max(0, -(-time // 1000))) for place in highs]
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=_SECONDS)
        except KafkaException as raised:
            raise self._refused(raised, asked[0].topic) from None
        found = {}
        for part in answers:
            place = part.topic, part.partition
            if part.error is not None:
                raise self._faults.refused(part.error, part.topic, "looking for a time")
            found[place] = highs[place] if part.offset < 0 else min(part.offset, highs[place])
        return found

    def _watermarks(self, place: Place) -> tuple[int, int]:
        from confluent_kafka import KafkaException, TopicPartition

        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_SECONDS)
        except KafkaException as raised:
            raise self._refused(raised, place[0]) from None
        if found is None:
            raise self._faults.explain(_SECONDS)
        return found

    def _refused(self, raised: Any, topic: str) -> BrokerError:
        if self._faults.heard:
            return self._faults.explain(_SECONDS)
        return self._faults.refused(raised.args[0], topic, "looking at it")


def _passing() -> set[int]:
    from confluent_kafka import KafkaError

    return {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError.GROUP_AUTHORIZATION_FAILED,  # the group is a name only
    }


def _named(config: Config) -> list[str]:
    return [name for step in config.steps for name in (step.topics or {}).values()]


@dataclass
class Decoded:
    """What a record holds: a batch of frames, or one message. Neither: it is a tombstone."""

    messages: list[Message] = field(default_factory=list)
    batch: Batch | None = None

    @property
    def now(self) -> int:
        """What time it is by the data, microseconds; 0: it does not say."""
        if self.batch is not None:
            return self.batch.now
        times = (message.get("timestamp") for message in self.messages)
        return max((time for time in times if isinstance(time, int)), default=0)


class Decoder:
    """Records of any topic of ours to messages: the bytes tell what they are."""

    def __init__(self, framing: Framing | None = None) -> None:
        self._framing = framing or SingleObject()
        self._batches = BatchDecoder(self._framing)

    def decode(self, record: Record) -> Decoded:
        """Raises WireError where it is none of ours; RegistryError where the registry can't say."""
        if record.value is None:
            return Decoded()
        writer, _ = self._framing.writer(record.value)
        if writer.name == "frame_batch":
            batch = self._batches.decode(record.value)
            return Decoded(batch.messages, batch)
        return Decoded([decode_event(record.value, self._framing)])
