"""Where in a topic something begins or ends, as a person writes it: a time, or an offset.

-2h  -30m  -7d             so long ago (s, m, h, d, w)
yesterday  today  now      days begin at 00:00 UTC; `yesterday 17:30` is a time of that day
2026-03-02T17:00           ISO 8601; UTC unless it says otherwise (+01:00)
1200                       an offset, in every partition
0:1200,3:880               an offset for each of these partitions; of the others nothing is read
                           (03:10 is refused: it may be a time of day as well)
beginning  end             of what the topic has
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

BEGINNING, END = "beginning", "end"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhdw])")
_DAY = re.compile(r"(today|yesterday)(?:[ T](\d{1,2}:\d\d(?::\d\d)?))?")
_OFFSETS = re.compile(r"\d+:\d+(,\d+:\d+)*")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(:[0-5]\d)?")
_FORMS = (
    "a time such as -2h, yesterday, 'yesterday 17:30', 2026-03-02T17:00, or an offset such as "
    "1200 or, by partition, 0:1200,1:880"
)


@dataclass(frozen=True)
class Position:
    """A place in a topic: `time` (microseconds since 1970), `offset` of every partition, `offsets`
    by partition, or, where all are empty, the `text` BEGINNING or END."""

    text: str
    time: int | None = None
    offset: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)


def parse_position(text: str, now: float | None = None) -> Position:
    """Read a position; `now`: seconds since 1970, for times that go by it. Raises ValueError, with
    a sentence that says which forms there are."""
    given = text.strip()
    if given.lower() in (BEGINNING, END):
        return Position(given.lower())
    if given.isascii() and given.isdigit():
        return Position(given, offset=int(given))
    if clock := _TIME_OF_DAY.fullmatch(given):
        raise ValueError(f"'{given}' looks like a time of day: {_either(given, *clock.groups())}")
    if _OFFSETS.fullmatch(given):
        pairs = [pair.split(":") for pair in given.split(",")]
        return Position(given, offsets={int(number): int(offset) for number, offset in pairs})
    try:
        return Position(given, time=_time(given, time.time() if now is None else now))
    except (ValueError, OverflowError):
        raise ValueError(f"'{given}' is neither {_FORMS}") from None


def _either(given: str, hour: str, minute: str, second: str | None) -> str:
    """What to write for a time of day, and what for a partition's offset."""
    times = f"write 'today {given}' or 'yesterday {given}'"
    if second is not None:
        return times
    number, offset = int(hour), int(minute)
    clear = f"{number}:{offset}" if number < 10 else f"{number}:0{minute}"
    return f"{times}, or partition {number} from offset {offset} as {clear}"


def _time(text: str, now: float) -> int:
    """Microseconds since 1970. Raises ValueError."""
    lower = text.lower()
    if lower == "now":
        return round(now * 1e6)
    if ago := _AGO.fullmatch(lower):
        return round((now - float(ago[1]) * _UNITS[ago[2]]) * 1e6)
    if day := _DAY.fullmatch(lower):
        midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0)
        date = midnight.date() - timedelta(days=lower.startswith("yesterday"))
        text = f"{date}T{(day[2] or '00:00').rjust(5, '0')}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def show_time(microseconds: int | None) -> str:
    """A time for people, UTC, to the second; `?` for none, or one that no calendar has."""
    if microseconds is None:
        return "?"
    try:
        return f"{datetime.fromtimestamp(microseconds // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "?"


def is_before(end: Position, begin: Position) -> bool:
    """Whether a range would end before it begins, as far as that can be told without the broker."""
    if begin.text == end.text:
        return False  # `now` and `now` are not read at the same moment
    if begin.time is not None and end.time is not None:
        return end.time < begin.time
    if begin.offset is not None and end.offset is not None:
        return end.offset < begin.offset
    both = begin.offsets.keys() & end.offsets.keys()
    return any(end.offsets[number] < begin.offsets[number] for number in both) or (
        (begin.text, end.text) == (END, BEGINNING)
    )
