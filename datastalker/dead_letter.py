"""Dead letters: messages that nobody could handle, with their bytes unchanged and the reason.

A dead letter is the Kafka message as it was (key, value, headers), with what follows added to its
headers. Sinks and workers write them to the same topic; `stalk dlq` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PREFIX = "dead-letter-"
"""What the names of the added headers begin with."""

_LONGEST = 8_000  # bytes of a header: a traceback may be longer than what it is about


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
    named = " ".join(ids)
    if named:
        ours["ids"] = named
    kept = [
        (name, value if isinstance(value, bytes) else str(value or "").encode())
        for name, value in given or ()
        if not name.startswith(PREFIX)
    ]
    return kept + [(PREFIX + k, v.encode("utf-8", "replace")[-_LONGEST:]) for k, v in ours.items()]


def read(given: Iterable[tuple[str, Any]] | None) -> dict[str, str]:
    """What the headers of a dead letter say: topic, partition, offset, who, reason, time, ..."""
    return {
        name.removeprefix(PREFIX): bytes(value or b"").decode("utf-8", "replace")
        for name, value in given or ()
        if name.startswith(PREFIX)
    }
