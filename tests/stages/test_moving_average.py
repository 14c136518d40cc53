"""`moving_average` tells near from far where a signal jumps from frame to frame."""

from __future__ import annotations

from typing import Any

import pytest

from datastalker.errors import ConfigError
from datastalker.message import Message
from datastalker.testing import build, frame, run_stage

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def heard(at: float, signal: int | None, ta: str | None = A, **keys: Any) -> Message:
    return frame(at, ta=ta, signal_dbm=signal, **{"sensor": "hall", **keys})


def averages(*frames: Message, **options: Any) -> list[Any]:
    return [m.get("signal_dbm_avg") for m in run_stage("moving_average", frames, **options)]


def test_it_is_the_mean_of_the_last_frames() -> None:
    frames = [heard(i, signal) for i, signal in enumerate([-50, -60, -70, -80])]
    assert averages(*frames, samples=3) == [-50, -55, -60, -70]


def test_of_one_sample_it_is_the_value_itself() -> None:
    assert averages(heard(0, -50), heard(1, -60), samples=1) == [-50, -60]


def test_it_is_rounded_to_two_digits() -> None:
    assert averages(heard(0, -50), heard(1, -50), heard(2, -51))[-1] == -50.33


def test_transmitters_and_sensors_are_averaged_apart() -> None:
    frames = [heard(0, -50), heard(1, -70, B), heard(2, -90, sensor="attic"), heard(3, -60)]
    assert averages(*frames) == [-50, -70, -90, -55]


def test_samples_older_than_the_window_are_left_out() -> None:
    frames = [heard(0, -50), heard(60, -60), heard(60.000001, -70), heard(86_400, -80)]
    assert averages(*frames, window_seconds=60) == [-50, -55, -65, -80]


def test_a_frame_without_a_signal_transmitter_or_time_passes_untouched() -> None:
    timeless = Message(type="frame", ta=A, signal_dbm=-50)
    assert averages(heard(0, None), heard(0, -50, None), timeless) == [None, None, None]


def test_time_that_runs_backwards_is_averaged_all_the_same() -> None:
    assert averages(heard(1e6, -50), heard(10, -60), heard(11, -70)) == [-50, -55, -60]


def test_any_number_can_be_averaged_by_any_fields() -> None:
    frames = [frame(0, length=10, channel=1), frame(1, length=20, channel=1), frame(2, length=99)]
    out = run_stage("moving_average", frames, field="length", key=["channel"])
    assert [m.get("length_avg") for m in out] == [10, 15, None]


def test_an_average_by_no_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="name at least one field"):
        build([{"moving_average": {"key": []}}])
