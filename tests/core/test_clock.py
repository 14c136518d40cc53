"""Frames that a wrong clock timed are marked, pass by what goes by time, and move no time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from capture_agent.clock import Clock, steady
from datastalker.message import Message
from datastalker.pipeline import Entry, Pipeline, Sink, SourceStage
from datastalker.stats import Stats
from datastalker.testing import SECOND, START, build, frame

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def _wrong(at: int, ta: str = A) -> Message:
    return Message(frame(0, ta=ta), timestamp=at * SECOND, clock_wrong=True)


def test_a_marked_frame_makes_no_events_and_moves_no_time() -> None:
    stages = [{"presence": {"absent_after_seconds": 10}}, {"dedupe": {"window_seconds": 2}}]
    pipeline = build(stages)

    out = pipeline.feed([_wrong(1), _wrong(1), frame(0, ta=B), _wrong(10**11)])
    out += pipeline.feed([frame(5, ta=B)]) + pipeline.finish()

    assert [m["event"] for m in out if m.type == "presence"] == ["NEW"]
    assert sum(m.get("clock_wrong", False) for m in out) == 3
    assert pipeline.now == START + 5 * SECOND
    presence = pipeline.entries[0].stats
    assert (presence.skipped, presence.received) == (3, 2)


def test_stages_that_go_by_no_time_see_it() -> None:
    pipeline = build([{"strip": {"keys": ["ta"]}}])

    (out,) = pipeline.feed([_wrong(1)])

    assert "ta" not in out


def _read(live: bool) -> list[Message]:
    class Source(SourceStage):
        name = "source"

        def run(self) -> Iterator[list[Message]]:
            self.live = live
            yield [Message(type="frame", timestamp=t * SECOND) for t in (0, 40, 900_000_000)]
            yield [Message(type="frame")]

    class Out(Sink):
        name = "out"

        def write(self, batch: list[Message]) -> None:
            out.extend(batch)

    out: list[Message] = []
    Pipeline([Entry(Out(Stats()))], Source(Stats())).run()
    return out


def test_live_frames_from_before_there_was_802_11_are_marked() -> None:
    assert ["clock_wrong" in message for message in _read(live=True)] == [True, True, False, False]


def test_those_of_a_file_keep_what_they_say() -> None:
    assert not any("clock_wrong" in message for message in _read(live=False))


def test_frames_to_come_were_heard_by_a_clock_that_was_ahead_and_was_put_right() -> None:
    now, hours = time.time_ns() // 1000, 3600 * SECOND
    frames = [
        Message(type="frame", timestamp=now + add)
        for add in (-2 * hours, 0, hours // 2, 2 * hours, 10**15)
    ]

    Clock().mark([*frames, Message(type="frame")])

    assert ["clock_wrong" in message for message in frames] == [False, False, False, True, True]


def test_what_else_ran_while_the_clock_was_read_is_part_of_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, read = Clock(), time.time
    clock.sample(steady(), 0.0, int(read() * 1000))

    def interrupted() -> float:
        now = read()
        time.sleep(0.03)
        return now

    monkeypatch.setattr(time, "time", interrupted)
    found = clock.offset()

    assert found is not None
    assert abs(found.ms) <= found.error_ms
