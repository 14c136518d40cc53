"""Dead letters: messages that nobody could handle, with their bytes unchanged and the reason.

A dead letter is the Kafka message as it was (key, value, headers), with what follows added to its
headers. Sinks and workers write them to the same topic; `stalk dlq` reads it, and sends them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datastalker.delivery import NUMBER, ORIGIN

PREFIX = "dead-letter-"
"""What the names of the added headers begin with."""

RETRY = "retry"
"""Name of the header by which a person sends a message again that was seen before. It has the ids
of the messages in it that were refused; none: all."""

MOST_BYTES = 8 << 20
"""Of a dead letter: its topic takes more than others, for the headers, and what is much too large."""

_LONGEST = 8_000  # bytes of a header: a traceback may be longer than what it is about
_LONGEST_IDS = 200_000


def headers(
    given: Iterable[tuple[str, Any]] | None,
    *,
    topic: str,
    partition: int,
    offset: int,
    who: str,
    reason: str,
    time: int,
    traceback: str = "",
    ids: Iterable[str] = (),
) -> list[tuple[str, bytes]]:
    """The headers of a dead letter: those it was `given`, then ours.

    `who`: the stage or sink that gave up, `time`: when, microseconds since 1970. `ids`: of the
    messages in it that were refused; none: all.
    """
    ours: dict[str, str] = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "who": who,
        "reason": reason,
        "time": str(time),
    }
    if traceback:
        ours["traceback"] = traceback
    kept = [
        (name, value if isinstance(value, bytes) else str(value or "").encode())
        for name, value in given or ()
        if not name.startswith(PREFIX)
    ]
    kept += [(PREFIX + k, v.encode("utf-8", "replace")[-_LONGEST:]) for k, v in ours.items()]
    named = " ".join(ids).encode("utf-8", "replace")
    if 0 < len(named) <= _LONGEST_IDS:  # half of them would say that the others passed
        kept.append((PREFIX + "ids", named))
    return kept


def headers_to_retry(given: Iterable[tuple[str, Any]] | None) -> list[tuple[str, Any]]:
    """The headers with which a dead letter is sent again: without the mark of its first way, or it
    would be taken for what was seen already."""
    kept = [
        (name, value)
        for name, value in given or ()
        if not name.startswith(PREFIX) and name not in (ORIGIN, NUMBER, RETRY)
    ]
    return [*kept, (RETRY, read(given).get("ids", "").encode())]


def to_retry(given: Any, ids: Iterable[str]) -> frozenset[str] | None:
    """Which of a message's `ids` are to be handled again; None: no person has sent it again.

    All of them, unless it is known that others passed: what a stage made was lost, where it made it.
    """
    again = dict(given or ()).get(RETRY)
    if again is None:
        return None
    there, named = frozenset(ids), frozenset(bytes(again).decode("utf-8", "replace").split())
    return named if named and named <= there else there


def read(given: Iterable[tuple[str, Any]] | None) -> dict[str, str]:
    """What the headers of a dead letter say: topic, partition, offset, who, reason, time, ..."""
    return {
        name.removeprefix(PREFIX): bytes(value or b"").decode("utf-8", "replace")
        for name, value in given or ()
        if name.startswith(PREFIX)
    }
