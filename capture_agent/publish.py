"""Frames and events to parcels: batches of each partition, encoded, numbered and counted."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter

from capture_agent.lanes import Lane, Lanes
from capture_agent.outbox import GIVEN_UP, Outbox, Parcel
from datastalker.clock import WRONG, any_wrong
from datastalker.errors import OutputError, WireError
from datastalker.message import Message
from datastalker.text import printable
from datastalker.topics import FRAME, TopicPlan, partition_of
from datastalker.wire import BatchEncoder, Framing, encode_event, schema_name

log = logging.getLogger("datastalker.agent")

UNWRITABLE, NO_TOPIC = "unwritable", "no_topic"

_MAX_BYTES = 800_000  # of a batch before compression: a broker takes a million unless told more
_WAIT_SECONDS = 0.1

_TYPE, _TIMESTAMP = itemgetter("type"), itemgetter("timestamp")
_FRAMES = {FRAME}


class Publisher:
    """Sends messages to the topics of a cut, and counts what became of their frames.

    `arrived` = `published` + what `dropped` counts by reason + `waiting` + what is on disk, always.
    `events` counts those delivered, `events_dropped` those that never will be. `patient`: `write`
    waits for room, and what can't be delivered raises OutputError; else what finds no room is
    dropped.
    """

    def __init__(
        self,
        topics: dict[str, TopicPlan],
        outbox: Outbox,
        framing: Framing,
        *,
        sensor: str,
        session: str,
        labels: dict[str, str],
        batch_frames: int,
    ) -> None:
        """`topics`: by message type. Raises RegistryError where the registry isn't there."""
        self.patient = True
        self.arrived = self.published = self.events = self.batches = 0
        self.dropped: Counter[str] = Counter()
        self.events_dropped: Counter[str] = Counter()
        self.offset_ms: Callable[[], float | None] = lambda: None
        """How far the clock that frames have their time from is ahead; None: nobody knows."""
        self._now = 0
        self.lost: str | None = None
        """Why the first parcel that could not be delivered could not."""
        self._topics, self._outbox, self._framing = topics, outbox, framing
        self._session = session
        outbox.told = self._told
        self._plan = topics.get(FRAME)
        self._lanes = Lanes(self._plan, batch_frames)
        if self._plan is not None:
            self._encoder = BatchEncoder(
                sensor,
                session,
                labels=labels,
                prefix=framing.prefix("frame_batch", self._plan.name),
            )
        for kind, plan in topics.items():
            if kind != FRAME:
                framing.prefix(schema_name(kind), plan.name)  # registered now, not with the first
        self._shown = False

    @property
    def waiting(self) -> int:
        """Frames that arrived, of which nothing was told yet, and that are in memory alone."""
        told = self.published + self.dropped.total()
        return self.arrived - told - self._outbox.spooled

    def write(self, messages: list[Message]) -> None:
        """Take messages that leave the pipeline."""
        try:
            frames = messages
            if set(map(_TYPE, messages)) != _FRAMES:
                frames = self._without_events(messages)
        except KeyError:  # a message of a plug-in's, without a type
            frames = self._without_events(messages)
        if self._plan is None or not frames:
            return
        self.arrived += len(frames)
        for lane, batch in self._lanes.put(frames):
            self._cut(lane, batch)

    def linger(self, seconds: float) -> None:
        """Send what has waited for longer than that."""
        for lane, batch in self._lanes.lingering(seconds):
            self._cut(lane, batch)

    def heartbeat(self, now: int) -> None:
        """Tell every partition that it is `now`, behind the frames that wait for it."""
        for lane, batch in self._lanes.rest():
            self._cut(lane, batch)
            self._encode(lane, [], now)

    def event(self, message: Message, plan: TopicPlan, kind: str = "event") -> None:
        """Send a message that is no frame, to the partition of its key."""
        key = message.get("key") or message.get("id")
        raw = None if key is None else str(key).encode("utf-8", "replace")
        try:
            value = encode_event(message, self._framing, plan.name)
        except WireError as error:
            self._show(error)
            self.events_dropped[UNWRITABLE] += 1
            return
        number = 0 if raw is None else partition_of(raw, plan.partitions)
        taken = time.time_ns() // 1000
        self._send(Parcel(plan.name, number, value, kind, 0, raw, self._session, -1, taken))

    def serve(self, seconds: float = 0) -> None:
        """Let the outbox tell of deliveries; wait for one so long at most."""
        self._outbox.serve(seconds)
        self._check()

    def drop_waiting(self) -> None:
        """Give up all that is not delivered yet; it counts as dropped."""
        for _ in self._lanes.rest():
            pass
        if self._outbox.waiting:  # else a purge could take what is sent right after it, too
            self._outbox.drop()
        if self.waiting:
            self.dropped[GIVEN_UP] += self.waiting

    def _without_events(self, messages: Iterable[Message]) -> list[Message]:
        frames = []
        for message in messages:
            if message.type == FRAME:
                frames.append(message)
            elif (plan := self._topics.get(message.type)) is not None:
                self.event(message, plan)
            else:
                self._count_homeless(message)
        return frames

    def _count_homeless(self, message: Message) -> None:
        """`stalk check` knows the types that a stage declares, not those that it just makes."""
        if not self.events_dropped[NO_TOPIC]:
            log.error(
                "messages of type '%s' have no topic, and are dropped; shown once, counted: give the "
                "type one where the pipeline is cut",
                printable(message.type),
            )
        self.events_dropped[NO_TOPIC] += 1

    def _cut(self, lane: Lane, frames: list[Message]) -> None:
        """Send frames as a batch; its `now` is the time of the last."""
        try:
            written = list(map(self._encoder.frame, frames))
        except WireError:
            frames, written = self._writable(frames)
        if not frames:
            return
        if sum(map(len, written)) > _MAX_BYTES and len(written) > 1:
            half = len(written) // 2
            self._cut(lane, frames[:half])
            self._cut(lane, frames[half:])
            return
        if any_wrong(frames):
            frames = [frame for frame in frames if WRONG not in frame] or [
                Message(timestamp=self._now)
            ]
        try:
            now = max(map(_TIMESTAMP, frames))
        except TypeError:  # a source of one's own may have frames without a time
            now = max(frame["timestamp"] or 0 for frame in frames)
        self._now = max(now, self._now)
        self._encode(lane, written, now)

    def _encode(self, lane: Lane, written: list[bytes], now: int) -> None:
        assert self._plan is not None
        sent_at, sequence = time.time_ns() // 1000, lane.sequence
        value = self._encoder.batch(
            written,
            sequence=sequence,
            sent_at=sent_at,
            now=now,
            clock_offset_ms=self.offset_ms(),
        )
        lane.sequence += 1
        kind = "frames" if written else "heartbeat"
        name, session = self._plan.name, self._session
        self._send(
            Parcel(name, lane.number, value, kind, len(written), None, session, sequence, sent_at)
        )

    def _writable(self, frames: list[Message]) -> tuple[list[Message], list[bytes]]:
        good, written = [], []
        for frame in frames:
            try:
                written.append(self._encoder.frame(frame))
                good.append(frame)
            except WireError as error:
                self._show(error)
                self.dropped[UNWRITABLE] += 1
        return good, written

    def _show(self, error: WireError) -> None:
        if not self._shown:
            log.error("a message can't be sent; shown once, counted as dropped: %s", error)
            self._shown = True

    def _send(self, parcel: Parcel) -> None:
        while not self._outbox.offer(parcel):
            if not self.patient:
                self._told(parcel, self._outbox.full)
                return
            self._outbox.serve(_WAIT_SECONDS)
            self._check()

    def _told(self, parcel: Parcel, reason: str | None) -> None:
        if reason is None:
            if parcel.kind == "frames":
                self.published += parcel.frames
                self.batches += 1
            elif parcel.kind == "event":
                self.events += 1
            return
        if parcel.kind == "frames":
            self.dropped[reason] += parcel.frames
        elif parcel.kind == "event":
            self.events_dropped[reason] += 1
        if parcel.kind in ("frames", "event"):
            self.lost = self.lost or reason

    def _check(self) -> None:
        if self.lost is not None and self.patient:
            raise OutputError(f"delivery failed: {self.lost}")
