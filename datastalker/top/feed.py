"""Between where messages come from and who looks: a thread that fills the model, and its lock."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from datastalker.errors import DataStalkerError
from datastalker.message import Message
from datastalker.top.air import Air, Event
from datastalker.top.stages import Stages, Totals

_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Update:
    """What is new. `now`: microseconds, where the source knows the time better than messages."""

    messages: Sequence[Message] = ()
    now: int | None = None
    totals: Sequence[Totals] | None = None


class Feed(Protocol):
    """Where a live view gets what it shows."""

    title: str

    def open(self) -> None:
        """Take what needs rights or may be refused; before any thread is started."""

    def run(self, take: Callable[[Update], None]) -> None:
        """Call `take` with what is new until the end or `stop`. Raises DataStalkerError."""

    def stop(self, reason: str) -> None:
        """Have `run` end soon; from any thread."""


class Live:
    """The model as it fills. `frozen` is a copy of it as it was, while somebody wants to look."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.error: DataStalkerError | None = None
        self.ended = False
        self._air, self._stages = Air(), Stages()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._frozen: tuple[Air, Stages] | None = None

    def start(self) -> None:
        """Raises DataStalkerError where the feed can't begin."""
        self.feed.open()
        self._thread.start()

    def stop(self) -> None:
        """End the feed, and wait a little until it has closed what it had."""
        self.feed.stop("nobody looks any more")
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)

    def wait(self, seconds: float | None) -> None:
        """Until it has ended, or for so long."""
        end = None if seconds is None else monotonic() + seconds
        while not self.ended and (end is None or monotonic() < end):
            self._thread.join(0.1)

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def freeze(self, frozen: bool) -> None:
        """Show what is there now, from now on; data goes on behind. False: what is new again."""
        with self._lock:
            kept = (self._air, self._stages)
            self._frozen = pickle.loads(pickle.dumps(kept)) if frozen else None

    @contextmanager
    def look(self) -> Iterator[tuple[Air, Stages]]:
        """The model, which nobody changes meanwhile: be quick."""
        with self._lock:
            yield self._frozen or (self._air, self._stages)

    def say(self, what: str, who: str, text: str) -> None:
        """Among the events: a line of the log."""
        with self._lock:
            self._air.events.append(Event(self._air.now, what, who, text))

    def _run(self) -> None:
        try:
            self.feed.run(self._take)
        except DataStalkerError as error:
            self.error = error
        except Exception as error:
            logging.getLogger("datastalker.top").exception("what feeds the view failed")
            self.error = DataStalkerError(f"{self.feed.title}: {type(error).__name__}: {error}")
        self.ended = True

    def _take(self, update: Update) -> None:
        with self._lock:
            self._air.take(update.messages, update.now)
            if update.totals is not None:
                self._stages.take(update.totals, monotonic())


class LogToEvents(logging.Handler):
    """Shows the log among the events: on the screen there is no other place for it."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def emit(self, record: logging.LogRecord) -> None:
        who = record.name.removeprefix("datastalker.")
        self._live.say(record.levelname.lower(), who, record.getMessage())
