"""For stores that know what they have: write, then commit. A crash means writing some again."""

from __future__ import annotations

from collections import deque
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
"""So many messages are written at once, and no more than these and a Kafka message's are held."""
_LINGER_SECONDS = 0.2


class AtLeastOnce:
    """Gathers messages, writes them, and commits what is stored or set aside."""

    def __init__(
        self, sink: Sink, reader: Reader, dead: DeadLetters, group: Membership, stats: Stats
    ) -> None:
        self.sink, self.reader, self.dead, self.group, self.stats = sink, reader, dead, group, stats
        self.batch: list[Message] = []
        self.records: dict[int, Any] = {}  # by the id() of a message: the Kafka message it came in
        self.offsets: dict[Place, int] = {}
        self.since: float | None = None

    def assigned(self, places: list[Place]) -> None:
        self.group.start(dict.fromkeys(places))

    def step(self, records: deque[Any]) -> None:
        """Take what was fetched; write where it is enough, or has waited."""
        while records:
            record = records[0]
            messages = self.reader.read(record)
            records.popleft()
            self.since = self.since or monotonic()
            self.offsets[place(record)] = record.offset() + 1
            self.batch += messages
            self.records.update((id(message), record) for message in messages)
            if len(self.batch) >= BATCH:
                self.flush()
        if self.since is not None and monotonic() - self.since >= _LINGER_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is held, and commit. Raises RetryLater: then it is held still."""
        if self.batch:
            try:
                refused = self.sink.write(self.batch)
            except RetryLater as later:
                self._bury(later.refused)
                if later.rest is not None:
                    self.batch = list(later.rest)
                raise
            self.batch = []
            self._bury(refused or ())
        self.dead.flush()
        if self.offsets:
            self.group.commit({where: (offset, "") for where, offset in self.offsets.items()})
        self.records, self.offsets, self.since = {}, {}, None

    def _bury(self, refused: Any) -> None:
        """A refused message goes with the Kafka message it came in, once for all of that."""
        letters: dict[int, tuple[Any, list[Refused]]] = {}
        for item in refused:
            record = self.records[id(item.message)]
            letters.setdefault(id(record), (record, []))[1].append(item)
        for record, items in letters.values():
            ids = (str(item.message.get("id", "")) for item in items)
            self.dead.put(record, items[0].reason, ids=ids)
            self.stats.incr("sink/dead", len(items))

    def revoked(self, places: set[Place], lost: bool) -> None:
        """Partitions go to another: what is held of them is written now, or by who gets them."""
        if not lost and self.offsets.keys() & places:
            try:
                self.flush()
            except RetryLater:
                pass
            else:
                return
        kept = [m for m in self.batch if place(self.records[id(m)]) not in places]
        self.stats.incr("sink/handed_back", len(self.batch) - len(kept))
        self.stats.decr("sink/consumed", len(self.batch) - len(kept))
        self.batch = kept
        for where in places:
            self.offsets.pop(where, None)

    def close(self) -> None:
        """The end: what is held is tried once more."""
        self.flush()

    def abandon(self) -> None:
        """An error ends the process: what is held is left to the next."""
        self.batch, self.offsets = [], {}
