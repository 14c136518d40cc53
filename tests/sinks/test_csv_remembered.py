"""A row is the same whatever was written before: what is remembered changes nothing but speed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastalker.message import Field, Message
from datastalker.testing import frame, run
from sinks.layout import Layout

ADDED = (Field("ta_oui", "text", ""), Field("beacons", "integer", ""), Field("near", "boolean", ""))
KEYS = (
    "id", "labels", "ta", "retry", "signal_dbm", "channel", "ssid", "ssid_hex", "rates_kbps",
    "elements", "akms", "heard_by", "seq", "tsf", "eapol", "ta_oui", "beacons", "near", "note",
)  # fmt: skip
ALIKE: list[Any] = [
    None, 0, 1, True, False, 1.0, 0.0, -0.0, Decimal(1), 2, 2.5, float("nan"), float("inf"),
    2**70, "", "1", "a", "=1+1", 'a",b', "\r\n", "{v0}", "\u202e", "a;@b", b"\xff", (), (1,), ("a",),
    [], [1], [True], [1.0], ["a"], ["1"], ["a", "b"], [1, 2], ["=1"], [None], [[1]],
    {}, {"a": "b"}, {"a": 1}, {"a": True}, {"b": "c", "a": "b"}, {"a": "b", "b": "c"}, {1: 2},
]  # fmt: skip
VALUES = st.sampled_from(ALIKE) | st.text(max_size=8) | st.integers(-2, 3)
MESSAGES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
COLUMNS = st.none() | st.lists(st.sampled_from((*KEYS, "time", "extra")), min_size=1, unique=True)


def row(layout: Layout, values: dict[str, Any]) -> str:
    return layout.line(Message(type="frame", timestamp=5, **values))


@settings(max_examples=300, deadline=None)
@given(COLUMNS, MESSAGES, st.lists(VALUES, min_size=2, max_size=6))
def test_a_row_is_that_of_a_layout_that_wrote_nothing_before(
    columns: list[str] | None, shape: dict[str, Any], others: list[Any]
) -> None:
    used = Layout("frame", columns, ADDED)
    for _ in range(10):  # so that a function is made of these keys
        row(used, dict.fromkeys(shape, 1))
    for value in others:
        for key in shape:
            values = {**shape, key: value}
            assert row(used, values) == row(Layout("frame", columns, ADDED), values)


@pytest.mark.parametrize(
    ("key", "usual", "equal"),
    [
        ("channel", 1, True),
        ("channel", 1, 1.0),
        ("retry", True, 1),
        ("elements", [1], [True]),
        ("labels", {"a": 1}, {"a": True}),
    ],
)
def test_what_equals_a_value_that_was_written_before_leaves_no_trace(
    key: str, usual: Any, equal: Any
) -> None:
    for first, then in ((usual, equal), (equal, usual)):
        used = Layout("frame", None, ())
        for _ in range(10):
            row(used, {key: first})
        assert row(used, {key: then}) == row(Layout("frame", None, ()), {key: then})


def test_messages_without_any_key_are_rows_however_many() -> None:
    layout = Layout("message", None, ())
    assert {layout.line(Message()) for _ in range(20)} == {",,\r\n"}


def test_a_stage_that_empties_messages_ends_no_run(tmp_path: Any) -> None:
    messages = [frame(n) for n in range(20)]
    plugin = tmp_path / "empties.py"
    plugin.write_text(
        "from datastalker.pipeline import Pipeline, Stage\n"
        "@Pipeline.register_stage('empties')\n"
        "class Empties(Stage):\n"
        "    'Takes all keys away'\n"
        "    def handle(self, message):\n"
        "        message.clear()\n"
        "        return message\n"
    )
    out = tmp_path / "out"
    run(["empties", {"csv": {"directory": str(out)}}], messages, plugins=[str(plugin)])
    (file,) = out.iterdir()
    assert file.read_bytes().count(b"\r\n") == 21
