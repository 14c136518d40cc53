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
from processors.store import LATE, Entry, Ring

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


def store(table: dict[bytes, bytes], block: list[Entry], *, missing: bool = False) -> None:
    for key, value in block:
        if value is None:
            assert missing or key in table
            table.pop(key, None)
        else:
            table[key] = value


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
            head = ring.restore(table.items(), live)
            assert content(live) == written
            assert head.get("batch", -1) == ring.number
            continue
        store(table, ring.block(live, {"batch": ring.number + 1}))
        written = content(live)
        assert len(table) <= slots + LATE

    restored = states(size)
    Ring(slots).restore(table.items(), restored)
    assert content(restored) == written


def test_what_nobody_touches_is_handed_on_for_ever():
    ring, live, table = Ring(4), states(), {}
    live["presence"].set("phone", {"n": 1})

    for n in range(50):
        live["dedupe"].set(n, n, NEVER if n == 7 else n)
        list(live["dedupe"].expired(n))
        store(table, ring.block(live, {}))

    restored = states()
    Ring(4).restore(table.items(), restored)
    assert dict(restored["presence"]) == {"phone": {"n": 1}}
    assert dict(restored["dedupe"]) == {7: 7}
    assert len(table) == 4 + LATE


def test_a_block_that_is_handed_on_is_no_larger_than_what_is_alive():
    ring, live = Ring(4), states()
    sizes = []
    for n in range(400):
        live["dedupe"].set(("aa:bb:cc:dd:ee:ff", n), n, n + 10)
        list(live["dedupe"].expired(n))
        sizes.append(len(ring.block(live, {})[0][1] or b""))

    assert max(sizes[200:]) < 2 * max(sizes[20:60])
    assert len(ring._newest) < 50


def test_a_stage_that_was_taken_out_of_the_pipeline_leaves_its_state_behind():
    ring, live = Ring(), states()
    live["presence"]["phone"] = 1
    live["dedupe"]["key"] = 2
    table: dict[bytes, bytes] = {}
    store(table, ring.block(live, {}))

    rest = {"dedupe": Journal()}
    Ring().restore(table.items(), rest)
    assert dict(rest["dedupe"]) == {"key": 2}


def test_a_block_that_is_too_large_for_a_record_is_several_and_counts_when_all_are_there():
    ring, live, table = Ring(2, most_bytes=50), states(), {}
    live["presence"]["phone"] = "first"
    store(table, ring.block(live, {}))
    before = dict(table)
    live["presence"]["phone"] = [n * 7919 % 997 for n in range(100)]
    last = ring.block(live, {})
    assert all(len(value) <= 50 for _, value in last if value is not None)
    store(table, last)

    restored = states()
    Ring(2).restore(table.items(), restored)
    assert dict(restored["presence"]) == dict(live["presence"])
    for missing in {key for key, _ in last}:
        ring = Ring(2)
        ring.restore([item for item in table.items() if item[0] != missing], restored)
        assert dict(restored["presence"]) == {"phone": "first"}
        rest = dict(table)
        rest.pop(missing)
        store(rest, ring.block(restored, {}))
        assert len(rest) == len(before) + 1  # nothing is left of what was cut off


@given(st.lists(st.tuples(st.integers(0, 2), KEYS), max_size=30), st.integers(1, 4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_one_that_was_taken_for_dead_writes_late_does_not_count(changes, slots, dies):
    table: dict[bytes, bytes] = {}
    first, old = Ring(slots, generation=1), states()
    first.restore((), old)
    for value, key in changes[:10]:
        old["dedupe"].set(key, value)
        store(table, first.block(old, {}))
    second, new = Ring(slots, generation=2), states()
    second.restore(table.items(), new)

    written = content(new)
    for number, (value, key) in enumerate(changes[10:]):
        if number < LATE:  # the first goes on, ahead of the second
            old["dedupe"].set(key, ["late", value])
            store(table, first.block(old, {}), missing=True)
        if number % 2 and number > 4:
            new["dedupe"].set(key, value)
            store(table, second.block(new, {}), missing=True)
            written = content(new)
        if dies and number > 4:  # a third takes over
            second, new = Ring(slots, generation=3 + number), states()
            second.restore(table.items(), new)
            if number > 5:
                assert content(new) == written


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

    with pytest.raises(DataStalkerError, match="stage 'presence': an object can't be kept"):
        Ring().block(live, {})


def test_a_damaged_block_is_said_to_be_one():
    with pytest.raises(DataStalkerError, match="a block of state can't be read"):
        Ring().restore([(b"0.0.1@1.0", b"nonsense")], states())
