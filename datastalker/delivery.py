"""What of a partition was seen already: repeats are dropped, gaps are reported.

An agent numbers the batches of each partition within its session, and may send one twice (a
producer's retry, a spool), late and out of order. What a worker sends on carries its origin: the
partition and offset of what it was made from, and which of what was made from it (`n`); from one
origin partition these only grow, so whatever is not greater than the last was made again after a
crash.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

ORIGIN = "origin"
"""Name of the header that carries an Origin."""
NUMBER = "n"
"""Name of the header that carries its `n`."""

COPY = "copy-of"
"""Name of the header by which a message that was put again into the topic it came from says where
it lies there: who reads that partition in order has had it."""

_SESSIONS = 256
_INTERVALS = 64


class Origin(NamedTuple):
    """Where a message was made from. Several may be, in one output partition: `n` counts them."""

    topic: str
    partition: int
    offset: int
    n: int = 0

    def to_header(self) -> tuple[str, bytes]:
        """The header without `n`: for who makes one message at most from another."""
        return ORIGIN, f"{self.topic}/{self.partition}/{self.offset}".encode()

    def to_headers(self) -> list[tuple[str, bytes]]:
        return [self.to_header(), (NUMBER, b"%d" % self.n)]

    @classmethod
    def from_headers(cls, headers: Any) -> Origin | None:
        """The origin among Kafka headers (pairs, or a mapping), or None. Raises ValueError."""
        found = dict(headers or ())
        if found.get(ORIGIN) is None:
            return None
        topic, partition, offset = bytes(found[ORIGIN]).decode().rsplit("/", 2)
        return cls(topic, int(partition), int(offset), int(found.get(NUMBER) or 0))


def copied_from(headers: Any) -> Origin | None:
    """Where a message lay first that was put again into its topic; None: it is no copy, or what
    its header says is no place."""
    found = dict(headers or ()).get(COPY)
    try:
        topic, partition, offset = bytes(found or b"").decode().rsplit("/", 2)
        return Origin(topic, int(partition), int(offset))
    except ValueError:
        return None


def is_copy(headers: Any, here: Origin) -> bool:
    """Whether a message repeats one that lies before it in its own partition."""
    original = copied_from(headers)
    return original is not None and original[:2] == here[:2] and original.offset < here.offset


class Seen:
    """What was seen of one partition. Bounded: 256 sessions, 64 gaps in each.

    `repeated` counts what was dropped, `missing` the batches of known sessions that never came.
    """

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        """`data`: what `to_data` gave, to go on from there."""
        data = data or {}
        self.repeated: int = data.get("repeated", 0)
        self._closed: int = data.get("closed", 0)  # missing in gaps that are no longer kept
        self._origins: dict[str, tuple[int, int]] = {
            source: (offset, n) for source, (offset, n) in data.get("origins", {}).items()
        }
        self._sessions: dict[str, list[list[int]]] = {
            session: [list(pair) for pair in pairs]
            for session, pairs in data.get("sessions", {}).items()
        }

    def to_data(self) -> dict[str, Any]:
        """Plain data, from which a Seen can go on."""
        return {
            "repeated": self.repeated,
            "closed": self._closed,
            "origins": self._origins,
            "sessions": self._sessions,
        }

    @property
    def missing(self) -> int:
        """Batches that were skipped: lost on the way, or still to come."""
        gaps = (
            later[0] - earlier[1] - 1
            for pairs in list(self._sessions.values())  # a page asks in a thread of its own
            for earlier, later in pairwise(pairs)
        )
        return self._closed + sum(gaps)

    def origin(self, origin: Origin) -> bool:
        """Note the origin of a message. False: it, or one after it, was seen already."""
        source = f"{origin.topic}/{origin.partition}"
        if (origin.offset, origin.n) <= self._origins.get(source, (-1, 0)):
            self.repeated += 1
            return False
        self._origins[source] = origin.offset, origin.n
        return True

    def batch(self, session: str, sequence: int) -> bool:
        """Note a batch of an agent's session. False: it was seen already."""
        pairs = self._sessions.pop(session, [])
        self._sessions[session] = pairs  # the session that was heard last stands last
        if len(self._sessions) > _SESSIONS:
            oldest = next(iter(self._sessions))
            before = self.missing
            del self._sessions[oldest]
            self._closed += before - self.missing
        if not _add(pairs, sequence):
            self.repeated += 1
            return False
        if len(pairs) > _INTERVALS:
            self._closed += pairs[1][0] - pairs[0][1] - 1
            pairs[0][1] = pairs.pop(1)[1]
        return True


def _add(pairs: list[list[int]], number: int) -> bool:
    """Put a number into sorted intervals; False if it is in one."""
    index = len(pairs)
    while index and pairs[index - 1][0] > number:
        index -= 1
    if index and number <= pairs[index - 1][1]:
        return False
    joins_left = bool(index) and pairs[index - 1][1] + 1 == number
    joins_right = index < len(pairs) and pairs[index][0] - 1 == number
    if joins_left and joins_right:
        pairs[index - 1][1] = pairs.pop(index)[1]
    elif joins_left:
        pairs[index - 1][1] = number
    elif joins_right:
        pairs[index][0] = number
    else:
        pairs.insert(index, [number, number])
    return True
