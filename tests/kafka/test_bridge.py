"""How far a worker has come, where Faust hands messages on twice or leaves them out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import yaml
from faust.types import TP

from datastalker import config as configuration
from processors.bridge import Bridge
from processors.partition import Done, Record
from processors.worker import WorkerApp, make_app

PLACE = TP("in", 0)


class Read:
    """Stands for a consumer that has read all of a partition: what Faust does with it is not to be
    had at will."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.went_back: list[dict[TP, int]] = []

    def assignment(self) -> set[TP]:
        return {PLACE}

    async def highwaters(self, *_: TP) -> dict[TP, int]:
        return {PLACE: self.end}

    async def earliest_offsets(self, *_: TP) -> dict[TP, int]:
        return {PLACE: 0}

    async def position(self, _: TP) -> int:
        return self.end

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.went_back.append(offsets)


@pytest.fixture
def bridge() -> Bridge:
    pipeline = [
        {"pcap": {"path": "x.pcap"}}, {"topic": "in"}, "oui", {"topic": "out"},
        {"csv": {"directory": "out"}},
    ]  # fmt: skip
    text = yaml.safe_dump({"name": "t", "kafka": {"partitions": 1}, "pipeline": pipeline})
    (made,) = cast(WorkerApp, make_app(configuration.parse(text, "t.yaml"))).bridges
    return made


def finish(bridge: Bridge, *offsets: int) -> None:
    bridge.status.take("t-1")
    bridge._finished([(Record(*PLACE, n, None, b""), Done()) for n in offsets])


def measure(bridge: Bridge, consumer: Read, times: int) -> list[int]:
    """The lag, so many times."""
    bridge.app._consumer = consumer

    async def lags() -> list[int]:
        found = []
        for _ in range(times):
            await bridge.measure()
            found.append(bridge.status.lag["t-1", *PLACE])
        return found

    return asyncio.run(lags())


def test_what_was_read_again_behind_what_is_new_leaves_no_lag(bridge: Bridge) -> None:
    finish(bridge, 0, 1)
    finish(bridge, 2, 3, 0, 1)

    assert measure(bridge, Read(4), 1) == [0]


def test_what_was_left_out_at_the_end_is_read_once_more(bridge: Bridge) -> None:
    finish(bridge, 0, 1)
    bridge._due[PLACE] = 2
    consumer = Read(4)

    assert measure(bridge, consumer, 2) == [2, 2]
    assert consumer.went_back == [{PLACE: 2}]
    bridge._due[PLACE] = 4  # now it came
    assert measure(bridge, consumer, 1) == [2]
    finish(bridge, 2, 3)
    assert measure(bridge, consumer, 1) == [0]
    assert len(consumer.went_back) == 1


def test_what_is_read_once_more_and_does_not_come_is_no_message(bridge: Bridge) -> None:
    finish(bridge, 0, 1)
    bridge._due[PLACE] = 2
    consumer: Any = Read(3)  # with the mark of a transaction

    assert measure(bridge, consumer, 4) == [1, 1, 0, 0]
    assert len(consumer.went_back) == 1
