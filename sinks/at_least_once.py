"""For stores that know what they have: write, then commit. A crash means writing some again."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from datastalker.errors import RetryLater
from datastalker.message import Message
from datastalker.stage import Refused, Sink
from datastalker.stats import Stats
from sinks.dead_letters import DeadLetters
from sinks.membership import Membership
from sinks.records import Place, Reader, place

BATCH = 4_000
"""So many messages are written at once; what is held is bounded by this, see AtLeastOnce."""
_OVERLAPPING = 2
"""Batches that a sink which allows it has at a time."""
_LINGER_SECONDS = 0.2

Written = list[Refused]


@dataclass
class _Batch:
    """Messages to be written together, and what can be committed then."""

    messages: list[Message] = field(default_factory=list)
    records: dict[int, Any] = field(default_factory=dict)
    """By the id() of a message: the Kafka message it came in."""
    offsets: dict[Place, int] = field(default_factory=dict)
    written: Future[Written] | None = None
    """None: it isn't being written, or was in vain."""

    @property
    def ready(self) -> bool:
        return self.written is None or self.written.done()

    def without(self, places: set[Place]) -> int:
        """Forget what came from these partitions; gives how many messages that were."""
        kept = [m for m in self.messages if place(self.records[id(m)]) not in places]
        gone, self.messages = len(self.messages) - len(kept), kept
        return gone


class AtLeastOnce:
    """Gathers messages, writes them, and commits what is stored or set aside.

    Where the sink `overlaps`, the next batches are read and written while the last one is on its
    way. So one batch is held that grows, and one or two that are being written; no more.
    """

    def __init__(
        self, sink: Sink, reader: Reader, dead: DeadLetters, group: Membership, stats: Stats
    ) -> None:
        self.sink, self.reader, self.dead, self.group, self.stats = sink, reader, dead, group, stats
        self.most = _OVERLAPPING if sink.overlaps else 1
        self.pool = ThreadPoolExecutor(self.most, "sink") if sink.overlaps else None
        self.batch = _Batch()
        self.since: float | None = None
        self.away: deque[_Batch] = deque()  # being written, or to be written again; oldest first
        self.stored: dict[Place, int] = {}  # offsets to commit
        self.closed = False

    @property
    def idle(self) -> bool:
        """Whether all that was read is stored and committed."""
        return self.since is None and not self.away and not self.stored

    def assigned(self, places: list[Place]) -> None:
        self.group.start(dict.fromkeys(places))

    def step(self, records: deque[Any]) -> None:
        """Take what was fetched; write where it is enough, or has waited. Raises RetryLater."""
        self._settle(self.most)
        while records:
            record = records[0]
            messages = self.reader.read(record)
            records.popleft()
            self.since = self.since or monotonic()
            self.batch.offsets[place(record)] = record.offset() + 1
            self.batch.messages += messages
            self.batch.records.update((id(message), record) for message in messages)
            if len(self.batch.messages) >= BATCH:
                self._send()
        waited = self.since is not None and monotonic() - self.since >= _LINGER_SECONDS
        if waited and len(self.away) < self.most:
            self._send()

    def _send(self) -> None:
        """Have the batch written, as soon as there is room for it beside others."""
        self._settle(self.most - 1)
        self.away.append(self.batch)
        self._start(self.batch)
        self.batch, self.since = _Batch(), None
        self._settle(self.most)

    def _start(self, batch: _Batch) -> None:
        if self.pool is not None:
            batch.written = self.pool.submit(self._write, batch.messages)
            return
        batch.written = Future()
        try:
            batch.written.set_result(self._write(batch.messages))
        except RetryLater as later:
            batch.written.set_exception(later)

    def _write(self, messages: list[Message]) -> Written:
        # As a list: what a sink that yields does is done only as it is read
        return list(self.sink.write(messages) or ()) if messages else []

    def _settle(self, most: int) -> None:
        """Bury and commit what is written, oldest first; wait until no more than `most` are left.

        Raises RetryLater: then all is held still.
        """
        while self.away and (len(self.away) > most or self.away[0].ready):
            batch = self.away[0]
            if batch.written is None:
                self._start(batch)
            failed = self._failed(batch)
            if failed is not None:
                for other in self.away:  # so that all of them are tried again at once
                    if other.written is not None:
                        self._failed(other)
                raise failed
            assert batch.written is not None
            self._bury(batch, batch.written.result())
            self.stored.update(batch.offsets)
            self.away.popleft()
        if self.stored:
            self.dead.flush()
            self.group.commit({where: (offset, "") for where, offset in self.stored.items()})
            self.stored = {}

    def _failed(self, batch: _Batch) -> RetryLater | None:
        """Wait until a batch is written. If it could not be, it is made ready to be tried again."""
        assert batch.written is not None
        try:
            batch.written.result()
        except RetryLater as later:
            batch.written = None
            self._bury(batch, later.refused)
            if later.rest is not None:
                batch.messages = list(later.rest)
            return later
        return None

    def flush(self) -> None:
        """Write what is held, and commit. Raises RetryLater: then it is held still."""
        if self.since is not None:
            self._send()
        self._settle(0)

    def _bury(self, batch: _Batch, refused: Any) -> None:
        """A refused message goes with the Kafka message it came in, once for all of that."""
        letters: dict[int, tuple[Any, list[Refused]]] = {}
        for item in refused:
            record = batch.records[id(item.message)]
            letters.setdefault(id(record), (record, []))[1].append(item)
        for record, items in letters.values():
            ids = (str(item.message.get("id", "")) for item in items)
            self.dead.put(record, items[0].reason, ids=ids)
            self.stats.incr("sink/dead", len(items))

    def revoked(self, places: set[Place], lost: bool) -> None:
        """Partitions go to another: what is held of them is written now, or by who gets them."""
        held = [self.batch, *self.away]
        if (
            not (lost or self.closed)
            and (self.stored.keys() | {w for b in held for w in b.offsets}) & places
        ):
            try:
                self.flush()
            except RetryLater:
                pass
            else:
                return
        for batch in (self.batch, *self.away):
            if batch.written is None:  # else it is on its way, and stored once more at the worst
                gone = batch.without(places)
                self.stats.incr("sink/handed_back", gone)
                self.stats.decr("sink/consumed", gone)
        for offsets in (self.stored, *(batch.offsets for batch in (self.batch, *self.away))):
            for where in places:
                offsets.pop(where, None)

    def close(self) -> None:
        """The end: what is held is tried once more."""
        try:
            self.flush()
        finally:
            self.closed = True
            if self.pool is not None:
                self.pool.shutdown()

    def abandon(self) -> None:
        """An error ends the process: what is held is left to the next."""
        self.batch, self.since, self.stored = _Batch(), None, {}
        self.away.clear()
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
