"""Where Faust meets stages: an agent for a segment, with a pipeline for each of its partitions.

Messages are processed one after the other, those that wait together as far as
`Partition.several` takes them, and what they came to is sent while the next are: in the order that
`lane` keeps. So whatever happens, a message is either done or done again; what is done again is
known by its block, or by the origin of its outputs.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import Iterable, Sequence
from typing import Any

from datastalker.config import Config
from datastalker.errors import DataStalkerError, RegistryError
from datastalker.record import Place
from datastalker.segments import Segment, changelog_topic, dead_letters_topic
from datastalker.wire import Framing
from processors.health import die
from processors.lane import Lane
from processors.partition import Done, Part, Partition, Record
from processors.reading import Reading
from processors.sending import Sender, block_key
from processors.status import Status

log = logging.getLogger("datastalker.worker")

_AGAIN_SECONDS, _ANSWER_SECONDS = 2.0, 10.0
_TURNS = 4
"""Turns of the event loop before work: acks are read, and what is to be sent is written."""
_MOST_WAITING, _MOST_BYTES = 512, 512_000
"""Messages that are taken from the queue at once, and their size."""
_RAW: Any = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
}


class Bridge:
    """Runs one segment in a Faust app."""

    def __init__(
        self, app: Any, config: Config, segment: Segment, framing: Framing, status: Status
    ) -> None:
        self.app, self.config, self.segment = app, config, segment
        self.framing, self.status = framing, status
        self.sources = {plan.name: plan for plan in segment.source.values()}
        self.count = max(plan.partitions for plan in self.sources.values())
        self.partitions: dict[int, Partition] = {}
        self._lanes: dict[int, Lane] = {}
        self._open, self._idle = asyncio.Event(), asyncio.Event()
        """Partitions are assigned, and their state was read; no message is being processed."""
        self._idle.set()
        self._leaving = False
        """What was begun is finished, and nothing more is begun."""
        self._reading = Reading(app, segment.name, self.sources, status)
        changelog = changelog_topic(config, segment)
        self.table = app.Table(
            changelog.name.removesuffix("-changelog").removeprefix(f"{app.conf.id}-"),
            partitions=self.count,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=app.topic(
                changelog.name,
                partitions=self.count,
                compacting=True,
                deleting=False,
                acks=False,
                **_RAW,
            ),
        )
        self._sender = Sender(app, self.table, dead_letters_topic(config).name)
        # Faust acks a message too early (its agent was cancelled) or too late (a rebalance): what
        # is done is known from the state, so offsets are committed from there.
        source = app.topic(*self.sources, partitions=self.count, acks=False, **_RAW)
        app.agent(source, name=segment.name, concurrency=1)(self._agent)
        app.on_partitions_revoked.connect(self._revoked, weak=False)
        app.on_partitions_assigned.connect(self._assigned, weak=False)
        app.on_rebalance_complete.connect(self._recovered, weak=False)

    async def _agent(self, stream: Any) -> None:
        # What was begun is finished, whatever becomes of the agent.
        self._leaving = False
        queue = stream.channel.queue
        try:
            async for event in stream.events():
                messages = [event.message, *self._waiting(queue)]
                in_hand = asyncio.ensure_future(self._finish(messages))
                try:
                    await asyncio.shield(in_hand)
                except asyncio.CancelledError:
                    self._leaving = True
                    if not self._open.is_set():  # amid a rebalance: done again elsewhere
                        in_hand.cancel()
                    await asyncio.wait([in_hand])
                    raise
        finally:
            await self._drain()

    def _waiting(self, queue: Any) -> Iterable[Any]:
        """What waits behind a message. `Reading.is_next` sees that none was left out."""
        size = count = 0
        while size < _MOST_BYTES and count < _MOST_WAITING and not queue.empty():
            message = queue.get_nowait().message
            size, count = size + len(message.value or b""), count + 1
            yield message

    async def _finish(self, messages: list[Any]) -> None:
        """Process messages. Those that were not begun when a rebalance began, or when the agent was
        cancelled, are read again."""
        while not self._open.is_set():
            await self._open.wait()
        self._idle.clear()
        self.status.take(self.segment.name)
        message = messages[0]
        places: dict[Place, list[Record]] = {}
        try:
            for message in messages:
                place = message.topic, message.partition
                # It may have been on its way here when the partition was taken away.
                if message.partition in self.partitions and await self._reading.is_next(message):
                    value, headers = message.value, _pairs(message.headers)
                    record = Record(*place, message.offset, message.key, value, headers)
                    places.setdefault(place, []).append(record)
            for records in places.values():
                await self._handle(records)
        except Exception as error:
            self._failed(message, error)
        finally:
            self.status.leave(self.segment.name)
            self._idle.set()

    async def _handle(self, records: list[Record]) -> None:
        """Process messages of one topic and partition."""
        topic, number = records[0].topic, records[0].partition
        partition, lane = self.partitions[number], self._lanes[number]
        while records and self._goes_on():
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            await lane.room(topic)
            parts = partition.several(records) if len(records) > 1 else []
            if not parts:
                done = await self._alone(partition, records[0])
                if done is None:
                    return
                parts = [(records[0], done)]
            # At once: a partition that goes back goes back to its last block, stored or not.
            for key, value in parts[-1][1].block or ():
                key = block_key(number, key)
                if value is None:
                    self.table.data.pop(key, None)
                else:
                    self.table.data[key] = value
            self.status.take(self.segment.name)
            lane.take(parts)
            records = records[len(parts) :]
            if partition.pipeline.stop_reason is not None:
                self._end(partition.pipeline.stop_reason)

    def _goes_on(self) -> bool:
        """Whether more is to be begun: the partitions are ours, and nobody asked the worker to end."""
        return self._open.is_set() and not self._leaving and not self.app.should_stop

    async def _alone(self, partition: Partition, record: Record) -> Done | None:
        """Process one message; None: it waited for the registry, and is left to who comes next."""
        while self._goes_on():
            try:
                return partition.process(record)
            except RegistryError as error:
                log.warning("waiting for the schema registry: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
        return None

    def _finished(self, parts: Sequence[Part]) -> None:
        """All that messages came to is acked."""
        name, place = self.segment.name, (parts[0][0].topic, parts[0][0].partition)
        self.status.leave(name)
        for record, done in parts:  # the last of them may be what was read again
            self._reading.finished(place, record.offset)
            self.status.finished(name, repeated=done.repeated, dead=done.dead is not None)

    def _end(self, reason: str) -> None:
        """A stage ends the run: as if somebody had asked the worker to end."""
        self._leaving = True
        log.warning("the worker ends in order: %s", reason)
        signal.raise_signal(signal.SIGTERM)

    def _failed(self, message: Any, error: Exception) -> None:
        place = f"{message.topic}[{message.partition}]@{message.offset}"
        log.error("%s could not be finished", place, exc_info=error)
        die(f"{place} could not be finished: {error}")

    async def leave(self) -> None:
        """Begin nothing more, and wait until what was begun is stored."""
        self._leaving = True
        await self._rest()

    async def _drain(self) -> None:
        """Wait until all that was processed is stored."""
        for lane in list(self._lanes.values()):
            await lane.drain()

    def _make(self, number: int) -> None:
        """The pipeline of a partition, with the state that is stored."""

        begin, generation = block_key(number, b""), self.app.consumer_generation_id

        def blocks() -> Iterable[tuple[bytes, bytes]]:
            found = [item for item in self.table.data.items() if item[0].startswith(begin)]
            return [(key.removeprefix(begin), bytes(value)) for key, value in found]

        ids = {name: self.app.topic_ids[name] for name in self.sources}
        partition = Partition(
            self.config, self.segment, number, self.framing, blocks, generation, ids
        )
        self.partitions[number] = partition
        self._lanes[number] = Lane(
            self._sender.send,
            functools.partial(self._sender.store, number),
            self._finished,
            lambda parts, error: self._failed(parts[0][0], error),
        )
        for topic, offset in partition.offsets.items():
            self._reading.finished((topic, number), offset)
        self.status.partitions[self.segment.name, number] = partition

    async def _revoked(self, _: Any, revoked: Iterable[Any], **__: Any) -> None:
        """Finish what is in hand before another worker gets it; then drop all pipelines."""
        self._open.clear()
        try:
            await asyncio.wait_for(self._rest(), self.app.conf.broker_session_timeout)
        except TimeoutError:
            die(f"{self.segment.name}: a batch was not finished when partitions were moved")
        self._forget()

    async def _rest(self) -> None:
        """Wait until no message is being processed, and all that were are stored."""
        await self._idle.wait()
        await self._drain()

    def _forget(self) -> None:
        self.partitions.clear()
        self._lanes.clear()
        self._reading.forget()
        self.status.give_up(self.segment.name)

    async def _assigned(self, _: Any, assigned: Iterable[Any], **__: Any) -> None:
        mine = {b"%d" % tp.partition for tp in assigned if tp.topic in self.sources}
        for key in [key for key in self.table.data if key.partition(b"/")[0] not in mine]:
            del self.table.data[key]
        offsets = self.app.tables.recovery.active_offsets
        name = self.table.changelog_topic.get_topic_name()
        for tp in [tp for tp in offsets if tp.topic == name and b"%d" % tp.partition not in mine]:
            del offsets[tp]  # should it come back, it is read from the beginning

    async def _recovered(self, *_: Any, **__: Any) -> None:
        """State was read: make the pipelines of what is assigned now."""
        self._open.clear()
        await self._rest()
        try:
            self._forget()
            numbers = sorted({tp.partition for tp in self._reading.assigned()})
            for number in numbers:
                self._make(number)
            log.info("%s: partitions %s", self.segment.name, ", ".join(map(str, numbers)) or "none")
            self._open.set()
        except Exception as error:
            if not isinstance(error, DataStalkerError):  # what a stage makes of its state, say
                log.error("%s could not take its partitions", self.segment.name, exc_info=error)
            die(f"{self.segment.name}: {error}")

    async def seek(self, consumer: Any) -> None:
        """Go on behind the last message whose block is stored."""
        await self._reading.seek(consumer, self.partitions)

    async def account(self) -> None:
        """Note how many messages wait, and tell the broker what is done."""
        await asyncio.wait_for(self._reading.measure(), _ANSWER_SECONDS)
        if self._open.is_set():
            await asyncio.wait_for(self._reading.commit(), _ANSWER_SECONDS)


def _pairs(headers: Any) -> list[tuple[str, bytes]]:
    return list(headers.items() if hasattr(headers, "items") else headers or ())
