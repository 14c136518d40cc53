"""Which offsets of each partition a range means, given by time or by offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datastalker.broker_faults import Faults
from datastalker.errors import BrokerError
from datastalker.position import BEGINNING, END, Position
from datastalker.record import Place

if TYPE_CHECKING:
    from confluent_kafka import Consumer

SECONDS = 10.0
"""How long a broker may take for an answer."""


@dataclass
class Span:
    """What of a partition is to be read: from `begin` up to `end`, which is not in it (None: on and
    on). `next`: the offset that comes next; what lies before it was read."""

    begin: int
    end: int | None
    next: int

    @property
    def done(self) -> bool:
        return self.end is not None and self.next >= self.end


class Finder:
    """Asks the broker what positions mean in partitions.

    `there`: the offsets that each had then: from, up to. `notes`: what was asked for and is not
    there, in sentences.
    """

    def __init__(self, consumer: Consumer, faults: Faults) -> None:
        self.there: dict[Place, tuple[int, int]] = {}
        self.notes: list[str] = []
        self._consumer, self._faults = consumer, faults

    def spans(
        self, places: list[Place], begin: Position | None, end: Position | None, *, follow: bool
    ) -> dict[Place, Span]:
        """Of each partition the part between two positions. Raises BrokerError."""
        lows, highs = {}, {}
        for place in places:
            lows[place], highs[place] = self.there[place] = self.watermarks(place)
        default = Position(END if follow else BEGINNING)
        asked = (begin and begin.offsets) or (end and end.offsets)
        if asked:
            self.notes.append(_by_partition(sorted(asked), begin, end))
        begins = self._offsets(begin or default, lows, highs, "--from")
        ends = self._offsets(end or Position(END), lows, highs, "--to")
        spans = {}
        for place in places:
            first, last = begins[place], max(begins[place], ends[place])
            if asked and place[1] not in asked:
                last = first = highs[place]  # of the other partitions nothing was asked for
            spans[place] = Span(first, None if follow else last, first)
        return spans

    def watermarks(self, place: Place) -> tuple[int, int]:
        """The first offset that is there, and the one that comes next. Raises BrokerError."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=SECONDS)
        except KafkaException as raised:
            raise self.refused(raised, place[0]) from None
        if found is None:
            raise self._faults.explain(SECONDS)
        return found

    def refused(self, raised: Any, topic: str) -> BrokerError:
        """The error to raise for a KafkaException."""
        if self._faults.heard:
            return self._faults.explain(SECONDS)
        return self._faults.refused(raised.args[0], topic, "looking at it")

    def _offsets(
        self, position: Position, lows: dict[Place, int], highs: dict[Place, int], option: str
    ) -> dict[Place, int]:
        """The offset that a position means in each partition, within what is there."""
        if position.time is not None:
            return self._by_time(position.time, highs)
        if position.text == END:
            return highs
        wrong = [n for n in position.offsets if n not in {number for _, number in lows}]
        if wrong:
            topics = ", ".join(dict.fromkeys(topic for topic, _ in lows))
            text = f"'{position.text}': there is no partition {wrong[0]} in {topics}"
            raise BrokerError(text, retriable=False)
        found = {}
        missing: dict[str, list[str]] = {}
        for place, low in lows.items():
            wanted = position.offsets.get(place[1], position.offset)
            if wanted is None:
                wanted = highs[place] if position.offsets and option == "--to" else low
            elif not low <= wanted <= highs[place] and (position.offsets or option == "--from"):
                how = "begins behind" if wanted < low else "ends before"
                said = f"{place[0]} {how} {option} {position.text}"
                missing.setdefault(said, []).append(f"[{place[1]}] has {low:,} to {highs[place]:,}")
            found[place] = min(max(wanted, low), highs[place])
        self.notes += (f"{said}: {', '.join(has)}" for said, has in missing.items())
        return found

    def _by_time(self, time: int, highs: dict[Place, int]) -> dict[Place, int]:
        """The first offset that was published then or later, by partition."""
        from confluent_kafka import KafkaException, TopicPartition

        # Rounded up: of a millisecond that had begun already only what comes after
        asked = [TopicPartition(*place, max(0, -(-time // 1000))) for place in highs]
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=SECONDS)
        except KafkaException as raised:
            raise self.refused(raised, asked[0].topic) from None
        found = {}
        for part in answers:
            place = part.topic, part.partition
            if part.error is not None:
                raise self._faults.refused(part.error, part.topic, "looking for a time")
            found[place] = highs[place] if part.offset < 0 else min(part.offset, highs[place])
        return found


def _by_partition(numbers: list[int], begin: Position | None, end: Position | None) -> str:
    """Which partitions are read, where they were named: `3:10` may have been meant as a time."""
    parts = []
    for number in numbers:
        text = f"partition {number}"
        for word, position in (("from", begin), ("to", end)):
            if position and number in position.offsets:
                text += f" {word} offset {position.offsets[number]:,}"
        parts.append(text)
    return f"{', '.join(parts)}, of the others nothing"
