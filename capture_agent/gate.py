"""Looks whether the broker is there and its topics are as needed, while frames are being captured."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from datastalker.errors import BrokerError

log = logging.getLogger("datastalker.agent")

_AGAIN_SECONDS = 2.0
_WRONG_SECONDS = 30.0


class Gate:
    """Tries `check` in a thread of its own until it raises no BrokerError; then it is open."""

    def __init__(self, check: Callable[[], None], trouble: BrokerError) -> None:
        """`trouble`: what it raised the first time."""
        self.trouble: BrokerError | None = trouble
        self._check = check
        self._over = threading.Event()
        threading.Thread(target=self._try, name="gate", daemon=True).start()

    def closed(self) -> BrokerError | None:
        """Why it is not open yet; None: it is."""
        return self.trouble

    def end(self) -> None:
        """Try no more."""
        self._over.set()

    def _try(self) -> None:
        said = ""
        while True:
            known = self.trouble
            wrong = known is not None and not known.retriable
            if self._over.wait(_WRONG_SECONDS if wrong else _AGAIN_SECONDS):
                return
            try:
                self._check()
            except BrokerError as error:
                self.trouble = error
                if not error.retriable and str(error) != said:
                    said = str(error)
                    log.error("batches stay on disk until this is mended: %s", error)
            except Exception as error:  # this thread alone opens the gate: it must not end before
                self.trouble = BrokerError(f"{type(error).__name__}: {error}", retriable=False)
                if str(error) != said:
                    said = str(error)
                    log.exception("batches stay on disk: the broker can't be looked at")
            else:
                self.trouble = None
                log.info("the broker is there, and its topics are as needed")
                return
