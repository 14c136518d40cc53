"""Clocks that are wrong: frames that were captured by one are marked, and nothing goes by their time.

A frame with the key `clock_wrong` keeps the time that it has, moves no time, and passes by the
stages that keep state by time: a sensor that starts in 1970 makes no events of 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import contains, itemgetter
from typing import Any

WRONG = "clock_wrong"
"""The key of a frame whose time is wrong; its value is True."""
FIRST_80211 = 852_076_800_000_000
"""1997: nobody has heard an 802.11 frame before."""
WRITTEN = 1_735_689_600_000_000
"""2025: a machine that runs this and says that it is earlier has no clock, or an empty battery."""

_TIMESTAMP = itemgetter("timestamp")
_KEY = repeat(WRONG)


def any_wrong(messages: Iterable[dict[str, Any]]) -> bool:
    """Whether one of them is marked."""
    return any(map(contains, messages, _KEY))


def mark(messages: Iterable[dict[str, Any]], begin: int, end: int) -> None:
    """Mark those whose time lies there, in microseconds, `end` excluded."""
    for message in messages:
        if begin <= (message.get("timestamp") or 0) < end:
            message[WRONG] = True


def mark_impossible(messages: Sequence[dict[str, Any]]) -> None:
    """Mark those that say they are older than 802.11."""
    try:
        if min(map(_TIMESTAMP, messages)) >= FIRST_80211:
            return
    except (TypeError, KeyError, ValueError):  # a source of one's own may have none
        pass
    mark(_timed(messages), -1 << 63, FIRST_80211)


def mark_to_come(messages: Sequence[dict[str, Any]], end: int) -> None:
    """Mark those that say they are later than that."""
    try:
        if max(map(_TIMESTAMP, messages)) <= end:
            return
    except (TypeError, KeyError, ValueError):
        pass
    mark(_timed(messages), end + 1, 1 << 63)


def _timed(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (message for message in messages if isinstance(message.get("timestamp"), int))
