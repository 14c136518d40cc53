"""What the messages of a partition came to, on its way to the broker: several at once, in order.

A worker that waits for each ack in its turn is idle for more than a quarter of the time. So a
message is processed while what came of those before it is on its way; several that are stored
together (`Partition.several`) are one here. The order of what is sent stays:

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
from collections.abc import Awaitable, Callable, Sequence

from processors.partition import Part
from processors.store import Entry

MOST = 4
"""Messages of a partition, or several as one, that are on their way at most."""


class _Trip:
    """One message's, or that of several: what is to be awaited by the next."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts, self.topic, self.block = parts, parts[0][0].topic, parts[-1][1].block
        loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = loop.create_future()
        self.stored: asyncio.Future[None] = loop.create_future()


class Lane:
    """The way of one partition."""

    def __init__(
        self,
        send: Callable[[Sequence[Part]], Awaitable[None]],
        store: Callable[[list[Entry]], Awaitable[None]],
        finished: Callable[[Sequence[Part]], None],
        failed: Callable[[Sequence[Part], Exception], None],
    ) -> None:
        """`send` and `store` return when all is acked. `finished` is told of all messages in their
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
        while self._trips and (len(self._trips) >= MOST or self._trips[-1].topic != topic):
            await asyncio.wait([self._trips[0].stored])

    def take(self, parts: Sequence[Part]) -> None:
        """Bring on its way what messages came to that are stored together."""
        before = self._trips[-1] if self._trips else None
        trip = _Trip(parts)
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
            await self._send(trip.parts)
            trip.sent.set_result(None)
            if before is not None:
                await before.stored
            if trip.block is not None:
                await self._store(trip.block)
            self._trips.popleft()
            self._finished(trip.parts)
            trip.stored.set_result(None)
        except Exception as error:
            self._failed(trip.parts, error)
