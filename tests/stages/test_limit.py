"""`limit` ends the run after so many messages, or so much of the data's time."""

from __future__ import annotations

import pytest

from datastalker.errors import ConfigError
from datastalker.message import Message
from datastalker.testing import build, frame, run_stage


def seqs(messages: list[Message]) -> list[int]:
    return [message["seq"] for message in messages]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_exactly_so_many_messages_pass(batch: int) -> None:
    frames = [frame(i, seq=i) for i in range(50)]
    pipeline = build([{"limit": {"messages": 10}}], frames, batch=batch)
    out = [m for part in pipeline.source.run() for m in pipeline.feed(part)]  # type: ignore[union-attr]
    assert seqs(out) == list(range(10))


def test_the_run_ends_with_the_last_message_not_with_the_next() -> None:
    pipeline = build([{"limit": {"messages": 2}}])
    pipeline.feed([frame(0), frame(1)])
    assert pipeline.stop_reason == "limit of 2 messages reached"


def test_the_run_ends_after_so_much_of_the_datas_time() -> None:
    out = run_stage("limit", [frame(t, seq=t) for t in (5, 6, 10, 15, 16, 7)], seconds=10)
    assert seqs(out) == [5, 6, 10, 15]


def test_time_that_runs_backwards_does_not_end_the_run() -> None:
    out = run_stage("limit", [frame(t, seq=t) for t in (5, 1, 14)], seconds=10)
    assert seqs(out) == [5, 1, 14]


def test_a_message_without_a_time_passes_a_limit_of_seconds() -> None:
    out = run_stage("limit", [Message(type="frame", seq=1), frame(0, seq=2)], seconds=1)
    assert seqs(out) == [1, 2]


def test_what_stands_behind_sees_exactly_what_passed_and_is_flushed() -> None:
    frames = [frame(i, ta="02:00:00:00:00:01", seq=i) for i in range(5)]
    pipeline = build([{"limit": {"messages": 3}}, {"dedupe": {"mode": "merge"}}])
    assert seqs(pipeline.feed(frames) + pipeline.finish()) == [0, 1, 2]


def test_a_limit_without_a_bound_is_refused() -> None:
    with pytest.raises(ConfigError, match="give 'messages', 'seconds' or both"):
        build(["limit"])
