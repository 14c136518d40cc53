"""Messages of several partitions in the order of their time, as one process would have had them.

In a partition, what one sender sent is in order; senders are not to each other, nor partitions. So
messages are held until every partition has come `late_seconds` further than they are (heartbeats
tell that where no frames do), and given sorted. A partition that is ahead waits until the
others are there too, so memory does not grow with the range.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

from datastalker.clock import WRONG
from datastalker.delivery import Origin, Seen
from datastalker.errors import WireError
from datastalker.history import History
from datastalker.message import Message
from datastalker.record import Decoder, Place, Record

log = logging.getLogger("datastalker.history")

LATE_SECONDS = 10.0
"""As `late_seconds` of `dedupe`: so far senders may be behind each other."""
_MANY_HELD = 20_000
"""Messages; with more, partitions that are ahead wait for the others."""
_MOST_HELD = 100_000
"""What is held beyond is given as it is, sorted so far: memory is bounded."""
_BATCH = 1_000
_WRONG_CLOCK_MS = 3_600_000

_Timed = tuple[int, int, Message]
_ORDER, _TIME = itemgetter(0, 1), itemgetter(0)


class Merged:
    """Gives lists of messages in order; `now` is what time it is by what was read.

    What was sent twice is given once, as workers and sinks do. `unreadable` and `repeated` count
    Kafka messages that were passed over.
    """

    def __init__(
        self, history: History, decoder: Decoder, late_seconds: float = LATE_SECONDS
    ) -> None:
        """`late_seconds` 0: each message as it comes, for who follows."""
        self._history, self._decoder = history, decoder
        self._late = round(late_seconds * 1e6)
        self._held: list[_Timed] = []
        self._count = 0
        self._times: dict[Place, int] = dict.fromkeys(history.spans, 0)
        self._seen: dict[Place, Seen] = {place: Seen() for place in history.spans}
        self.now = 0
        self.unreadable = self.repeated = 0

    def read(self) -> Iterator[list[Message]]:
        """A list each quarter of a second at least, maybe empty. Raises BrokerError, RegistryError."""
        for records in self._history.read():
            for record in records:
                self._take(record)
            if self._late:
                limit = self._pace() - self._late
                yield from self._sorted(limit)
                self.now = max(self.now, limit)
            else:
                given = [message for _, _, message in self._held]
                self._held.clear()
                self.now = max(self.now, *self._times.values())
                yield given
            yield []
        yield from self._sorted(None)
        self.now = max(self.now, *self._times.values())
        yield []

    def _take(self, record: Record) -> None:
        try:
            decoded = self._decoder.decode(record)
            seen, origin = self._seen[record.place], Origin.from_headers(record.headers)
        except (WireError, ValueError) as error:
            if not self.unreadable:
                log.warning("%s can't be read; shown once, counted: %s", record, error)
            self.unreadable += 1
            return
        batch = decoded.batch
        fresh = True
        if self._history.repeats(record):
            fresh = False
        elif origin is not None:
            fresh = seen.origin(origin)
        elif batch is not None and batch.session:
            fresh = seen.batch(batch.session, batch.sequence)
        if not fresh:
            self.repeated += 1
            return
        offset = None if batch is None else batch.clock_offset_ms
        wrong = offset is not None and abs(offset) > _WRONG_CLOCK_MS
        before = self._times[record.place]
        if not wrong:
            self._times[record.place] = max(before, decoded.now)
        for message in decoded.messages:
            time = message.get("timestamp")
            if wrong or WRONG in message or not isinstance(time, int):
                time = before  # where it came, and it moves no time
            self._count += 1
            self._held.append((time, self._count, message))

    def _pace(self) -> int:
        """Hold back who is ahead; gives the time up to which all have come."""
        spans, times = self._history.spans, self._times
        open_places = [place for place, span in spans.items() if not span.done]
        if not open_places:
            return max(times.values())
        least = min(times[place] for place in open_places)
        ahead = {p for p in open_places if times[p] > least + self._late}
        if len(self._held) > _MANY_HELD:
            self._history.pause(ahead)
        else:
            ahead.clear()
        self._history.resume([place for place in self._history.paused if place not in ahead])
        return least

    def _sorted(self, limit: int | None) -> Iterator[list[Message]]:
        """What is not later than that (None: all), and what is too much to hold."""
        held = self._held
        held.sort(key=_ORDER)
        count = len(held)
        if limit is not None:
            count = bisect_right(held, limit, key=_TIME)
            count = max(count, len(held) - _MOST_HELD)
        for begin in range(0, count, _BATCH):
            part = held[begin : min(begin + _BATCH, count)]
            self.now = max(self.now, part[-1][0])
            yield [message for _, _, message in part]
        del held[:count]
