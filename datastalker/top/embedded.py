"""A pipeline that runs in this process, without what it would store or print."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from datastalker import config as configuration
from datastalker.errors import ConfigError, Problem
from datastalker.message import Message
from datastalker.pipeline import Entry, Pipeline, Stage
from datastalker.stage import Sink
from datastalker.top.feed import Update
from datastalker.top.stages import Totals

_READ_SECONDS = 0.5


class EmbeddedFeed:
    """The source and the stages of a configuration.

    Frames are shown as the source gives them, so each sensor's copies are there; behind a stage
    that hides something (`pseudonymise`), as it gives them. Events are those that come out.
    """

    def __init__(self, config: configuration.Config, title: str) -> None:
        """Raises ConfigError if it has mistakes or no source."""
        steps = [
            step
            for step in config.steps
            if step.name != "print" and not (step.cls and issubclass(step.cls, Sink))
        ]
        self._pipeline = configuration.build(replace(config, steps=steps))
        source = self._pipeline.source
        if source is None:
            text = "there is no source: name one with -i INTERFACE or --read FILE"
            raise ConfigError([Problem(config.file, 0, 0, text)])
        self.title, self._source, self._sensor = title, source, config.sensor
        self._take: Callable[[Update], None] = lambda update: None
        self._read = 0.0
        entries = self._pipeline.entries
        self._stages = list(entries)
        behind = [i for i, e in enumerate(entries) if getattr(e.component, "hides", False)]
        entries.insert(behind[-1] + 1 if behind else 0, Entry(_Tap(self._frames)))
        entries.append(Entry(_Tap(self._events)))

    def open(self) -> None:
        self._source.open()

    def run(self, take: Callable[[Update], None]) -> None:
        self._take = take
        try:
            self._pipeline.run(self._after_batch)
        finally:  # the source is closed: it has nothing to say any more
            take(Update(now=self._now(), totals=totals(self._pipeline, self._stages)))

    def stop(self, reason: str) -> None:
        self._pipeline.stop(reason)

    def _frames(self, messages: list[Message]) -> None:
        frames = [message for message in messages if message.get("type", "frame") == "frame"]
        self._take(Update(frames, self._now()))

    def _events(self, messages: list[Message]) -> None:
        events = [message for message in messages if message.get("type", "frame") != "frame"]
        if events:
            self._take(Update(events, self._now()))

    def _now(self) -> int | None:
        return time.time_ns() // 1000 if self._source.live else None

    def _after_batch(self) -> None:
        if time.monotonic() - self._read >= _READ_SECONDS:
            self._say()

    def _say(self) -> None:
        self._read = time.monotonic()
        self._take(Update(self._status(), self._now(), totals(self._pipeline, self._stages)))

    def _status(self) -> list[Message]:
        """What an agent would say of itself: the drops, and what the source has to say. Files may
        be of several sensors: their drops stand with the stages alone."""
        if not self._source.live:
            return []
        status = Message(type="sensor", key=self._sensor, timestamp=self._pipeline.now)
        prefix = f"{self._source.name}/dropped/"
        for counter, count in self._pipeline.stats.get_stats().items():
            if counter.startswith(prefix):
                status[f"dropped_{counter.removeprefix(prefix)}"] = count
        status.update(self._source.status())
        return [status]


def totals(pipeline: Pipeline, entries: list[Entry]) -> list[Totals]:
    """What a pipeline has counted of its source and of these stages."""
    ours = {id(entry.stats): entry for entry in entries}
    counters = pipeline.stats.get_stats()
    found = []
    for stats in pipeline.all_stats():
        entry = ours.get(id(stats))
        if entry is None and stats is not pipeline.source_stats:
            continue
        own = {
            name.partition("/")[2]: count
            for name, count in counters.items()
            if name.partition("/")[0] == stats.name
        }
        state = entry.component.state if entry is not None else ()
        found.append(
            Totals(
                stats.name,
                stats.received,
                stats.sent,
                stats.dropped,
                stats.errors,
                stats.seconds,
                len(state) or None,
                getattr(state, "evicted", 0),
                counters=own,
            )
        )
    return found


class _Tap(Stage):
    """Shows what passes to somebody, and gives it on."""

    name = "top"

    def __init__(self, show: Callable[[list[Message]], None]) -> None:
        self.show = show

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        self.show(messages)
        return messages
