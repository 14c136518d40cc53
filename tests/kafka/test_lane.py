"""The order in which what messages came to is sent: several on their way, nothing before its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from processors.lane import MOST, Lane
from processors.partition import Done, Record


class Broker:
    """Acks when it is told to, and notes what it was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.finished: list[int] = []
        self.failed: list[int] = []
        self._acks: dict[str, asyncio.Future[None]] = {}
        self.lane = Lane(
            lambda parts: self._await(f"output {parts[0][0].offset}"),
            lambda block: self._await(f"block {block[0][0].decode()}"),
            lambda parts: self.finished.append(parts[0][0].offset),
            lambda parts, _: self.failed.append(parts[0][0].offset),
        )

    def _await(self, what: str) -> Awaitable[None]:
        self.sent.append(what)
        self._acks[what] = asyncio.get_running_loop().create_future()
        return self._acks[what]

    def take(self, offset: int, topic: str = "in", *, repeat: bool = False) -> None:
        record = Record(topic, 0, offset, None, b"")
        self.lane.take([(record, Done(block=None if repeat else [(b"%d" % offset, b"")]))])

    async def ack(self, *acked: str) -> None:
        for what in acked:
            self._acks[what].set_result(None)
            await settle()

    async def refuse(self, what: str) -> None:
        self._acks[what].set_exception(RuntimeError("too large"))
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[Broker], Coroutine[Any, Any, None]]) -> None:
    async def with_broker() -> None:
        await asyncio.wait_for(test(Broker()), 20)

    asyncio.run(with_broker())


def test_outputs_follow_the_acks_of_those_before_and_blocks_both() -> None:
    async def test(broker: Broker) -> None:
        for offset in range(3):
            broker.take(offset)
        await settle()
        assert broker.sent == ["output 0"]
        await broker.ack("output 0")
        assert sorted(broker.sent[1:]) == ["block 0", "output 1"]
        await broker.ack("output 1")
        assert broker.sent[3:] == ["output 2"]  # not block 1: block 0 is not stored
        await broker.ack("output 2")
        assert broker.sent[4:] == []
        await broker.ack("block 0", "block 1", "block 2")
        assert broker.sent[4:] == ["block 1", "block 2"]
        assert broker.finished == [0, 1, 2]

    run(test)


def test_a_repeat_is_done_with_in_its_turn() -> None:
    async def test(broker: Broker) -> None:
        broker.take(0)
        broker.take(1, repeat=True)
        await settle()
        await broker.ack("output 0", "output 1")
        assert broker.finished == []
        await broker.ack("block 0")
        assert broker.finished == [0, 1]

    run(test)


def test_nothing_is_sent_behind_what_could_not_be() -> None:
    async def test(broker: Broker) -> None:
        for offset in range(3):
            broker.take(offset)
        await settle()
        await broker.refuse("output 0")
        assert (broker.sent, broker.failed, broker.finished) == (["output 0"], [0], [])

    run(test)


def test_no_block_is_stored_behind_one_that_could_not_be() -> None:
    async def test(broker: Broker) -> None:
        for offset in range(3):
            broker.take(offset)
        await settle()
        await broker.ack("output 0", "output 1", "output 2")
        await broker.refuse("block 0")
        assert [what for what in broker.sent if "block" in what] == ["block 0"]
        assert (broker.failed, broker.finished) == ([0], [])

    run(test)


def test_what_is_on_its_way_is_bounded() -> None:
    async def test(broker: Broker) -> None:
        for offset in range(MOST):
            await broker.lane.room("in")
            broker.take(offset)
        waiting = asyncio.ensure_future(broker.lane.room("in"))
        await settle()
        await broker.ack("output 0")
        assert not waiting.done()
        await broker.ack("block 0")
        assert waiting.done()

    run(test)


def test_a_message_of_another_topic_waits_until_all_is_stored() -> None:
    async def test(broker: Broker) -> None:
        broker.take(0)
        broker.take(1)
        await settle()
        waiting = asyncio.ensure_future(broker.lane.room("events"))
        await broker.ack("output 0", "output 1", "block 0")
        assert not waiting.done()
        await broker.ack("block 1")
        assert waiting.done()

    run(test)


def test_to_drain_is_to_wait_for_the_last_block() -> None:
    async def test(broker: Broker) -> None:
        broker.take(0)
        broker.take(1)
        draining = asyncio.ensure_future(broker.lane.drain())
        await settle()
        await broker.ack("output 0", "block 0", "output 1")
        assert not draining.done()
        await broker.ack("block 1")
        assert draining.done()

    run(test)
