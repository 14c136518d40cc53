"""The watchdog: a thread of its own, so that it ends the process when its event loop stands still."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from processors.status import Status

log = logging.getLogger("datastalker.worker")

GRACE_SECONDS = 5.0
"""For how long a worker in trouble is unready before it exits: time to see it, or to recover."""


def watch(status: Status, end: Callable[[str], None], session_seconds: float) -> None:
    """Call `end` with the reason once the worker has been in trouble for long enough.

    Or at once, where the process itself stood still for `session_seconds` (SIGSTOP, a machine that
    was paused): by now its partitions are another's.
    """

    def look() -> None:
        since: float | None = None
        looked = time.monotonic()
        while True:
            time.sleep(min(1.0, status.stall_seconds / 5))
            before, looked = looked, time.monotonic()
            if looked - before > session_seconds:
                end(f"the process stood still for {looked - before:.0f} s, longer than its session")
            trouble = status.trouble()
            if not trouble:
                since = None
            elif since is None:
                since = time.monotonic()
                log.error("unready: %s", trouble)
            elif time.monotonic() - since > GRACE_SECONDS:
                end(trouble)

    threading.Thread(target=look, name="watchdog", daemon=True).start()


def die(reason: str, code: int = 1) -> None:
    """End the process at once: nothing that is in hand is acked, so it is done again elsewhere."""
    log.critical("the worker ends: %s", reason)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
