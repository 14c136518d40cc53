"""Words for what was expected and what came: a diff, with the closest match picked out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datastalker.expected import TIMES, is_matcher
from datastalker.moment import since
from datastalker.options import suggest
from datastalker.text import counted, one_line
from datastalker.trial import match
from datastalker.trial.match import Clock
from datastalker.yamlfile import is_text

Line = tuple[str, str]
"""(style, text): wanted, got, or plain."""

_MOST = 10  # messages that a report shows
_WIDEST = 160


def messages(
    wanted: Mapping[str, Any], got: Sequence[Any], where: str, clock: Clock
) -> tuple[str, list[Line]] | None:
    """A title and lines, where messages are not what was expected."""
    listed = wanted["messages"]
    if listed is None:
        if match.holds(wanted["count"], len(got), clock):
            return None
        title = f"{count(len(got))} at {where}, expected: {value(wanted['count'], clock)}"
        return title, [("got", f"+ {show(message, clock)}") for message in got[:_MOST]]
    exact = wanted["match"] == "exact"
    any_order = wanted["order"] == "any"
    found = match.compare(listed, got, clock, exact=exact, any_order=any_order)
    unexpected = [] if wanted["others"] else found.unexpected
    wrong_count = wanted["count"] is not None and not match.holds(wanted["count"], len(got), clock)
    if not found.missing and not unexpected and not wrong_count:
        return None
    lines: list[Line] = []
    spare = found.unexpected
    for w, g in found.pairs:
        if w is not None and g is None:
            lines.append(("wanted", f"- expected  {show(listed[w], clock)}"))
            near = match.closest(listed[w], [got[i] for i in spare], clock, exact=exact)
            if near is not None:
                lines += _closest(listed[w], got[spare[near]], clock, exact)
                spare = [index for index in spare if index != spare[near]]
    rest = [index for index in unexpected if index in spare]
    for index in rest[:_MOST]:
        lines.append(("got", f"+ came      {show(got[index], clock)}"))
    if len(rest) > _MOST:
        lines.append(("plain", f"  and {len(rest) - _MOST} more"))
    title = f"expected {count(len(listed))} at {where}, {len(got) or 'none'} came"
    if len(listed) == len(got):
        title = f"not what was expected at {where}"
    if not got:
        title = f"expected {count(len(listed))} at {where}, nothing came"
    return title, lines


def numbers(
    prefix: str, wanted: Mapping[str, Any], there: Mapping[str, Any], clock: Clock
) -> list[Line]:
    """Lines for the counts that are not what was expected."""
    lines: list[Line] = []
    for name, expected in wanted.items():
        count = there.get(name, 0)
        if not match.holds(expected, count, clock):
            lines.append(("wanted", f"- {prefix}{one_line(name)}: {value(expected, clock)}"))
            near = suggest(name, there) if name not in there else ""
            lines.append(("got", f"+ {prefix}{one_line(name)}: {value(count, clock)}{near}"))
    return lines


def count(number: int) -> str:
    """So many messages, in words."""
    return counted(number, "messages") if number else "nothing"


def _closest(wanted: Mapping[str, Any], got: Any, clock: Clock, exact: bool) -> list[Line]:
    """The message that is most like it, and the keys in which it differs."""
    wrong = match.differences(wanted, got, clock, exact=exact)
    if not wrong:
        return [("plain", "  it came, but not in that order (order: any, if that is right)")]
    lines: list[Line] = [("plain", f"  closest   {show(got, clock, wanted)}")]
    for key in wrong:
        if key in wanted:
            lines.append(("wanted", f"    - {one_line(key)}: {value(wanted[key], clock, key)}"))
        shown = value(got.get(key), clock, key) if got.get(key) is not None else "absent"
        lines.append(("got", f"    + {one_line(key)}: {shown}"))
    return lines


_FIRST = ("type", "kind", "event", "timestamp")


def show(message: Mapping[str, Any], clock: Clock, first: Iterable[str] = ()) -> str:
    """A message in one line, cut where it is long; what tells most comes first, then keys `first`."""
    keys = [key for key in dict.fromkeys([*_FIRST, *first]) if key in message]
    keys += [key for key in message if key not in keys]
    shown = [f"{one_line(str(key))}: {value(message[key], clock, key)}" for key in keys]
    text = "{" + ", ".join(shown) + "}"
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def value(of: Any, clock: Clock, key: str = "") -> str:
    """A value as YAML would have it; times as `start+5s`."""
    if of is None:
        return "null"
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, int) and key in TIMES:
        return since(of, clock.start)
    if isinstance(of, Mapping):
        inner = key if is_matcher(of) else ""
        shown = [f"{one_line(str(k))}: {value(v, clock, inner)}" for k, v in of.items()]
        return "{" + ", ".join(shown) + "}"
    if isinstance(of, (list, tuple)):
        return "[" + ", ".join(value(item, clock) for item in of) + "]"
    if isinstance(of, str):
        text = one_line(of)
        plain = is_text(text) and text == text.strip() and not set(text) & set(",{}[]\"'#")
        return text if plain else '"' + text.replace('"', '\\"') + '"'
    return one_line(str(of))
