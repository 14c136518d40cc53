"""What the messages of a partition came to, on its way to the broker: several at once, in order.

A worker that waits for each ack in its turn is idle for more than a quarter of the time. So a
message is processed while what came of those before it is on its way. The order of what is sent stays:

- What comes of a message is sent when all outputs and the dead letter of the one before are acked.
- Its block is sent when its own outputs are acked, and the block before it is.

So whenever the worker dies, the blocks that are stored are those of all messages up to one, and
of each of these all outputs are there. What comes behind it is done again from that state, hence
comes to the same; of that, what some output partition has already is the beginning, and is known
there by its origin. Were an output sent before those of the message before it are acked, it might
be there alone: what was missing would then be taken for a repeat, and lost.

Nothing is sent any more behind what can't be sent: the process ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from processors.partition import Done, Record

MOST = 4
"""Messages of a partition that are on their way at most."""


class _Trip:
    """One message's: what is to be awaited by the next."""

    def __init__(self, record: Record, done: Done) -> None:
        self.record, self.done = record, done
        loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = loop.create_future()
        self.stored: asyncio.Future[None] = loop.create_future()


class Lane:
    """The way of one partition."""

    def __init__(
        self,
        send: Callable[[Record, Done], Awaitable[None]],
        store: Callable[[int, bytes], Awaitable[None]],
        finished: Callable[[Record, Done], None],
        failed: Callable[[Record, Exception], None],
    ) -> None:
        """`send` and `store` return when all is acked. `finished` is told of each message in its
        order, `failed` of what could not be sent; it ends the process."""
        self._send, self._store = send, store
        self._finished, self._failed = finished, failed
        self._trips: deque[_Trip] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def room(self, topic: str) -> None:
        """Wait until a message of this topic may be processed.

        Between messages of two topics nothing says which comes first when they are done again, so
        one of another topic waits until all before it is stored.
        """
        while self._trips and (len(self._trips) >= MOST or self._trips[-1].record.topic != topic):
            await asyncio.wait([self._trips[0].stored])

    def take(self, record: Record, done: Done) -> None:
        """Bring on its way what a message came to."""
        before = self._trips[-1] if self._trips else None
        trip = _Trip(record, done)
        self._trips.append(trip)
        task = asyncio.ensure_future(self._travel(trip, before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until all is stored."""
        while self._trips:
            await asyncio.wait([self._trips[0].stored])

    async def _travel(self, trip: _Trip, before: _Trip | None) -> None:
        try:
            if before is not None:
                await before.sent
            await self._send(trip.record, trip.done)
            trip.sent.set_result(None)
            if before is not None:
                await before.stored
            if trip.done.block is not None:
                await self._store(*trip.done.block)
            self._trips.popleft()
            self._finished(trip.record, trip.done)
            trip.stored.set_result(None)
        except Exception as error:
            self._failed(trip.record, error)
