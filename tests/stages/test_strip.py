"""`strip` removes keys from messages."""

from __future__ import annotations

from typing import Any

import pytest

from datastalker.errors import ConfigError
from datastalker.message import Message
from datastalker.testing import build, run_stage


def stripped(message: dict[str, Any], **options: Any) -> dict[str, Any]:
    (out,) = run_stage("strip", [Message(message)], **options)
    return dict(out)


def test_the_keys_that_are_listed_are_removed() -> None:
    assert stripped({"type": "frame", "ssid": "a", "seq": 1}, keys=["ssid"]) == {
        "type": "frame",
        "seq": 1,
    }


def test_the_keys_that_begin_with_a_prefix_are_removed() -> None:
    assert stripped({"type": "frame", "_a": 1, "_b": 2, "c": 3}, keys_startswith="_") == {
        "type": "frame",
        "c": 3,
    }


def test_a_key_that_is_not_there_is_no_mistake() -> None:
    assert stripped({"type": "frame"}, keys=["ssid"]) == {"type": "frame"}


@pytest.mark.parametrize("options", [{"keys": ["type"]}, {"keys_startswith": "t"}])
def test_a_message_keeps_its_type(options: dict[str, Any]) -> None:
    assert stripped({"type": "alert", "text": "a"}, **options)["type"] == "alert"


def test_a_strip_that_removes_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="give 'keys', 'keys_startswith' or both"):
        build(["strip"])
