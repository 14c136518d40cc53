"""What a stage says does not depend on how the input is cut into batches, nor on who runs it when."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastalker.message import Message
from datastalker.testing import frame, run

STAGES: list[Any] = [
    "dedupe",
    {"dedupe": {"window_seconds": 0}},
    {"dedupe": {"mode": "merge"}},
    {"dedupe": {"mode": "merge", "window_seconds": 0}},
    "beacon_filter",
    {"beacon_filter": {"min_time_between_seconds": 5, "max_signal_deviation_db": 3}},
    "presence",
    {"presence": {"absent_after_seconds": 2, "arrive_after_seconds": 1, "min_sightings": 2}},
    {"presence": {"key": ["ssid", "sensor"], "absent_after_seconds": 5, "min_signal_dbm": -60}},
    "moving_average",
    {"moving_average": {"samples": 3, "window_seconds": 2, "key": ["ta"]}},
    {"strip": {"keys": ["ssid"]}},
    {"limit": {"messages": 5}},
    {"limit": {"seconds": 60}},
]
PIPELINES: list[list[Any]] = [
    ["dedupe", "beacon_filter", "presence", "moving_average"],
    [{"dedupe": {"mode": "merge"}}, "beacon_filter", {"presence": {"absent_after_seconds": 3}}],
    [{"limit": {"messages": 7}}, "presence", {"dedupe": {"mode": "merge"}}, "moving_average"],
]
STEPS = st.sampled_from([0, 0, 0.05, 0.4, 1, 2, 2.000001, 3, 5, 60, 120, 300, 4000, 90_000])
SEEN = {
    "ta": st.sampled_from([f"02:00:00:00:00:0{i}" for i in range(3)]),
    "kind": st.sampled_from(["BEACON", "BEACON", "PROBE_REQ", "DATA"]),
    "seq": st.sampled_from([1, 2, None]),
    "ssid": st.sampled_from(["a", "b", "", None]),
    "sensor": st.sampled_from(["hall", "attic"]),
    "signal_dbm": st.sampled_from([-40, -58, -75, None]),
}


@st.composite
def air(draw: st.DrawFn, **only: st.SearchStrategy[Any]) -> list[Message]:
    """Frames in the order of their time, with pauses that make each stage's delays matter."""
    at, frames = 0.0, []
    for number, step in enumerate(draw(st.lists(STEPS, max_size=40))):
        at += step
        keys = {name: draw(values) for name, values in {**SEEN, **only}.items()}
        frames.append(frame(at, id=f"f-{number}", **keys))
    return frames


def outcome(pipeline: list[Any], frames: list[Message], batch: int) -> Counter[str]:
    return Counter(map(repr, run(pipeline, frames, batch=batch)))


@pytest.mark.parametrize("pipeline", [*([stage] for stage in STAGES), *PIPELINES], ids=str)
@settings(max_examples=25, deadline=None)
@given(frames=air())
def test_batches_of_any_size_give_the_same_messages(
    pipeline: list[Any], frames: list[Message]
) -> None:
    one, seven, thousand = (outcome(pipeline, frames, batch) for batch in (1, 7, 1000))
    assert one == seven == thousand


@pytest.mark.parametrize("stage", STAGES, ids=str)
@settings(max_examples=25, deadline=None)
@given(
    frames=air(
        kind=st.just("BEACON"),
        seq=st.sampled_from([1, 2]),
        ssid=st.sampled_from(["a", "b"]),
        signal_dbm=st.sampled_from([-40, -55]),
    ),
    disorder=st.randoms(use_true_random=False),
)
def test_so_they_do_when_frames_come_out_of_order(
    stage: Any, frames: list[Message], disorder: Any
) -> None:
    disorder.shuffle(frames)
    one, seven, thousand = (outcome([stage], frames, batch) for batch in (1, 7, 1000))
    assert one == seven == thousand


@pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
@settings(max_examples=10, deadline=None)
@given(frames=air())
def test_the_same_input_gives_the_same_output_in_the_same_order_twice(
    pipeline: list[Any], frames: list[Message]
) -> None:
    assert repr(run(pipeline, frames, batch=7)) == repr(run(pipeline, frames, batch=7))
