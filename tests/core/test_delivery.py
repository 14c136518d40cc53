"""Repeats are dropped, gaps are reported, whatever the order."""

import json
import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

from datastalker.delivery import Origin, Seen


@given(st.lists(st.integers(0, 60)))
def test_a_batch_is_new_exactly_once(numbers):
    seen, known = Seen(), set()

    for number in numbers:
        assert seen.batch("s", number) is (number not in known)
        known.add(number)

    assert seen.repeated == len(numbers) - len(known)
    assert seen.missing == (max(known) - min(known) + 1 - len(known) if known else 0)


@given(st.lists(st.integers(0, 60)), st.integers(0, 20))
def test_what_was_seen_survives_being_stored(numbers, cut):
    straight, stored = Seen(), Seen()

    for index, number in enumerate(numbers):
        if index == cut:
            stored = Seen(json.loads(json.dumps(stored.to_data())))
        assert straight.batch("s", number) is stored.batch("s", number)


def test_gaps_beyond_those_that_are_kept_stay_counted():
    seen = Seen()

    for number in range(0, 1000, 2):
        seen.batch("s", number)

    assert seen.missing == 499


def test_sessions_are_bounded_and_their_gaps_stay_counted():
    seen = Seen()

    for session in range(1000):
        seen.batch(str(session), 0)
        seen.batch(str(session), 2)

    assert len(seen.to_data()["sessions"]) == 256
    assert seen.missing == 1000


def test_what_is_made_again_after_a_crash_is_dropped():
    seen = Seen()
    first, second = Origin("t", 0, 5), Origin("t", 0, 6)

    assert [seen.origin(o) for o in (first, second, first, second)] == [True, True, False, False]


def test_several_that_were_made_from_one_are_told_apart():
    seen = Seen()
    made = [Origin("t", 0, offset, n) for offset, n in ((5, 0), (5, 1), (6, 0))]

    assert [seen.origin(o) for o in made] == [True, True, True]
    stored = Seen(json.loads(json.dumps(seen.to_data())))
    assert [stored.origin(o) for o in made] == [False, False, False]
    assert stored.origin(Origin("t", 0, 6, 1))


def test_origins_of_other_partitions_are_their_own():
    seen = Seen()

    assert seen.origin(Origin("t", 0, 5))
    assert seen.origin(Origin("t", 1, 5))


def test_an_origin_travels_in_a_header():
    origin = Origin("wifi/frames.x", 3, 12)

    assert Origin.from_headers([("other", b""), origin.to_header()]) == origin
    assert Origin.from_headers(origin._replace(n=7).to_headers()) == origin._replace(n=7)
    assert Origin.from_headers(None) is None


def test_gaps_are_counted_for_a_page_while_batches_come():
    seen, over = Seen(), threading.Event()

    def come():
        number = 0
        while not over.is_set():
            seen.batch(f"s{number % 300}", number)
            number += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    coming = threading.Thread(target=come)
    coming.start()
    try:
        assert all(seen.missing >= 0 for _ in range(2000))
    finally:
        over.set()
        coming.join()
        sys.setswitchinterval(interval)
