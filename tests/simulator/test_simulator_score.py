"""The scorer itself: it gives full marks where they are due, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datastalker.simulator.score import Truth, expected_events, score_presence
from datastalker.simulator.truth import Stay

SECOND = 1_000_000
ADDRESS = "02:00:00:00:00:01"


@pytest.fixture(scope="module")
def truth(small: Path) -> Truth:
    return Truth(small)


def copies(truth: Truth) -> list[dict[str, Any]]:
    return [
        {"file": f"/somewhere/{file}", "frame_number": number}
        for sent in truth.transmissions
        for file, number in sent.heard.items()
    ]


def firsts(truth: Truth) -> list[dict[str, Any]]:
    """What a perfect dedupe passes."""
    first = (next(iter(sent.heard.items())) for sent in truth.transmissions if sent.heard)
    return [{"file": file, "frame_number": number} for file, number in first]


def test_a_perfect_dedupe_scores_one(truth: Truth):
    score = truth.score_dedupe(firsts(truth))
    assert (score.precision, score.recall) == (1.0, 1.0)
    assert score.passed == score.heard > 1000


def test_no_dedupe_at_all_is_not_precise(truth: Truth):
    score = truth.score_dedupe(copies(truth))
    assert score.precision < 0.5
    assert score.recall < 0.2
    assert score.lost == ()


def test_what_is_lost_is_named(truth: Truth):
    numbered = [frame for frame in firsts(truth) if truth.of(frame).seq is not None]
    score = truth.score_dedupe(numbered[1:])
    assert score.precision == 1.0
    assert score.recall == 1 - 1 / score.heard
    assert score.lost == (truth.of(numbered[0]).number,)


def test_frames_without_a_sequence_number_are_left_out(truth: Truth):
    acks = [frame for frame in copies(truth) if truth.of(frame).kind == "ACK"]
    assert len(acks) > 100
    assert truth.score_dedupe([*firsts(truth), *acks]).precision == 1.0


def stay(first: float, last: float, silence: float = 1) -> Stay:
    return Stay(
        "phone", "x", ADDRESS, int(first * SECOND), int(last * SECOND), 9, int(silence * SECOND)
    )


def told(*events: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"event": event, "timestamp": int(at * SECOND), "key": ADDRESS} for event, at in events]


def test_a_stay_owes_new_and_absent():
    owed = [(e.event, e.time_us / SECOND) for e in expected_events([stay(10, 50)], 60, 10**9)]
    assert owed == [("NEW", 10), ("ABSENT", 110)]


def test_a_stay_that_ends_too_late_owes_no_absent():
    assert [e.event for e in expected_events([stay(10, 50)], 60, 100 * SECOND)] == ["NEW"]


def test_two_stays_that_are_close_are_one():
    owed = list(expected_events([stay(10, 50), stay(100, 150)], 60, 10**9))
    assert [e.event for e in owed] == ["NEW", "ABSENT"]


def test_a_truth_with_long_silences_is_refused():
    with pytest.raises(ValueError, match="silent for 70"):
        list(expected_events([stay(10, 150, silence=70)], 60, 10**9))


def test_presence_is_scored_within_the_sensors_clocks():
    stays = [stay(10, 50), stay(200, 250)]
    good = told(
        ("NEW", 10.004), ("ABSENT", 109.997), ("NEW", 200), ("ACTIVE", 230), ("ABSENT", 310)
    )
    assert score_presence(good, stays, 60, 10**9) == score_presence(
        reversed(good), stays, 60, 10**9
    )
    score = score_presence(good, stays, 60, 10**9)
    assert (score.expected, score.missing, score.unexpected) == (4, (), ())


def test_missing_and_false_events_are_named():
    score = score_presence(
        told(("NEW", 10), ("NEW", 30), ("ABSENT", 111)), [stay(10, 50)], 60, 10**9
    )
    assert [e.event for e in score.missing] == ["ABSENT"]
    assert [(e.event, e.time_us // SECOND) for e in score.unexpected] == [
        ("NEW", 30),
        ("ABSENT", 111),
    ]
