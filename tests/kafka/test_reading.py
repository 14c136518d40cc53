"""How far a worker has come, where Faust hands messages on twice or leaves them out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from processors.reading import Reading
from processors.status import Status

PLACE = TP("in", 0)


@dataclass
class Consumer:
    """Stands for one that has read all of a partition: what Faust hands on is not to be had at will."""

    begin: int = 0
    end: int = 4
    went_back: list[int] = field(default_factory=list)

    def assignment(self) -> set[TP]:
        return {PLACE}

    async def highwaters(self, *_: TP) -> dict[TP, int]:
        return {PLACE: self.end}

    async def earliest_offsets(self, *_: TP) -> dict[TP, int]:
        return {PLACE: self.begin}

    async def position(self, _: TP) -> int:
        return self.end

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.went_back += offsets.values()


class Read:
    """A partition that is read from its beginning."""

    def __init__(self) -> None:
        self.consumer, self.status = Consumer(), Status(60, 60, 60)
        app = SimpleNamespace(consumer=self.consumer)
        self.reading = Reading(app, "t-1", ["in"], self.status)

    def seek(self) -> None:
        partition: Any = SimpleNamespace(offsets={})
        asyncio.run(self.reading.seek(self.consumer, {0: partition}))
        self.consumer.went_back.clear()

    def take(self, *offsets: int) -> list[bool]:
        """Whether each of these is taken when it comes; what is taken is done with at once."""
        taken = []
        for offset in offsets:
            message = SimpleNamespace(topic="in", partition=0, tp=PLACE, offset=offset)
            taken.append(asyncio.run(self.reading.is_next(message)))
            if taken[-1]:
                self.reading.finished(("in", 0), offset)
        return taken

    def lags(self, times: int) -> list[int]:
        found = []
        for _ in range(times):
            asyncio.run(self.reading.measure())
            found.append(self.status.lag["t-1", "in", 0])
        return found


@pytest.fixture
def read() -> Read:
    read = Read()
    read.seek()
    return read


def test_what_was_left_out_is_gone_back_for_once(read: Read) -> None:
    assert read.take(0, 2, 3, 1, 2, 3) == [True, False, False, True, True, True]
    assert read.consumer.went_back == [1]


def test_where_the_same_comes_again_what_was_before_it_is_gone(read: Read) -> None:
    assert read.take(0, 2, 2, 3) == [True, False, True, True]


def test_where_what_came_is_gone_too_it_goes_on_with_what_is_there(read: Read) -> None:
    assert read.take(0, 2) == [True, False]
    read.consumer.begin = 3

    assert read.take(3) == [False]
    assert read.lags(2) == [1, 1]
    assert read.consumer.went_back == [1, 3]
    assert read.take(3) == [True]
    assert read.lags(1) == [0]


def test_the_same_with_compaction_which_moves_no_beginning(read: Read) -> None:
    assert read.take(0, 2) == [True, False]

    assert read.take(3) == [False]
    assert read.lags(2) == [3, 3]
    assert read.take(3, 3) == [False, True]


def test_what_was_read_again_behind_what_is_new_leaves_no_lag(read: Read) -> None:
    read.take(0, 1, 2, 3, 0, 1)

    assert read.lags(1) == [0]


def test_what_was_left_out_at_the_end_is_read_once_more(read: Read) -> None:
    read.take(0, 1)

    assert read.lags(2) == [2, 2]
    assert read.consumer.went_back == [2]
    assert read.take(2, 3) == [True, True]
    assert read.lags(1) == [0]
    assert read.consumer.went_back == [2]


def test_what_is_read_once_more_and_does_not_come_is_no_message(read: Read) -> None:
    read.take(0, 1, 2)  # and the mark of a transaction

    assert read.lags(4) == [1, 1, 0, 0]
    assert read.consumer.went_back == [3]


def test_nothing_is_taken_before_it_is_said_where_to_begin(read: Read) -> None:
    read.take(0, 1)
    read.reading.forget()

    assert read.take(2) == [False]
    assert read.consumer.went_back == []
    read.seek()
    assert read.take(0) == [True]
