"""For sinks that write each partition exactly once: they say when something lasts, then it is
committed, together with what was seen of the partition up to there.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from datastalker.delivery import Seen
from datastalker.errors import RetryLater
from datastalker.message import Message
from datastalker.stage import PartitionWriter, Sink
from sinks.dead_letters import DeadLetters
from sinks.membership import Membership
from sinks.offsets import from_metadata, to_metadata
from sinks.records import Place, Reader, place

_COMMIT_SECONDS = 5.0  # where nothing is being written


class _Partition:
    def __init__(self, writer: PartitionWriter, offset: int | None, seen: Seen) -> None:
        self.writer, self.seen = writer, seen
        self.following = self.committed = -1 if offset is None else offset
        self.open = False  # something is written that does not last yet
        self.held: list[Message] | None = None  # read, and not written yet
        self.next_commit = monotonic() + _COMMIT_SECONDS


class ExactlyOnce:
    """A writer for each partition that this process has."""

    def __init__(
        self,
        sink: Sink,
        reader: Reader,
        dead: DeadLetters,
        group: Membership,
        topic_ids: dict[str, str],
    ) -> None:
        self.sink, self.reader, self.dead, self.group = sink, reader, dead, group
        self.topic_ids = topic_ids
        self.partitions: dict[Place, _Partition] = {}
        self.untaken: set[Place] = set()

    def assigned(self, places: list[Place]) -> None:
        self.group.hold(places)
        self.untaken.update(places)

    def _take(self) -> None:
        """Begin with partitions whose last writer has let them go."""
        later: RetryLater | None = None
        for where in sorted(self.untaken):
            topic, partition = where
            try:
                writer = self.sink.partition(topic, partition, self.topic_ids.get(topic, ""))
            except RetryLater as error:
                later = error
                continue
            assert writer is not None
            try:
                # Only now: the one who had it until now may have committed meanwhile
                offset, metadata = self.group.committed(where)
                self.group.start({where: offset})
            except BaseException:
                writer.drop()
                raise
            self.partitions[where] = _Partition(writer, offset, from_metadata(metadata))
            self.untaken.discard(where)
        if later is not None and not self.partitions:
            raise later

    def step(self, records: deque[Any]) -> None:
        if self.untaken:
            self._take()
        while records:
            record = records[0]
            part = self.partitions.get(place(record))
            if part is not None:
                self._write(part, record)
            records.popleft()
            if part is not None and part.writer.due():
                self._finish(place(record), part)
        now = monotonic()
        for where, part in self.partitions.items():
            idle = not part.open and part.following != part.committed and now >= part.next_commit
            if idle or (part.open and part.writer.due()):
                self._finish(where, part)

    def _write(self, part: _Partition, record: Any) -> None:
        if record.offset() < part.following:  # fetched before, and again after a pause
            return
        if part.held is None:
            part.held = self.reader.read(record, part.seen)
        if part.held:
            part.open = True
            part.writer.write(part.held, record.offset())
        self.dead.flush()
        part.held = None
        part.following = record.offset() + 1

    def _finish(self, where: Place, part: _Partition) -> None:
        part.next_commit = monotonic() + _COMMIT_SECONDS
        if part.following < 0:
            return
        part.writer.finish(part.following)
        part.open = False
        if part.following != part.committed:
            self.group.commit({where: (part.following, to_metadata(part.seen))})
            part.committed = part.following

    def revoked(self, places: set[Place], lost: bool) -> None:
        """What is written is finished before another takes over; dropped if one has already."""
        self.untaken -= places
        for where in places:
            part = self.partitions.pop(where, None)
            if part is None:
                continue
            try:
                # With a message in hand, what was seen is ahead of what was written
                if not lost and part.held is None:
                    self._finish(where, part)
            finally:
                part.writer.drop()

    def close(self) -> None:
        self.revoked(set(self.partitions), lost=False)

    def abandon(self) -> None:
        """An error ends the process: nothing is finished of which it isn't known that it is whole."""
        for part in self.partitions.values():
            part.writer.drop()
        self.partitions.clear()
