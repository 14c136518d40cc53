"""Documents for Elasticsearch: the same, whoever writes their JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datastalker.message import FIELDS, Message
from datastalker.testing import START
from sinks import documents
from sinks.documents import Documents
from sinks.mapping import properties

KNOWN = {kind: properties(kind) for kind in ("", *FIELDS)}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["ssid", "signal_dbm", "labels", "elements", "mine", "@timestamp", "extra"])


def made(message: Message) -> list[bytes]:
    return list(Documents("x", "day", False, KNOWN).lines(message))


def plain(message: Message) -> list[bytes]:
    """As where there is no orjson."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "orjson", None)
        return made(message)


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # NaN is NaN, and 1 is not True


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES), st.sampled_from(["frame", "presence", "mine"]))
def test_with_orjson_and_without_it_a_document_says_the_same(
    keys: dict[str, Any], kind: str
) -> None:
    message = Message(type=kind, timestamp=START, id="a-1", **keys)
    action, text = made(message)
    wanted_action, wanted = plain(message)
    assert action == wanted_action
    assert same(_sorted(text), _sorted(wanted))


def _sorted(text: bytes) -> list[Any]:
    assert b"\n" not in text
    return sorted(json.loads(text).items())


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, math.nan, "\ud800", {1: "a"}, b"\xff", {"deep": [math.inf]}, {3}]
)
def test_what_orjson_writes_otherwise_or_not_at_all_is_written_as_ever(value: object) -> None:
    message = Message(type="frame", timestamp=START, id="a-1", mine=value, ssid=value)
    assert same(_sorted(made(message)[1]), _sorted(plain(message)[1]))


def test_a_message_without_id_has_the_same_one_with_orjson_and_without_it() -> None:
    message = Message(type="alert", timestamp=START, level=3, key="é")
    assert made(message) == plain(message)


@pytest.mark.parametrize("timestamp", [None, -1, "noon", 1 << 62])
def test_a_message_whose_time_no_index_could_go_by_is_none(timestamp: object) -> None:
    with pytest.raises(ValueError, match=r"its time|it has no time"):
        made(Message(type="frame", timestamp=timestamp, id="a-1"))


def test_a_frame_of_a_clock_in_1970_is_stored_under_that_day_and_marked() -> None:
    action, text = made(Message(type="frame", timestamp=20_000_000, id="a-1", clock_wrong=True))

    assert json.loads(action)["create"]["_index"] == "x-frame-1970.01.01"
    said = json.loads(text)
    assert said["@timestamp"].startswith("1970-01-01T00:00:20")
    assert said["extra"]["clock_wrong"] is True


def test_an_index_is_named_by_the_messages_own_day() -> None:
    action, text = made(Message(type="frame", timestamp=1_772_471_000_000_001, id='a"1'))
    assert json.loads(action) == {"create": {"_index": "x-frame-2026.03.02", "_id": 'a"1'}}
    assert json.loads(text)["@timestamp"] == "2026-03-02T17:03:20.000001Z"
