"""Presence, alerts and whatever plug-ins say come back as they went in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from datastalker.errors import WireError
from datastalker.message import PRESENCE_FIELDS, Message
from datastalker.wire import decode_event, encode_event, schema_name

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
number = st.integers(-(1 << 31), (1 << 31) - 1)
anything = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False)
    | text | st.binary(max_size=4) | st.lists(text, max_size=3)
)  # fmt: skip
TYPES = {
    "integer": number,
    "text": text,
    "strings": st.lists(text, max_size=3),
    "boolean": st.booleans(),
}
presence = st.fixed_dictionaries(
    {"type": st.just("presence")},
    optional={
        **{name: TYPES[field.type] for name, field in PRESENCE_FIELDS.items()},
        "house": anything,
        "extra": anything,
    },
)
event = st.dictionaries(
    text.filter(lambda key: key not in ("type", "timestamp", "id", "key")), anything, max_size=4
).flatmap(
    lambda extra: st.fixed_dictionaries(
        {name: st.just(value) for name, value in extra.items()},
        optional={
            "timestamp": number,
            "id": text,
            "key": text,
            "type": st.sampled_from(["alert", "mine"]),
        },
    )
)


def types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: types(part) for key, part in value.items()}
    return type(value).__name__, value


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(presence | event)
def test_an_event_comes_back_as_it_went_in(values: dict[str, Any]) -> None:
    message = Message(values)
    assert types(decode_event(encode_event(message))) == types(message)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=presence | event)
def test_fastavro_reads_what_was_written_and_would_write_the_same(
    values: dict[str, Any],
    fastavro_read: Callable[[str, bytes], Any],
    fastavro_write: Callable[[str, Any], bytes],
) -> None:
    message = Message(values)
    name, data = schema_name(message.type), encode_event(message)[10:]
    assert fastavro_write(name, fastavro_read(name, data)) == data


def test_every_key_of_presence_has_a_field() -> None:
    fields = {field["name"] for field in schemas.current("presence")["fields"]}
    assert fields == {*PRESENCE_FIELDS, "extra"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "frame"}, "a frame is no event: frames travel in batches"),
        (
            {"type": "presence", "sightings": "many"},
            "key 'sightings' holds the str 'many': it is no whole",
        ),
        (
            {"type": "alert", "why": {"a": 1}},
            "key 'why' holds the dict {'a': 1}; what a stage sets may be",
        ),
        ({"type": "alert", "timestamp": "now"}, "key 'timestamp' holds the str 'now'"),
    ],
)
def test_what_cannot_be_written_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(WireError) as caught:
        encode_event(Message(values))
    assert str(caught.value).startswith(said)
