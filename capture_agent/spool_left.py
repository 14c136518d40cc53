"""What an earlier run left in a spool, and a note for the next one of what is in it.

`totals` says what each segment holds, so a start reads those alone that are not in there: after a
crash, the last. It is written after the fact, as the cursor is; it is believed only whole, and of a
segment only while that has the size and the salt that it had.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from capture_agent.spool_files import Position, Segment, open_segment, paths, read_cursor
from capture_agent.spool_format import START, SegmentError
from capture_agent.spool_totals import Totals

log = logging.getLogger("datastalker.agent")

_NOTE = "totals"


@dataclass(slots=True)
class Left:
    """`cursor`: up to where all is delivered. `held`: what is behind it. `highest`: the highest
    number that a segment had."""

    cursor: Position
    segments: list[Segment] = field(default_factory=list)
    held: Totals = field(default_factory=Totals)
    highest: int = 0


def find(directory: Path) -> Left:
    """What is there. Segments that are delivered are removed, those that can't be read set aside."""
    cursor = read_cursor(directory)
    left, known = Left(cursor, highest=cursor.segment), _read_note(directory)
    for path in paths(directory):
        number = int(path.stem)
        left.highest = max(left.highest, number)
        try:
            segment = open_segment(path)
        except SegmentError as error:
            _set_aside(path, error)
            continue
        if number < cursor.segment:
            with suppress(OSError):
                path.unlink()
            continue
        left.segments.append(segment)
        segment.totals = known.get((number, segment.size, segment.salt))
        if number == cursor.segment and cursor.offset > START:
            left.held.update(_count(segment, cursor.offset))
            continue
        if segment.totals is None:
            segment.totals = _count(segment, START)
        left.held.update(segment.totals)
    return left


def note(directory: Path, segments: Iterable[Segment]) -> None:
    """Write down what these hold, if it is known. A disk that is full costs the next start time."""
    rows = []
    for segment in segments:
        if (totals := segment.totals) is not None:
            places = [[*place, count] for place, count in totals.places.items()]
            held = totals.kinds, places, totals.frames
            rows.append([segment.number, segment.size, segment.salt, *held])
    text = json.dumps(rows)
    new = directory / f"{_NOTE}.new"
    with suppress(OSError):
        new.write_text(f"{zlib.crc32(text.encode())}\n{text}")
        new.replace(directory / _NOTE)


def _read_note(directory: Path) -> dict[tuple[int, int, int], Totals]:
    """By number, size and salt of the segment."""
    known = {}
    try:
        check, _, text = (directory / _NOTE).read_text().partition("\n")
        if int(check) == zlib.crc32(text.encode()):
            for number, size, salt, kinds, places, frames in json.loads(text):
                by_place = {(topic, partition): count for topic, partition, count in places}
                known[number, size, salt] = Totals(
                    Counter(kinds), Counter(by_place), Counter(frames)
                )
    except (OSError, ValueError, TypeError):
        return {}
    return known


def _count(segment: Segment, begin: int) -> Totals:
    """Read it from there on; what is damaged is said."""
    totals, at, damaged = Totals(), begin, 0
    for found in segment.records(begin):
        damaged += found.at - at
        at = found.next
        totals.add(found.parcel)
    damaged += segment.size - at
    if damaged > 0:
        text = "%s: %d bytes are no whole record (a crash, or a damaged disk); left out"
        log.warning(text, segment.path, damaged)
    return totals


def _set_aside(path: Path, error: SegmentError) -> None:
    if error.foreign:
        log.warning("%s: %s; left as it is", path, error)
        return
    with suppress(OSError):
        if path.stat().st_size <= START:
            path.unlink()  # a crash when it was just made
            return
        log.error("%s: %s; its records are lost; kept as 'damaged'", path, error)
        path.replace(path.with_name("damaged"))
