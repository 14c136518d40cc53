"""One partition of a segment: Kafka messages in, Kafka messages and a block of state out.

Nothing here knows Faust or a broker: what is to be sent and stored is given to who asked, who sends
and stores it in this order: outputs, dead letter, block. What is done again before its block was
stored gives the same outputs with the same origins, which consumers drop; after, it is skipped.

Messages that wait go through the stages one by one, each with outputs of its own, and have one block
together (`several`): how many they were shows in no output, so they may be others when they are done
again. Where one fails in a new place all of them are undone, and each is processed by itself.

An exception in a stage is tried again once from the state before the batch, unless the same place
failed twice already; then its message is lost from the batch, and the batch goes to the dead
letters as it came, with the ids of what was lost. What fails as a whole changes no state.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from datastalker import dead_letter
from datastalker.config import Config, build_segment
from datastalker.delivery import Origin, Seen, is_copy
from datastalker.errors import RegistryError, WireError
from datastalker.message import Message
from datastalker.segments import Segment
from datastalker.stage import Stage
from datastalker.state import Journal
from datastalker.stats import StageStats
from datastalker.text import one_line
from datastalker.topics import FRAME
from datastalker.wire import BatchDecoder, Framing, decode_event
from processors.outputs import Head, Output, Outputs
from processors.store import Entry, Ring

log = logging.getLogger("datastalker.worker")

_WRONG_CLOCK_MS = 3_600_000
"""A sensor whose clock is so far off does not say what time it is."""

_MOST_SECONDS = 0.02
"""Work that is stored together: meanwhile nothing is read from the broker or sent to it."""
_MOST_BYTES = 400_000
"""Outputs that are stored together."""


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka message that came in."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class Done:
    """What a message came to. Of several that are stored together the last has the block."""

    outputs: list[Output] = field(default_factory=list)
    dead: list[tuple[str, bytes]] | None = None
    block: list[Entry] | None = None
    repeated: bool = False
    """It was seen before."""


Part = tuple[Record, Done]

_Counted = tuple[list[tuple[Any, ...]], list[int], dict[str, float]]
"""What was counted of each stage, what its state evicted, and what stages count themselves."""


@dataclass(slots=True)
class _Input:
    head: Head
    messages: list[Message]
    now: int
    fresh: bool = True


@dataclass(slots=True)
class _Failure:
    who: str
    error: Exception
    ids: list[str]

    @property
    def place(self) -> tuple[object, ...]:
        frames = traceback.extract_tb(self.error.__traceback__)
        return self.who, type(self.error), *((f.filename, f.lineno) for f in frames[-1:])


class Partition:
    """The pipeline of one partition with its state."""

    def __init__(
        self,
        config: Config,
        segment: Segment,
        number: int,
        framing: Framing,
        blocks: Callable[[], Iterable[tuple[bytes, bytes]]],
        generation: int = 0,
        topic_ids: Mapping[str, str] | None = None,
    ) -> None:
        """`blocks` gives those that are stored, with their keys; `generation` is the group's;
        `topic_ids` tell topics of one name apart.

        Raises ConfigError, RegistryError, and DataStalkerError where a block is damaged.
        """
        self.segment, self.number = segment, number
        self.pipeline = build_segment(config, segment)
        self.pipeline.on_failure = self._failed
        self._blocks, self._topic_ids = blocks, dict(topic_ids or {})
        self._framing, self._decoder = framing, BatchDecoder(framing, to_pass_on=True)
        self._outputs = Outputs(segment, framing)
        self._frame_topics = {p.name for k, p in segment.source.items() if k == FRAME}
        self._failures: list[_Failure] = []
        self._hopeless: set[tuple[object, ...]] = set()
        self._told = 0
        self.states: dict[str, Journal] = {}
        for entry in self.pipeline.entries:
            state = Journal(config.settings["state_max_entries"])
            self.states[entry.stats.name] = entry.component.state = state
        self._careful: dict[str, int] = {}
        """By topic: the offset up to which each message is processed by itself."""
        self._ring = Ring(generation=generation)
        self._restore()

    @property
    def stage_stats(self) -> list[StageStats]:
        return self.pipeline.all_stats()

    def _restore(self) -> None:
        """Back to what was with the last block that is stored."""
        head = self._ring.restore(self._blocks(), self.states)
        self.pipeline.now = head.get("now", 0)
        self._beat = -1  # the time that was handed on by a heartbeat
        self.offsets: dict[str, int] = dict(head.get("offsets", {}))
        """By topic: of the last message that is done with."""
        self._lives: dict[str, tuple[str, int]] = {}
        """By topic: its id, and how often it was deleted and made anew before."""
        for topic, now_id in self._topic_ids.items():
            before, life = head.get("lives", {}).get(topic, (now_id, 0))
            if before != now_id:
                life += 1
                self.offsets.pop(topic, None)
            self._lives[topic] = now_id, life
        self.seen = {topic: Seen(data) for topic, data in head.get("seen", {}).items()}
        for entry in self.pipeline.entries:
            if isinstance(entry.component, Stage):
                entry.component.restored()

    def process(self, record: Record) -> Done:
        """Run a message through the stages.

        Raises RegistryError while the registry isn't there: nothing has changed, try again.
        """
        if record.offset <= self.offsets.get(record.topic, -1) or record.value is None:
            return self._pass(record)
        counted = self._counts()
        for attempt in (1, 2):
            self._failures.clear()
            try:
                given = self._decode(record)
            except Exception as error:
                if isinstance(error, RegistryError) and error.retriable:
                    raise
                self._fail("decode", error)
                break  # nothing has changed, and to read all state again takes seconds
            if not given.fresh:
                return self._pass(record)
            try:
                outputs = self._run(given)
                places = {failure.place for failure in self._failures}
                if attempt == 2 or places <= self._hopeless:
                    self._hopeless |= places
                    dead = self._dead(record) if self._failures else None
                    return Done(outputs, dead, self._block(record))
            except Exception as error:
                if isinstance(error, RegistryError) and error.retriable:
                    self._undo(counted)
                    raise
                self._fail(self.segment.name, error)
            self._undo(counted)
        return Done([], self._dead(record), self._block(record))

    def several(self, records: Sequence[Record]) -> list[Part]:
        """Run messages of one topic through the stages that are stored together: the first of these.

        How many is a matter of time and size. None where the first is to be processed by itself.
        """
        topic = records[0].topic
        if records[0].offset <= self._careful.get(topic, -1):
            return []
        parts: list[Part] = []
        counted, until, size = self._counts(), time.perf_counter() + _MOST_SECONDS, 0
        for record in records:
            try:
                done = self._next(record)
            except Exception:
                self._careful[topic] = record.offset
                self._undo(counted)
                return []
            if done is None:
                break
            parts.append((record, done))
            size += sum(len(output.value or b"") for output in done.outputs)
            late = time.perf_counter() > until or size > _MOST_BYTES
            if late or self.pipeline.stop_reason is not None:
                break
        if not all(done.repeated for _, done in parts):
            try:
                parts[-1][1].block = self._block(parts[-1][0])
            except Exception:
                self._careful[topic] = parts[-1][0].offset
                self._undo(counted)
                return []
        return parts

    def _next(self, record: Record) -> Done | None:
        """One of several. None: it is one for `process`, and nothing has changed.

        Raises what fails on the way, and RuntimeError where a stage failed in a new place.
        """
        if record.offset <= self.offsets.get(record.topic, -1) or record.value is None:
            return self._pass(record)
        try:
            given = self._decode(record)
        except Exception:
            return None
        if not given.fresh:
            return self._pass(record)
        self._failures.clear()
        outputs = self._run(given)
        if not {failure.place for failure in self._failures} <= self._hopeless:
            raise RuntimeError("a stage failed in a new place")
        self.offsets[record.topic] = record.offset
        return Done(outputs, self._dead(record) if self._failures else None)

    def _pass(self, record: Record) -> Done:
        last = self.offsets.get(record.topic, -1)
        self.offsets[record.topic] = max(record.offset, last)
        return Done(repeated=record.offset <= last or record.value is not None)

    def _run(self, given: _Input) -> list[Output]:
        """What is to be sent."""
        pipeline = self.pipeline
        offset = given.head.clock_offset_ms
        if offset is not None and abs(offset) > _WRONG_CLOCK_MS:
            nows = [(state, state.now) for state in self.states.values()]
            out = pipeline.feed(given.messages, now=pipeline.now)
            for state, now in nows:  # stages look at the time of frames themselves
                state.now = now
        else:
            out = pipeline.feed(given.messages) if given.messages else []
            out += pipeline.tick(given.now)
        later = sum(entry.delay for entry in pipeline.entries)
        now = max(0, pipeline.now - later)
        if given.head.heartbeat:  # every agent sends them: only what tells something new goes on
            given.head.heartbeat = now > self._beat
            self._beat = max(now, self._beat)
        return self._outputs.encode(out, given.head, now, self._unwritable)

    def _decode(self, record: Record) -> _Input:
        assert record.value is not None
        made = Origin.from_headers(record.headers)
        here = Origin(record.topic, record.partition, record.offset)
        # Its offsets begin again: what is made from it now is no repeat of what was made before.
        life = self._lives.get(record.topic, ("", 0))[1]
        origin = here._replace(topic=f"{record.topic}~{life}") if life else here
        seen = self.seen.setdefault(record.topic, Seen())
        copy = is_copy(record.headers, here)
        if record.topic in self._frame_topics:
            batch = self._decoder.decode(record.value)
            head = Head(origin, batch.sent_at, batch.clock_offset_ms, not batch.messages)
            given = _Input(head, batch.messages, batch.now)
            if made is None and batch.session and not copy:
                given.fresh = seen.batch(batch.session, batch.sequence)
        else:
            message = decode_event(record.value, self._framing)
            given = _Input(Head(origin, 0, None, False), [message], 0)
        if copy:
            given.fresh = False
        elif made is not None:
            given.fresh = seen.origin(made)
        again = dead_letter.to_retry(record.headers, map(_id, given.messages))
        if again is not None:
            given.fresh = True
            given.messages = [message for message in given.messages if _id(message) in again]
        return given

    def _block(self, record: Record) -> list[Entry]:
        # Behind what is new may stand what was read again.
        last = max(record.offset, self.offsets.get(record.topic, -1))
        offsets = {**self.offsets, record.topic: last}
        seen = {topic: seen.to_data() for topic, seen in self.seen.items()}
        head = {"offsets": offsets, "seen": seen, "now": self.pipeline.now, "lives": self._lives}
        block = self._ring.block(self.states, head)
        self.offsets = offsets
        return block

    def _failed(self, who: str, error: Exception, messages: list[Message]) -> None:
        self._failures.append(_Failure(who, error, [_id(message) for message in messages]))

    def _unwritable(self, message: Message, error: WireError) -> None:
        self._failed("topic", error, [message])

    def _fail(self, who: str, error: Exception) -> None:
        """The whole message failed."""
        self._failures[:] = [_Failure(who, error, [])]

    def _dead(self, record: Record) -> list[tuple[str, bytes]]:
        """The headers of the dead letter."""
        first = self._failures[0]
        named = isinstance(first.error, WireError)
        reason = str(first.error) if named else f"{type(first.error).__name__}: {first.error}"
        level = logging.WARNING if self._told < 10 else logging.DEBUG
        self._told += 1
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        ids = [one for failure in self._failures for one in failure.ids]
        log.log(level, "%s goes to the dead letters: %s: %s", place, first.who, one_line(reason))
        return dead_letter.headers(
            record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            who=first.who,
            reason=reason,
            time=int(time.time() * 1e6),
            traceback="".join(traceback.format_exception(first.error)),
            ids=ids if all(ids) else [],  # of one without an id nothing tells that it was lost
        )

    def _counts(self) -> _Counted:
        entries = self.pipeline.entries
        counts = [tuple(getattr(entry.stats, f.name) for f in _COUNTS) for entry in entries]
        evicted = [entry.component.state.evicted for entry in entries]
        return counts, evicted, self.pipeline.stats.get_stats()

    def _undo(self, counted: _Counted) -> None:
        """As if the message had never come; `counted`: what was counted before it."""
        self._restore()
        self.pipeline.stop_reason = None
        counts, evicted, named = counted
        for entry, values, count in zip(self.pipeline.entries, counts, evicted, strict=True):
            for f, value in zip(_COUNTS, values, strict=True):
                setattr(entry.stats, f.name, value)
            entry.component.state.evicted = count
        stats = self.pipeline.stats
        for name in stats.get_stats():
            stats.set(name, named.get(name, 0))


def _id(message: Message) -> str:
    return str(message.get("id") or "")


_COUNTS = [f for f in fields(StageStats) if f.name != "name"]
