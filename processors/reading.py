"""How far a worker has come in each partition that it reads, and where it goes on.

Faust would go on from what was committed. Around a rebalance it may also hand on what it had fetched
before, and leave out messages. So what comes is compared with what is due, and what is done is known
from the state.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from datastalker.record import Place
from processors.partition import Partition
from processors.status import Status

log = logging.getLogger("datastalker.worker")

_GO_BACK = 2
"""So often in a row all was read and what comes next did not come: then it is read once more."""


class Reading:
    """The offsets of one segment's partitions."""

    def __init__(self, app: Any, segment: str, topics: Collection[str], status: Status) -> None:
        self._app, self._segment, self._topics, self._status = app, segment, topics, status
        self._done: dict[Place, int] = {}
        """The offset of the last message whose block is stored."""
        self._due: dict[Place, int] = {}
        """The offset that comes next. Of what has none nothing is taken: `seek` will say it."""
        self._gaps: dict[Place, int] = {}
        """The offset that came where another was due, and that was gone back from."""
        self._quiet: dict[tuple[Place, int], int] = {}
        """Where all was read, and what comes next did not come: how often in a row it was so."""
        self._committed: dict[Any, int] = {}

    def assigned(self) -> list[Any]:
        """The partitions of the topics that this worker has."""
        return [tp for tp in self._app.consumer.assignment() if tp.topic in self._topics]

    def forget(self) -> None:
        """The partitions are taken away."""
        for known in (self._done, self._due, self._gaps):
            known.clear()

    def finished(self, place: Place, offset: int) -> None:
        """A message is done with, and its block is stored."""
        self._done[place] = max(offset, self._done.get(place, -1))

    async def is_next(self, message: Any) -> bool:
        """Whether nothing was left out before a message.

        Where something was we go back to what is due. If the same message comes again, those before
        it are no longer there (retention, compaction). If it does not, `measure` sees that.
        """
        place = message.topic, message.partition
        due, gap = self._due.get(place), self._gaps.get(place)
        if due is None:
            return False
        if message.offset <= due or (gap is not None and message.offset <= gap):
            if gap is not None and message.offset >= due:
                del self._gaps[place]
            self._due[place] = max(due, message.offset + 1)
            return True
        if gap is None:
            log.info("%s[%d]: from %d back to %d", *place, message.offset, due)
            self._gaps[place] = message.offset
            await self._app.consumer.seek_wait({message.tp: due})
        return False

    async def seek(self, consumer: Any, partitions: Mapping[int, Partition]) -> None:
        """Go on behind the last message whose block is stored."""
        mine = [tp for tp in self.assigned() if tp.partition in partitions]
        if not mine:
            return
        begins = await consumer.earliest_offsets(*mine)
        ends = await consumer.highwaters(*mine)
        begin = {}
        for tp in mine:
            done = partitions[tp.partition].offsets
            if done.get(tp.topic, -1) >= (ends.get(tp) or 0):
                # Deleted and made anew while we ran, or restored: by the next start its id is known.
                log.error("%s[%d] ends before what was done: made anew?", tp.topic, tp.partition)
                del done[tp.topic], self._done[tp.topic, tp.partition]
            begin[tp] = max(done.get(tp.topic, -1) + 1, begins.get(tp) or 0)
        self._due = {(tp.topic, tp.partition): offset for tp, offset in begin.items()}
        self._gaps.clear()
        await consumer.seek_wait(begin)

    async def commit(self) -> None:
        """Tell the broker what is done, for whoever watches the group."""
        done = {}
        for tp in self.assigned():
            place = tp.topic, tp.partition
            if place in self._done:
                done[tp] = self._done[place] + 1
        if done and done != self._committed:
            await self._app.consumer._commit(done)
            self._committed = done

    async def measure(self) -> None:
        """Note how many messages wait."""
        consumer, mine = self._app.consumer, self.assigned()
        ends = await consumer.highwaters(*mine) if mine else {}
        begins = await consumer.earliest_offsets(*mine) if mine else {}
        waiting: dict[Place, int] = {}
        quiet: dict[tuple[Place, int], int] = {}
        for tp in mine:
            place, begin, end = (tp.topic, tp.partition), begins.get(tp) or 0, ends.get(tp) or 0
            first = max(self._done.get(place, -1) + 1, begin)
            waiting[place] = max(0, end - first)
            all_read = waiting[place] and await consumer.position(tp) >= end
            if all_read and max(self._due.get(place, 0), begin) == first:  # nothing is in hand
                # Faust left it out, and nothing comes behind it; or what we went back for was gone
                # by then; or it is no message, but the mark of a transaction.
                quiet[place, first] = times = self._quiet.get((place, first), 0) + 1
                if times == _GO_BACK:
                    log.info("%s[%d]: back to %d, which did not come", *place, first)
                    self._due[place] = first
                    self._gaps.pop(place, None)
                    await consumer.seek_wait({tp: first})
                elif times > _GO_BACK:
                    waiting[place] = 0
        self._quiet = quiet
        self._status.measured(self._segment, waiting)
