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
from difflib import get_close_matches
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

from datastalker.broker import connect
from datastalker.broker_faults import Faults
from datastalker.delivery import copied_from
from datastalker.errors import BrokerError
from datastalker.options import suggest
from datastalker.position import Position
from datastalker.record import Place, Record
from datastalker.span import SECONDS, Finder, Span
from datastalker.topics import client_settings

if TYPE_CHECKING:
    from datastalker.config import Config

log = logging.getLogger("datastalker.history")

_SILENT_SECONDS = 30.0
_TURN_SECONDS = 0.25
_AT_ONCE = 64


class History:
    """Reads all partitions of topics, each from a place to a place.

    `spans`: by topic and partition, what is read. `there`: the offsets that each had at the start:
    from, up to. `notes`: what of the range is not there, in sentences. A context manager, or `close`
    it.
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
        self.paused: set[Place] = set()
        self.follows = follow
        with connect(config) as broker:
            there = broker.describe(self.topics)
            missing = [name for name in self.topics if name not in there]
            known = broker.names() if missing else []
        if missing:
            named = ", ".join(f"'{name}'" for name in missing)
            at = config.kafka["bootstrap_servers"]
            text = f"{config.file}: at {at} is no topic {named}"
            if len(missing) == 1:
                near = get_close_matches(missing[0], known, 1)
                text += suggest(missing[0], near or [n for n in _named(config) if n in known])
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
        self._finder = Finder(self._consumer, self._faults)
        self.notes, self.there = self._finder.notes, self._finder.there
        try:
            places = [(name, n) for name in self.topics for n in range(there[name].partitions)]
            self.spans = self._finder.spans(places, begin, None if follow else end, follow=follow)
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

    def last_time(self) -> int | None:
        """When the last of the range was published, milliseconds; None: not known.

        To be asked before `read`. Raises BrokerError.
        """
        from confluent_kafka import TopicPartition

        todo = {p: span.end - 1 for p, span in self.spans.items() if span.end and not span.done}
        self._consumer.assign([TopicPartition(*place, last) for place, last in todo.items()])
        times, deadline = [], monotonic() + SECONDS
        while todo and monotonic() < deadline:
            for place, record in self._found(self._consumer.consume(1, _TURN_SECONDS)):
                if todo.pop(place, None) is not None and record is not None:
                    times.append(record.time)
        return max((time for time in times if time is not None), default=None)

    def repeats(self, record: Record) -> bool:
        """Whether it is a copy of what lies before it in the range."""
        original = copied_from(record.headers)
        if original is None or original[:2] != record.place:
            return False
        return self.spans[record.place].begin <= original.offset < record.offset

    def read(self, turn_seconds: float = _TURN_SECONDS) -> Iterator[list[Record]]:
        """What is in the range, each partition in its order: a list, maybe empty, each
        `turn_seconds` at least.

        Ends where the range ends. Raises BrokerError where no more will come.
        """
        from confluent_kafka import TopicPartition

        todo = {place for place, span in self.spans.items() if not span.done}
        self._consumer.assign([TopicPartition(*p, self.spans[p].next) for p in sorted(todo)])
        silent = 0.0
        while todo:
            records: list[Record] = []
            begun = monotonic()
            found = self._found(self._consumer.consume(_AT_ONCE, turn_seconds))
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
            raise self._finder.refused(raised, kept[0].topic) from None

    def go_on(self) -> bool:
        """Go on from the last mark, with the range of that time. False: there is none."""
        marked = [part for part in self._committed() if part.offset >= 0 and part.metadata]
        for part in marked:
            begin, end = map(int, (part.metadata or "").split())
            place = part.topic, part.partition
            low, _ = self._finder.watermarks(place)
            if part.offset < min(low, end):
                gone = f"{part.offset:,} to {min(low, end):,}"
                self.notes.append(f"{part.topic}[{part.partition}]: {gone} are no longer there")
            self.spans[place] = Span(begin, end, max(part.offset, low))
        return bool(marked)

    def _committed(self) -> list[Any]:
        """What the group has committed. A broker that was just started looks for it first."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        wanted = [TopicPartition(*place) for place in self.spans]
        until = monotonic() + SECONDS
        while True:
            try:
                found: list[Any] = self._consumer.committed(wanted, timeout=SECONDS)
                return found
            except KafkaException as raised:
                soon = (
                    KafkaError.NOT_COORDINATOR,
                    KafkaError.COORDINATOR_NOT_AVAILABLE,
                    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
                )
                if raised.args[0].code() not in soon or monotonic() > until:
                    raise self._finder.refused(raised, self.topics[0]) from None
                sleep(_TURN_SECONDS)

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
