"""How a run in one process writes to a store that may be away for a while: again, but not for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic, sleep

from datastalker.errors import OutputError, RetryLater
from datastalker.message import Message
from datastalker.stage import Refused, Sink

log = logging.getLogger("datastalker.sink")

SECONDS = 60.0
"""For so long a store may be away; over Kafka a sink waits without an end."""


def write(
    sink: Sink, messages: list[Message], stopped: Callable[[], bool], seconds: float = SECONDS
) -> list[Refused]:
    """Write messages, later where the sink asks for it; gives what was refused.

    Raises OutputError where the store stays away for `seconds`, or the run is to stop meanwhile.
    """
    refused: list[Refused] = []
    since: float | None = None
    while messages:
        try:
            return refused + list(sink.write(messages) or ())
        except RetryLater as later:
            refused += later.refused
            now = monotonic()
            if since is None or (later.rest is not None and len(later.rest) < len(messages)):
                since = now
                log.warning("%s", later)
            messages = messages if later.rest is None else later.rest
            if now + later.seconds - since > seconds or stopped():
                text = f"{later}; given up after {now - since:.0f} s, {len(messages)} not written"
                raise OutputError(text) from later
            until = now + later.seconds
            while (left := until - monotonic()) > 0 and not stopped():
                sleep(min(left, 0.1))
    return refused
