"""`dedupe` makes one frame of what several sensors heard of one transmission."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from datastalker.message import Message
from datastalker.testing import build, frame, run, run_stage

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def copy(at: float = 0, **keys: Any) -> Message:
    same = {"ta": A, "ra": B, "seq": 7, "frag": 0, "retry": False, "length": 100, "tsf": 5}
    return frame(at, **{**same, "kind": "BEACON", "sensor": "hall", "signal_dbm": -60, **keys})


def dropped(messages: list[Message]) -> list[int]:
    return [message.get("copies_dropped", 0) for message in messages]


class TestFirst:
    def test_the_first_copy_passes_and_the_others_do_not(self) -> None:
        out = run_stage("dedupe", [copy(0), copy(0.1, sensor="study"), copy(2, sensor="attic")])
        assert [m["sensor"] for m in out] == ["hall"]

    @pytest.mark.parametrize("key", ["ta", "ra", "kind", "seq", "frag", "retry", "length", "tsf"])
    def test_frames_that_differ_in_what_a_transmission_has_of_its_own_all_pass(
        self, key: str
    ) -> None:
        other = {"ta": B, "ra": A, "kind": "PROBE_RESP", "retry": True}.get(key, 99)
        assert len(run_stage("dedupe", [copy(), copy(**{key: other})])) == 2

    def test_a_qos_streams_own_numbers_are_told_apart_by_its_tid(self) -> None:
        frames = [copy(kind="QOS_DATA", tid=0), copy(kind="QOS_DATA", tid=6)]
        assert len(run_stage("dedupe", frames)) == 2

    @pytest.mark.parametrize(
        "key", ["sensor", "signal_dbm", "channel", "rate_kbps", "id", "fcs_ok", "file"]
    )
    def test_what_a_sensor_makes_of_it_does_not_matter(self, key: str) -> None:
        assert len(run_stage("dedupe", [copy(), copy(**{key: 99})])) == 1

    def test_the_tsf_of_a_probe_response_changes_when_it_is_repeated_and_does_not_matter(
        self,
    ) -> None:
        frames = [copy(kind="PROBE_RESP"), copy(kind="PROBE_RESP", tsf=9)]
        assert len(run_stage("dedupe", frames)) == 1

    @pytest.mark.parametrize("key", ["seq", "ta", "timestamp"])
    def test_what_can_not_be_told_apart_passes_untouched(self, key: str) -> None:
        frames = [copy(), copy()]
        for message in frames:
            del message[key]
        assert run_stage("dedupe", frames) == frames

    def test_a_message_of_another_type_is_no_copy_of_its_frame(self) -> None:
        assert len(run_stage("dedupe", [copy(), copy(type="alert"), copy(type="alert")])) == 3

    def test_the_window_is_from_the_first_copy_not_from_the_last(self) -> None:
        out = run_stage("dedupe", [copy(0), copy(1.5), copy(3)], window_seconds=2)
        assert [m["timestamp"] - copy()["timestamp"] for m in out] == [0, 3_000_000]

    def test_a_copy_from_a_clock_that_is_behind_is_one_all_the_same(self) -> None:
        assert len(run_stage("dedupe", [copy(10), copy(8.5), copy(7.5)], window_seconds=2)) == 2

    def test_a_window_of_zero_takes_only_copies_of_the_same_time(self) -> None:
        frames = [copy(0), copy(0), copy(0.000001)]
        assert len(run_stage("dedupe", frames, window_seconds=0)) == 2

    def test_a_sequence_number_that_comes_round_again_is_another_frame(self) -> None:
        assert len(run_stage("dedupe", [copy(0), copy(86_400), copy(86_400.5)])) == 2

    def test_a_sensor_whose_frames_come_much_later_is_heard_no_second_time(self) -> None:
        one = [copy(at, seq=at) for at in range(30)]
        other = [copy(at + 0.1, seq=at, sensor="study") for at in range(30)]
        assert len(run_stage("dedupe", [*one, *other], late_seconds=30)) == 30
        assert len(run_stage("dedupe", [*one, *other], late_seconds=0)) > 50

    def test_what_comes_later_than_it_remembers_passes_and_is_counted(self) -> None:
        pipeline = build([{"dedupe": {"late_seconds": 20}}])
        frames = [copy(0), copy(100, seq=8), copy(76, seq=9), copy(75.9, seq=10)]
        assert len(pipeline.feed(frames)) == 4
        assert pipeline.stats.get("dedupe/too_late_to_compare") == 1

    def test_each_time_that_a_number_came_round_is_remembered(self) -> None:
        one = [copy(at) for at in (0, 5, 10, 15)]
        other = [copy(at + 0.1, sensor="study") for at in (0, 5, 10, 15)]
        assert len(run_stage("dedupe", [*one, *other])) == 4

    def test_how_many_were_dropped_travels_with_the_transmitters_next_frame(self) -> None:
        out = run_stage(
            "dedupe", [copy(), copy(), copy(), copy(ta=B), copy(1, seq=8), copy(2, seq=9)]
        )
        assert dropped(out) == [0, 0, 2, 0]

    def test_a_flood_of_equal_frames_stays_visible(self) -> None:
        flood = [copy(i / 100, kind="DEAUTH") for i in range(1000)]
        out = run_stage("dedupe", flood, window_seconds=2)
        assert dropped(out) == [0, 200, 200, 200, 200]

    def test_a_file_from_the_past_behind_another_is_deduplicated_too(self) -> None:
        late = [copy(at, seq=at) for at in range(100) for _ in range(2)]
        pipeline = build(["dedupe"])
        out = [m for m in [copy(1e8), *late] for m in pipeline.feed([m])]
        assert len(out) == 101

    @pytest.mark.parametrize("gap", [10, 100])
    def test_every_copy_is_counted_in_a_message_or_in_the_statistics(self, gap: float) -> None:
        frames = [
            copy(t * gap, seq=t % 3, ta=f"02:00:00:00:00:{t % 5:02x}")
            for t in range(50)
            for _ in range(t % 4)
        ]
        pipeline = build(["dedupe"])
        out = [m for message in frames for m in pipeline.feed([message])] + pipeline.finish()
        unreported = pipeline.stats.get("dedupe/copies_unreported")
        assert len(out) + sum(dropped(out)) + unreported == len(frames)


class TestMerge:
    def merged(self, *frames: Message, **options: Any) -> list[Message]:
        return run_stage("dedupe", frames, mode="merge", **options)

    def test_a_frame_is_held_for_the_window(self) -> None:
        pipeline = build([{"dedupe": {"mode": "merge", "window_seconds": 2}}])
        assert pipeline.feed([copy(0)]) == []
        assert pipeline.feed([copy(1.9, seq=8)]) == []
        assert [m["seq"] for m in pipeline.feed([copy(2.1, seq=9)])] == [7]

    def test_who_heard_it_is_the_same_in_whatever_order_the_copies_come(self) -> None:
        copies = [
            copy(0.2, sensor="hall", signal_dbm=-70, id="h-1"),
            copy(0.3, sensor="hall", signal_dbm=-65, id="h-2"),
            copy(0.0, sensor="attic", signal_dbm=-50, id="a-1"),
            copy(0.1, sensor="study", signal_dbm=-50, id="s-1"),
            copy(0.1, sensor="garage", signal_dbm=None, id="g-1"),
        ]
        outcomes = {str(self.merged(*order)) for order in permutations(copies)}
        (out,) = self.merged(*copies)
        assert len(outcomes) == 1
        assert (out["sensor"], out["signal_dbm"], out["copies"]) == ("study", -50, 5)
        assert out["heard_by"] == [
            {"sensor": "attic", "signal_dbm": -50},
            {"sensor": "garage", "signal_dbm": None},
            {"sensor": "hall", "signal_dbm": -65},
            {"sensor": "study", "signal_dbm": -50},
        ]

    def test_equal_copies_without_an_id_leave_the_earliest(self) -> None:
        for order in permutations([copy(0.2), copy(0.1), copy(0.3)]):
            (out,) = self.merged(*order)
            assert out["timestamp"] == copy(0.1)["timestamp"]

    def test_the_input_is_not_changed(self) -> None:
        frames = [copy(), copy(sensor="study")]
        self.merged(*frames)
        assert all("copies" not in message for message in frames)

    def test_frames_come_out_in_the_order_of_their_time(self) -> None:
        out = self.merged(copy(0), copy(1, seq=8), copy(2.5), copy(2.6, seq=9))
        assert [m["seq"] for m in out] == [7, 8, 7, 9]

    def test_when_there_is_no_room_frames_come_out_early_and_none_is_lost(self) -> None:
        frames = [copy(i / 1000, seq=i) for i in range(1000)]
        out = run([{"dedupe": {"mode": "merge"}}], frames, state_max_entries=10)
        assert sorted(m["seq"] for m in out) == list(range(1000))

    def test_copies_that_came_are_all_counted_whatever_happens(self) -> None:
        frames = [copy(i / 10, seq=i % 7, sensor=f"s{i % 3}") for i in range(500)]
        out = run([{"dedupe": {"mode": "merge"}}], frames, state_max_entries=3, batch=7)
        assert sum(m["copies"] for m in out) == 500

    def test_a_window_of_zero_merges_only_copies_of_the_same_time(self) -> None:
        out = self.merged(copy(0), copy(0), copy(0.000001), window_seconds=0)
        assert [m["copies"] for m in out] == [2, 1]

    def test_time_that_stands_in_the_past_does_not_release_a_frame_before_its_copies(self) -> None:
        pipeline = build([{"dedupe": {"mode": "merge"}}])
        late = [copy(at, seq=at) for at in range(20) for _ in range(2)]
        out = [m for message in [copy(1e8), *late] for m in pipeline.feed([message])]
        assert sorted(m["copies"] for m in out + pipeline.finish()) == [1] + 20 * [2]

    def test_a_copy_that_comes_after_its_window_is_dropped_and_counted(self) -> None:
        pipeline = build([{"dedupe": {"mode": "merge"}}])
        late = [copy(0), copy(0.1), copy(9, seq=8), copy(0.2, sensor="study")]
        out = [m for message in late for m in pipeline.feed([message])] + pipeline.finish()
        assert [(m["seq"], m["copies"]) for m in out] == [(7, 2), (8, 1)]
        assert pipeline.stats.get("dedupe/copies_too_late_to_merge") == 1

    def test_a_frame_that_comes_after_its_window_waits_for_no_other(self) -> None:
        pipeline = build([{"dedupe": {"mode": "merge"}}])
        pipeline.feed([copy(9, seq=8)])
        assert [m["seq"] for m in pipeline.feed([copy(0), copy(0.1, sensor="study")])] == [7]
        assert pipeline.stats.get("dedupe/copies_too_late_to_merge") == 1

    def test_what_is_held_is_no_loss_in_the_statistics(self) -> None:
        pipeline = build([{"dedupe": {"mode": "merge"}}])
        pipeline.feed([copy(), copy(), copy(seq=8)])
        pipeline.finish()
        _, stats = pipeline.all_stats()
        assert (stats.received, stats.sent, stats.dropped) == (3, 2, 1)
