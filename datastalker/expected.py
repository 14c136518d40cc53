"""Messages as a test writes them, given or expected: what their keys may be.

Where a message is expected, a value may be a matcher: a mapping of the comparisons of `when:`, or of
`time`, such as {gte: -70}, {matches: "^guest"}, {exists: false}, {time: start+5s}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from datastalker import moment
from datastalker.address import normalise
from datastalker.annotation import Path
from datastalker.condition import COMPARISONS, NUMERIC, misspelt
from datastalker.message import FIELDS, KIND_NAMES, KNOWN_KEYS, Field
from datastalker.options import Report, suggest

TIMES = ("timestamp", "first_seen", "last_seen")
"""Keys of a message that may be written as times, such as `start+5s`."""
MATCHERS = (*COMPARISONS, "time")

_TYPES = {"integer": int, "boolean": bool, "text": str, "kind": str, "address": str}


def is_matcher(wanted: Any) -> bool:
    """A mapping of comparisons, rather than a mapping that the message holds."""
    return isinstance(wanted, dict) and bool(wanted) and all(name in MATCHERS for name in wanted)


def check_message(
    message: dict[str, Any], path: Path, report: Report, warn: Report, *, matching: bool = False
) -> None:
    """Can there be such a message? `matching`: its values may be matchers."""
    kind = message.get("kind")
    if isinstance(kind, str) and kind not in KIND_NAMES:
        report((*path, "kind"), f"no frame is of kind '{kind}'{suggest(kind, KIND_NAMES)}")
    type_ = message.get("type", "frame")
    if isinstance(type_, str) and type_ in FIELDS:
        known = {"type", *FIELDS["frame"], *FIELDS[type_]}
        for key in message:
            if key not in known and (close := misspelt(key, sorted(known), 0.75)):
                warn((*path, key), f"no field is called '{key}'{close}")
        for key, field in FIELDS[type_].items():
            if key not in TIMES and (text := _never(field, message.get(key))):
                report((*path, key), f"'{key}' {text}")
    for key, value in message.items() if matching else ():
        check_value(report, key, value, (*path, key))


def check_value(report: Report, key: str, wanted: Any, path: Path) -> None:
    """Can there be such a value, or matcher?"""
    if key in TIMES and isinstance(wanted, str):
        attempt(report, path, key, moment.moment, wanted, 0, 0)
    if not isinstance(wanted, dict):
        return
    contract = key in KNOWN_KEYS and key != "labels"
    if not contract and not any(name in MATCHERS for name in wanted):  # the message holds it
        for name, inner in wanted.items():
            check_value(report, name, inner, (*path, name))
        return
    for name, operand in wanted.items():
        here = (*path, name)
        if name not in MATCHERS:
            report(here, f"unknown comparison '{name}'{suggest(str(name), MATCHERS)}")
        elif name == "time" or (key in TIMES and isinstance(operand, str)):
            attempt(report, here, name, moment.moment, operand, 0, 0)
        elif name in NUMERIC:
            if not isinstance(operand, (int, float)) or isinstance(operand, bool):
                report(here, f"'{name}' compares with a number, not '{operand}'")
        elif name == "matches":
            attempt(report, here, "matches", _regex, operand)
        elif name == "exists" and not isinstance(operand, bool):
            report(here, "'exists' is true or false")
        elif name == "in" and not isinstance(operand, list):
            report(here, "'in' takes a list")


def attempt(report: Report, path: Path, name: str, call: Callable[..., Any], *given: Any) -> Any:
    """What `call` gives; None, and told, where it raises ValueError."""
    try:
        return call(*given)
    except ValueError as error:
        report(path, f"'{name}' {error}")
        return None


def _never(field: Field, value: Any) -> str:
    """What is wrong with a value that a key of the contract can't have."""
    wanted = _TYPES.get(field.type)
    if value is None or isinstance(value, dict) or wanted is None:
        return ""
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return f"holds {field.type}, never {value!r}; put quotes around text"
    if field.type == "address" and normalise(str(value)) is None:
        return f"is an address, such as 02:00:00:00:00:01, not '{value}'"
    return ""


def _regex(text: Any) -> re.Pattern[str]:
    if not isinstance(text, str):
        raise ValueError("takes a regular expression; quote it")
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"takes a regular expression: {error}") from None
