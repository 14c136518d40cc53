"""State blocks: whatever stages do to their state, and whenever a worker dies, it comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastalker.errors import DataStalkerError
from datastalker.message import Message
from datastalker.state import NEVER, Journal
from processors.plain import pack, unpack
from processors.store import Ring

KEYS = st.integers(0, 6) | st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 1))
TIMES = st.integers(0, 8_000_000) | st.just(NEVER)
LABELS = st.sampled_from(["dedupe", "presence"])
CHANGE = st.one_of(
    st.tuples(st.sampled_from(["set", "add"]), LABELS, KEYS, TIMES),
    st.tuples(st.sampled_from(["pop", "delete", "retire"]), LABELS, KEYS, st.none()),
    st.tuples(st.just("expired"), LABELS, st.none(), st.integers(0, 8_000_000)),
    st.tuples(st.just("clear"), LABELS, st.none(), st.none()),
)
BATCHES = st.lists(st.tuples(st.lists(CHANGE, max_size=6), st.booleans()), max_size=25)


def states(size: int = 100) -> dict[str, Journal]:
    return {"dedupe": Journal(size), "presence": Journal(size)}


def content(held: dict[str, Journal]) -> dict[str, Any]:
    return {
        label: ({key: state.entry(key) for key in state}, state.now)
        for label, state in held.items()
    }


def change(state: Journal, what: str, key: Any, at: Any, value: Any) -> None:
    if what in ("set", "add"):
        getattr(state, what)(key, value, at)
    elif what == "pop":
        state.pop(key)
    elif what == "retire":
        state.retire(key)
    elif what == "delete" and key in state:
        del state[key]
    elif what == "expired":
        list(state.expired(at))
    elif what == "clear":
        state.clear()


@given(BATCHES, st.integers(1, 5), st.sampled_from([2, 100]))
@settings(max_examples=300, deadline=None)
def test_after_a_crash_at_any_point_the_state_is_that_of_the_last_block(batches, slots, size):
    ring, live, table = Ring(slots), states(size), {}
    written = content(live)

    for number, (changes, crash) in enumerate(batches):
        for what, label, key, at in changes:
            change(live[label], what, key, at, [number, key])
        if crash:  # before the block was written: what changed since is gone
            ring, live = Ring(slots), states(size)
            head = ring.restore(table.values(), live)
            assert content(live) == written
            assert head.get("batch", -1) == ring.number
            continue
        slot, block = ring.block(live, {"batch": ring.number + 1})
        table[slot] = block
        written = content(live)
        assert len(table) <= slots

    restored = states(size)
    Ring(slots).restore(table.values(), restored)
    assert content(restored) == written


def test_what_nobody_touches_is_handed_on_for_ever():
    ring, live, table = Ring(4), states(), {}
    live["presence"].set("phone", {"n": 1})

    for n in range(50):
        live["dedupe"].set(n, n, NEVER if n == 7 else n)
        list(live["dedupe"].expired(n))
        slot, table[slot] = ring.block(live, {})

    restored = states()
    Ring(4).restore(table.values(), restored)
    assert dict(restored["presence"]) == {"phone": {"n": 1}}
    assert dict(restored["dedupe"]) == {7: 7}
    assert len(table) == 4


def test_a_block_that_is_handed_on_is_no_larger_than_what_is_alive():
    ring, live = Ring(4), states()
    sizes = []
    for n in range(400):
        live["dedupe"].set(("aa:bb:cc:dd:ee:ff", n), n, n + 10)
        list(live["dedupe"].expired(n))
        sizes.append(len(ring.block(live, {})[1]))

    assert max(sizes[200:]) < 2 * max(sizes[20:60])
    assert len(ring._newest) < 50


def test_a_stage_that_was_taken_out_of_the_pipeline_leaves_its_state_behind():
    ring, live = Ring(), states()
    live["presence"]["phone"] = 1
    live["dedupe"]["key"] = 2
    _, block = ring.block(live, {})

    rest = {"dedupe": Journal()}
    Ring().restore([block], rest)
    assert dict(rest["dedupe"]) == {"key": 2}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.just("__tuple"), inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4).map(Message)
        | st.frozensets(st.integers() | st.text(), max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


def types(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), [(k, types(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types(item) for item in value]
    return type(value)


@given(PLAIN)
def test_a_value_comes_back_as_it_was(value):
    back = unpack(json.loads(json.dumps(pack(value))))

    assert back == value
    assert types(back) == types(value)


def test_what_is_no_plain_data_is_named_with_its_stage():
    live = states()
    live["presence"]["key"] = object()

    with pytest.raises(DataStalkerError, match="stage 'presence': a object can't be kept"):
        Ring().block(live, {})


def test_a_damaged_block_is_said_to_be_one():
    with pytest.raises(DataStalkerError, match="a block of state can't be read"):
        Ring().restore([b"nonsense"], states())
