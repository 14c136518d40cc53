"""Times as tests write them: `61s`, `1h30m`, `now-5s`, `start+300s`, `2026-03-02T17:00:00Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

SECOND = 1_000_000
"""Microseconds."""
START = 1_772_470_800 * SECOND
"""2026-03-02 17:00 UTC, when tests begin."""

_UNITS = {"us": 1, "ms": 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}  # fmt: skip # noqa: E501
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_RELATIVE = re.compile(r"(now|start)(?:([+-])(.+))?")


def duration(value: Any) -> int:
    """Microseconds of `61s`, `1h30m`, `250ms`, or of a number of seconds.

    Raises ValueError, with a sentence.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 <= value < 1e9:
            return round(value * SECOND)
    elif isinstance(value, str) and re.fullmatch(f"(?:{_PART.pattern})+", value):
        total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
        if total < 1e9 * SECOND:
            return round(total)
    raise ValueError(f"takes a duration such as 61s, 250ms or 1h30m, not '{value}'")


def moment(value: Any, start: int, now: int) -> int:
    """Microseconds since 1970 of a time; a whole number is that already.

    Raises ValueError, with a sentence.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    relative = _RELATIVE.fullmatch(text)
    if relative:
        base = now if relative[1] == "now" else start
        by = duration(relative[3]) if relative[3] else 0
        return base - by if relative[2] == "-" else base + by
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "takes a time such as now, now-5s, start+300s, 2026-03-02T17:00:00Z or microseconds "
            f"since 1970, not '{text}'"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * SECOND + since.microseconds


def since(time: int, start: int) -> str:
    """A time as `start+300s`, for people."""
    number = f"{abs(time - start) / SECOND:.6f}".rstrip("0").rstrip(".")
    return "start" if time == start else f"start{'+' if time > start else '-'}{number}s"


def utc(microseconds: Any, shape: str) -> str:
    """A time for people, as strftime has it; empty for what is none, or in no calendar."""
    try:
        return datetime.fromtimestamp(int(microseconds) / SECOND, UTC).strftime(shape)
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
