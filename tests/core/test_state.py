"""What a stage remembers: a mapping that expires in event time and is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from datastalker.state import NEVER, State
from datastalker.testing import SECOND

KEYS = st.integers(0, 12)
TIMES = st.integers(0, 20 * SECOND) | st.just(NEVER)


def expired(state: State, seconds: float) -> list[tuple[Any, Any]]:
    return [(key, value) for key, value, _ in state.expired(round(seconds * SECOND))]


def test_it_is_a_mapping() -> None:
    state = State()
    state["a"] = 1
    state.update({"b": 2, "c": 3})
    del state["a"]

    assert state.setdefault("b", 9) == 2
    assert (state.get("x"), state.get("x", 5), state.pop("x"), state.pop("c")) == (None, 5, None, 3)
    assert (len(state), "b" in state, list(state.items()), dict(state)) == (1, True, [("b", 2)], {"b": 2})  # fmt: skip # noqa: E501


def test_a_key_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        State()["x"]


def test_an_entry_is_there_until_its_time_has_come_and_is_asked_for() -> None:
    state = State()
    state.set("a", 1, expires=5 * SECOND)

    assert expired(state, 4.999999) == []
    assert "a" in state
    assert expired(state, 5) == [("a", 1)]
    assert "a" not in state


def test_what_expires_first_comes_first() -> None:
    state = State()
    for key, at in (("b", 2.5), ("c", 7.0), ("a", 2.1)):
        state.set(key, 1, expires=round(at * SECOND))

    assert [key for key, _ in expired(state, 9)] == ["a", "b", "c"]


def test_an_expiry_may_be_put_off_and_brought_forward() -> None:
    state = State()
    state.set("later", 1, expires=3 * SECOND)
    state.set("later", 2, expires=8 * SECOND)
    state.set("sooner", 3, expires=8 * SECOND)
    state.set("sooner", 4, expires=2 * SECOND)

    assert expired(state, 3) == [("sooner", 4)]
    assert expired(state, 8) == [("later", 2)]


def test_an_entry_without_expiry_stays() -> None:
    state = State()
    state["a"] = 1

    assert expired(state, 1e12) == []
    assert state["a"] == 1


def test_storing_by_assignment_takes_the_expiry_away() -> None:
    state = State()
    state.set("a", 1, expires=SECOND)
    state["a"] = 2

    assert expired(state, 5) == []


def test_a_full_state_evicts_what_would_expire_first_counts_it_and_tells() -> None:
    state = State(max_entries=2)
    state.set("a", 1, expires=9 * SECOND)
    state.set("b", 2, expires=5 * SECOND)
    state.set("c", 3, expires=7 * SECOND)

    assert sorted(state) == ["a", "c"]
    assert state.evicted == 1
    assert list(state.expired(0)) == [("b", 2, 5 * SECOND)]
    assert list(state.expired(0)) == []


def test_a_deleted_entry_neither_expires_nor_counts_as_evicted() -> None:
    state = State(max_entries=2)
    state.set("a", 1, expires=SECOND)
    del state["a"]
    state.set("b", 1, expires=2 * SECOND)
    state.set("c", 1, expires=3 * SECOND)

    assert state.evicted == 0
    assert expired(state, 9) == [("b", 1), ("c", 1)]


def test_clear_forgets_all() -> None:
    state = State()
    state.set("a", 1, expires=SECOND)
    state.clear()

    assert (len(state), expired(state, 9)) == (0, [])


def _size(state: State) -> int:
    return sum(map(len, state._buckets.values())) + len(state._due) + len(state)


@pytest.mark.parametrize("horizon", [1, 3600])
def test_bookkeeping_stays_bounded_however_entries_come_and_go(horizon: int) -> None:
    state = State(max_entries=100)
    for n in range(20_000):
        state.set("same", n, expires=(n % horizon) * SECOND)
        del state["same"]
        state.set(n % 50, n, expires=(20_000 - n) * SECOND)

    assert _size(state) < 1024 + 4 * 100


def test_a_flood_of_keys_is_bounded_even_where_nobody_asks_what_was_evicted() -> None:
    state = State(max_entries=10)
    for n in range(70_000):
        state.set(n, n, expires=n)

    assert (len(state), state.evicted) == (10, 69_990)
    assert _size(state) < 70_000


class Naive(RuleBasedStateMachine):
    """A State and the plainest thing that means the same, side by side."""

    @initialize(size=st.sampled_from([1, 3, 8, 100]))
    def begin(self, size: int) -> None:
        self.size = size
        self.state = State(size)
        self.model: dict[int, tuple[int, int]] = {}
        self.gone: list[tuple[int, int, int]] = []  # evicted since the last `expired`
        self.evicted = 0
        self.now = 0

    @rule(key=KEYS, value=st.integers(), expires=TIMES)
    def store(self, key: int, value: int, expires: int) -> None:
        self.state.set(key, value, expires)
        self.model[key] = (value, expires)
        if len(self.model) > self.size:
            (lost,) = set(self.model) - set(self.state)
            second = self.model[lost][1] // SECOND
            assert second == min(at // SECOND for _, at in self.model.values())
            self.gone.append((lost, *self.model.pop(lost)))
            self.evicted += 1

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        if key in self.model:
            del self.state[key], self.model[key]
        else:
            assert self.state.pop(key) is None

    @rule(later=st.integers(0, 5 * SECOND))
    def expire(self, later: int) -> None:
        self.now += later
        due = [(k, v, at) for k, (v, at) in self.model.items() if at <= self.now]
        for key, _, _ in due:
            del self.model[key]
        found = list(self.state.expired(self.now))
        assert sorted(found) == sorted(due + self.gone)
        assert [at for _, _, at in found] == sorted(at for _, _, at in found)
        self.gone.clear()

    @invariant()
    def same(self) -> None:
        assert {k: v for k, (v, _) in self.model.items()} == dict(self.state)
        assert list(self.state) == list(self.model)
        assert self.state.evicted == self.evicted


TestNaive = Naive.TestCase
TestNaive.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
