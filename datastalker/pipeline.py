"""The pipeline: runs messages through stages, and does for every stage what no stage does itself.

Counting, timing, conditions, catching, time and the orderly end are here. One object serves one
partition: embedded it is fed by its own source (`run`), elsewhere by whoever holds the messages
(`feed`).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from time import perf_counter

from datastalker.errors import DataStalkerError, StopPipeline
from datastalker.message import Message
from datastalker.stage import AnyComponent, Sink, SourceStage, Stage, register
from datastalker.stats import StageStats, Stats
from datastalker.text import printable

__all__ = ["Message", "Pipeline", "Sink", "SourceStage", "Stage", "StopPipeline"]

log = logging.getLogger("datastalker.pipeline")

_SHOWN = 1000  # characters of a message that an error report shows


class Entry:
    """One place of the pipeline: the component, its condition, its counts."""

    def __init__(
        self,
        component: Stage | Sink,
        name: str | None = None,
        when: Callable[[Message], bool] | None = None,
    ) -> None:
        self.component = component
        self.when = when
        self.stats = StageStats(name or component.name)
        self.reported: set[tuple[object, ...]] = set()
        kind = type(component)
        self.bulk = isinstance(component, Sink) or (
            getattr(kind, "handle_bulk", None) is not Stage.handle_bulk
        )


class Pipeline:
    """Stages in a row, with a source in front where this process has one."""

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        source: SourceStage | None = None,
        stats: Stats | None = None,
    ) -> None:
        self.entries = list(entries)
        self.source = source
        self.stats = stats or Stats()
        self.source_stats = StageStats(source.name if source else "")
        self.now = 0
        self.stop_reason: str | None = None

    @staticmethod
    def register_stage(name: str) -> Callable[[AnyComponent], AnyComponent]:
        """Decorator: the class is what `name` means in a configuration's pipeline.

        Raises ValueError for a name that another class has, TypeError for what is no component.
        """
        return register(name)

    def stop(self, reason: str) -> None:
        """Ask for an orderly end: the batch in hand is finished first. Safe in a signal handler."""
        self.stop_reason = self.stop_reason or reason

    def run(self, on_batch: Callable[[], None] | None = None) -> None:
        """Read the source to its end, or until something asks to stop; then flush and close.

        `on_batch` is called after each batch. Raises DataStalkerError where the source can't be
        read or a sink can't write; what was passed on before is flushed and closed all the same.
        """
        assert self.source is not None, "this pipeline has no source"
        batches = self.source.run()
        started = perf_counter()
        try:
            for batch in batches:
                self.source_stats.seconds += perf_counter() - started
                self.source_stats.sent += len(batch)
                if batch:
                    self.feed(batch)
                    self.source.commit()
                if on_batch is not None:
                    on_batch()
                if self.stop_reason is not None:
                    break
                started = perf_counter()
        except StopPipeline as stop:
            self.stop(stop.reason)
        finally:
            if hasattr(batches, "close"):
                batches.close()
            self.finish()

    def feed(self, batch: list[Message]) -> list[Message]:
        """Run a batch through all stages, and let time move to the greatest timestamp in it.

        Gives what comes out at the end. An exception in a stage loses one message, counted and
        shown once; a sink's goes to the caller.
        """
        try:
            self.now = max(self.now, *map(itemgetter("timestamp"), batch), 0)
        except (TypeError, KeyError):  # a source of one's own may have messages without a time
            self.now = max(self.now, *(_time(message) for message in batch), 0)
        return self._through(0, batch, ticking=True)

    def finish(self) -> list[Message]:
        """The input has ended: flush the stages in order, close the source and the sinks."""
        out: list[Message] = []
        first_error: BaseException | None = None
        for index, entry in enumerate(self.entries):
            try:
                if isinstance(entry.component, Stage):
                    held = self._guarded(entry, entry.component.flush)
                    entry.stats.sent += len(held)
                    out = self._through(index + 1, held)
                else:
                    entry.component.close()
            except Exception as error:
                first_error = first_error or error
        if self.source is not None:
            self.source.close()
        if first_error is not None:
            raise first_error
        return out

    def all_stats(self) -> list[StageStats]:
        """What was counted of the source and each stage, in their order.

        What a stage that holds messages kept from passing on is what never came out of it.
        """
        for entry in self.entries:
            stats = entry.stats
            if isinstance(entry.component, Stage) and entry.component.holds:
                stats.dropped = max(0, stats.received - stats.errors - stats.sent)
        first = [self.source_stats] if self.source else []
        return first + [entry.stats for entry in self.entries]

    def evicted(self) -> dict[str, int]:
        """State entries that had to make room before their time, by stage."""
        found = {entry.stats.name: entry.component.state.evicted for entry in self.entries}
        return {name: count for name, count in found.items() if count}

    def _through(
        self, start: int, messages: list[Message], *, ticking: bool = False
    ) -> list[Message]:
        for entry in self.entries[start:]:
            if not messages and not ticking:
                return messages
            stats, began = entry.stats, perf_counter()
            passed = stats.skipped
            received = len(messages)
            if messages:
                messages = self._apply(entry, messages)
            if ticking and isinstance(entry.component, Stage):
                component = entry.component
                messages = messages + self._guarded(entry, lambda c=component: c.tick(self.now))  # type: ignore[misc]
            passed = stats.skipped - passed
            stats.received += received - passed
            stats.sent += len(messages) - passed
            stats.seconds += perf_counter() - began
        return messages

    def _apply(self, entry: Entry, messages: list[Message]) -> list[Message]:
        if not entry.bulk:
            return self._each(entry, messages)
        if entry.when is None:
            return self._bulk(entry, messages)
        out: list[Message] = []
        for meets, run in groupby(messages, entry.when):
            if meets:
                out += self._bulk(entry, list(run))
            else:
                passing = list(run)
                entry.stats.skipped += len(passing)
                out += passing
        return out

    def _bulk(self, entry: Entry, messages: list[Message]) -> list[Message]:
        component = entry.component
        if isinstance(component, Sink):
            component.write(messages)
            return messages
        try:
            out = component.handle_bulk(messages)
        except Exception as error:
            entry.stats.errors += len(messages)
            self._report(entry, error, messages[0] if messages else None)
            return []
        entry.stats.dropped += max(0, len(messages) - len(out))
        return out

    def _each(self, entry: Entry, messages: list[Message]) -> list[Message]:
        """`handle`, message by message: the inner loop of the whole product."""
        assert isinstance(entry.component, Stage)
        handle, when = entry.component.handle, entry.when
        out: list[Message] = []
        append = out.append
        dropped = 0
        for index, message in enumerate(messages):
            if when is not None and not when(message):
                entry.stats.skipped += 1
                append(message)
                continue
            try:
                result = handle(message)
                if result is None:
                    dropped += 1
                elif isinstance(result, Message):
                    append(result)
                else:
                    _check(result)
                    if not result:
                        dropped += 1
                    out += result
            except StopPipeline as stop:
                self.stop(stop.reason)
                # What had come in behind it was never looked at: neither passed nor dropped.
                entry.stats.received -= len(messages) - index
                break
            except Exception as error:
                entry.stats.errors += 1
                self._report(entry, error, message)
        entry.stats.dropped += dropped
        return out

    def _guarded(self, entry: Entry, call: Callable[[], Iterable[Message] | None]) -> list[Message]:
        try:
            return list(call() or ())
        except StopPipeline as stop:
            self.stop(stop.reason)
        except Exception as error:
            entry.stats.errors += 1
            self._report(entry, error, None)
        return []

    def _report(self, entry: Entry, error: Exception, message: Message | None) -> None:
        """Show an exception once for each place it comes from; the counts tell how often."""
        if isinstance(error, DataStalkerError):
            raise error
        frames = traceback.extract_tb(error.__traceback__)
        place = (type(error), *((f.filename, f.lineno) for f in frames[-1:]))
        if place in entry.reported:
            return
        entry.reported.add(place)
        shown = "" if message is None else f"\nwith {dict(message)!r}"[:_SHOWN]
        text = "".join(traceback.format_exception(error)).rstrip()
        log.error(
            "stage %s failed; shown once, counted in its errors%s\n%s",
            entry.stats.name,
            printable(shown),
            printable(text),
        )


def _time(message: Message) -> int:
    value = message.get("timestamp")
    return value if isinstance(value, int) else 0


def _check(result: object) -> None:
    if isinstance(result, list):
        for item in result:
            if not isinstance(item, Message):
                raise TypeError(f"handle gave a list with a {type(item).__name__}, not a Message")
    else:
        raise TypeError(
            f"handle gave a {type(result).__name__}; give a Message, a list of them, or None"
        )
