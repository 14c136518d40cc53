"""The pipeline: runs messages through stages, and does for every stage what no stage does itself.

Counting, timing, conditions, catching, time and the orderly end are here. One object serves one
partition: embedded it is fed by its own source (`run`), elsewhere by whoever holds the messages
(`feed`).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from itertools import groupby
from operator import itemgetter
from time import perf_counter, thread_time

from datastalker import catalog, patience
from datastalker.clock import WRONG, any_wrong, mark_impossible
from datastalker.errors import DataStalkerError, InputError, OutputError, StopPipeline
from datastalker.message import Message
from datastalker.stage import AnyComponent, Component, Sink, SourceStage, Stage, register
from datastalker.stats import StageStats, Stats, Taps
from datastalker.text import a_or_an, printable

__all__ = ["Message", "Pipeline", "Sink", "SourceStage", "Stage", "StopPipeline"]

log = logging.getLogger("datastalker.pipeline")

_MESSAGES = {Message}
_NO_KEY = vars(Component)["state_key"].__func__
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
        self.ticks = getattr(kind, "tick", Stage.tick) is not Stage.tick
        self.delay: int = getattr(component, "delay", 0)
        by_key = getattr(getattr(kind, "state_key", None), "__func__", _NO_KEY) is not _NO_KEY
        self.by_time = isinstance(component, Stage) and (self.ticks or by_key)
        """It goes by the time of messages: those whose time is wrong pass by."""
        self.taps_in: Taps = ()
        self.taps_out: Taps = ()
        """Who looks at what comes, and at what is passed on."""


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
        self.now = self._before = 0
        self.mark: Callable[[list[Message]], None] = mark_impossible
        """Marks messages of a live source whose time is wrong."""
        self.stop_reason: str | None = None
        self.on_failure: Callable[[str, Exception, list[Message]], None] | None = None
        """Called with a stage's name, what it raised and the messages that were lost by it."""
        for entry in self.entries:
            entry.component.carry_up = partial(self._up, entry)

    @staticmethod
    def register_stage(name: str) -> Callable[[AnyComponent], AnyComponent]:
        """Decorator: the class is what `name` means in a configuration's pipeline.

        Raises ValueError for a name that another class has, TypeError for what is no component.
        """
        if not isinstance(name, str):
            raise TypeError("write @Pipeline.register_stage('name'), with the stage's name")
        if name in ("topic", "when", ""):
            raise ValueError(f"'{name}' can't be a stage's name: a configuration needs it")

        def decorator(cls: AnyComponent) -> AnyComponent:
            if catalog.BUILTIN.get(name, cls.__module__) != cls.__module__:
                raise ValueError(f"'{name}' is a built-in stage; choose another name")
            return register(name)(cls)

        return decorator

    def stop(self, reason: str) -> None:
        """Ask for an orderly end: the batch in hand is finished first. Safe in a signal handler."""
        self.stop_reason = self.stop_reason or reason

    def run(self, on_batch: Callable[[], None] | None = None) -> None:
        """Read the source to its end, or until something asks to stop; then flush and close.

        `on_batch` is called after each batch. Raises DataStalkerError where the source can't be
        read or a sink can't write; what was passed on before is flushed and closed all the same.
        """
        assert self.source is not None, "this pipeline has no source"
        try:
            self.source.open()  # it gives rights away: a sink may start threads, which would keep them
            for entry in self.entries:
                if isinstance(entry.component, Sink):
                    entry.component.open()
            with closing(self._batches(self.source)) as batches:
                for batch in batches:
                    if batch:
                        if self.source.live:
                            self.mark(batch)
                        self.feed(batch, now=self.source.now)
                        self.source.commit()
                    elif self.source.now is not None:
                        self.tick(self.source.now)
                    if on_batch is not None:
                        on_batch()
                    if self.stop_reason is not None:
                        break
        except StopPipeline as stop:
            self.stop(stop.reason)
        finally:
            self.finish()

    def _batches(self, source: SourceStage) -> Generator[list[Message], None, None]:
        """What the source gives, counted and timed; its exceptions shown and named."""
        stats = self.source_stats
        started = thread_time()  # of the processor: a source waits for frames, for its pace
        batches = None
        try:
            batches = source.run()
            for batch in batches:
                _check_batch(batch)
                stats.seconds += thread_time() - started
                stats.sent += len(batch)
                yield batch
                started = thread_time()
        except DataStalkerError:
            raise
        except Exception as error:
            stats.errors += 1
            _show(f"source {stats.name} failed; the run ends", error)
            text = f"source '{stats.name}' failed: {type(error).__name__}: {error}"
            raise InputError(text) from error
        finally:
            if batches is not None and hasattr(batches, "close"):
                batches.close()

    def feed(self, batch: list[Message], *, now: int | None = None) -> list[Message]:
        """Run a batch through all stages, then tell them how late it is by the data.

        Gives what comes out at the end. Where a batch ends decides when a stage notices that time
        has passed, never what it says of it. An exception in a stage loses one message, counted
        and shown once; a sink's goes to the caller. `now`: what time it is, if not the greatest
        timestamp in the batch (those of a sensor whose clock is wrong don't count).
        """
        if any_wrong(batch):
            wrong = [message for message in batch if WRONG in message]
            right = [message for message in batch if WRONG not in message]
            return self._through(0, wrong, timeless=True) + self.feed(right, now=now)
        if now is not None:
            self._before, self.now = self.now, max(self.now, now)
            return self._through(0, batch, ticking=True)
        times = map(itemgetter("timestamp"), batch)
        try:
            latest = max(times, default=0) + 0  # a TypeError for what is no number
        except TypeError:  # a source of one's own may have messages without a time
            latest = max(time for m in batch if isinstance(time := m.get("timestamp", 0), int))
        self._before, self.now = self.now, max(self.now, latest)
        return self._through(0, batch, ticking=True)

    def tick(self, now: int) -> list[Message]:
        """Let time move without a message: a heartbeat says that it is `now`."""
        if now <= self.now:
            return []
        self.now = now
        return self._through(0, [], ticking=True)

    def finish(self) -> list[Message]:
        """The input has ended: flush the stages in order, close the source and the sinks."""
        out: list[Message] = []
        first_error: BaseException | None = None
        for index, entry in enumerate(self.entries):
            try:
                if isinstance(entry.component, Stage):
                    began = perf_counter()
                    held = self._guarded(entry, entry.component.flush)
                    entry.stats.seconds += perf_counter() - began
                    entry.stats.sent += len(held)
                    _show_to(entry.taps_out, held)
                    # What stands behind was told of time so much later; now it is as late as it is.
                    out += self._through(index + 1, held, ticking=entry.delay > 0)
                else:
                    self._sink(entry, entry.component.close, 0)
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
        self,
        start: int,
        messages: list[Message],
        *,
        ticking: bool = False,
        timeless: bool = False,
    ) -> list[Message]:
        delay = 0
        for entry in self.entries[start:]:
            if not messages and not ticking:
                return messages
            if entry.taps_in:
                _show_to(entry.taps_in, messages)
            if timeless and entry.by_time:
                entry.stats.skipped += len(messages)
                if entry.taps_out:
                    _show_to(entry.taps_out, messages)
                continue
            stats, began = entry.stats, perf_counter()
            passed = stats.skipped
            received = len(messages)
            if messages:
                messages = self._apply(entry, messages)
            if (
                ticking
                and isinstance(entry.component, Stage)
                and (entry.ticks or getattr(entry.component, "state", None))
            ):
                told = self._guarded(entry, partial(entry.component.tick, self.now - delay))
                messages = messages + told if told else messages
            delay += entry.delay
            passed = stats.skipped - passed
            stats.received += received - passed
            stats.sent += len(messages) - passed
            stats.seconds += perf_counter() - began
            if entry.taps_out:
                _show_to(entry.taps_out, messages)
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
            self._sink(entry, lambda: self._write(entry, component, messages), len(messages))
            return messages
        try:
            out = component.handle_bulk(messages)
            _check_list(out, "handle_bulk")
        except StopPipeline as stop:
            self._end(stop, stop.passed)
            entry.stats.received -= len(messages) - len(stop.passed)  # neither passed nor dropped
            return stop.passed
        except Exception as error:
            entry.stats.errors += len(messages)
            self._report(entry, error, messages)
            return []
        entry.stats.dropped += max(0, len(messages) - len(out))
        return out

    def _write(self, entry: Entry, sink: Sink, messages: list[Message]) -> None:
        for refused in patience.write(sink, messages, lambda: self.stop_reason is not None):
            entry.stats.errors += 1
            if ("refused",) not in entry.reported:
                entry.reported.add(("refused",))
                what = (
                    f"sink {entry.stats.name} refused a message; shown once, counted in its errors"
                )
                said = f"{refused.reason}\nwith {dict(refused.message)!r}"
                log.error("%s\n%s", what, printable(said[:_SHOWN]))

    def _sink(self, entry: Entry, call: Callable[[], None], messages: int) -> None:
        """Write or close. What a sink has no name for is shown, and ends the run as OutputError."""
        try:
            call()
        except StopPipeline as stop:
            self.stop(stop.reason)
        except DataStalkerError:
            raise
        except Exception as error:
            entry.stats.errors += messages
            _show(f"sink {entry.stats.name} failed; the run ends", error)
            text = f"sink '{entry.stats.name}' failed: {type(error).__name__}: {error}"
            raise OutputError(text) from error

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
                if result is message:
                    append(message)
                elif result is None:
                    dropped += 1
                elif isinstance(result, Message):
                    append(result)
                else:
                    _check(result)
                    if not result:
                        dropped += 1
                    out += result
            except StopPipeline as stop:
                self._end(stop, [*messages[:index], *stop.passed])
                # What had come in behind it was never looked at: neither passed nor dropped.
                entry.stats.received -= len(messages) - index - len(stop.passed)
                out += stop.passed
                break
            except Exception as error:
                entry.stats.errors += 1
                self._report(entry, error, [message])
        entry.stats.dropped += dropped
        return out

    def _guarded(self, entry: Entry, call: Callable[[], Iterable[Message] | None]) -> list[Message]:
        try:
            given = call()
            out = [] if given is None or isinstance(given, dict) else list(given)
            _check_list(given if isinstance(given, dict) else out, "tick or flush")
            return out
        except StopPipeline as stop:
            self.stop(stop.reason)
            return stop.passed
        except Exception as error:
            entry.stats.errors += 1
            self._report(entry, error, [])
        return []

    def _up(self, below: Entry, message: Message) -> None:
        """Take a message from a component to those above it, the nearest first, until one takes it.

        One that fails loses it, counted and shown once. What nobody takes is counted too.
        """
        for entry in reversed(self.entries[: self.entries.index(below)]):
            try:
                given = _check_up(entry.component.on_upstream(message))
            except Exception as error:
                entry.stats.errors += 1
                self._report(entry, error, [message])
                return
            if given is None:
                return
            message = given
        if self.source is None or _check_up(self.source.on_upstream(message)) is not None:
            self.stats.incr(f"{below.stats.name}/unheard_above")

    def _end(self, stop: StopPipeline, seen: list[Message]) -> None:
        """A stage ends the run: time is what it was with the last message that it saw."""
        self.now = max(self._before, *(m.get("timestamp") or 0 for m in seen), 0)
        self.stop(stop.reason)

    def _report(self, entry: Entry, error: Exception, messages: list[Message]) -> None:
        """Show an exception once for each place it comes from; the counts tell how often."""
        if isinstance(error, DataStalkerError):
            raise error
        if isinstance(error, BrokenPipeError):  # `stalk run … | head`: who reads has had enough
            self.stop("nobody reads the output any more")
            return
        if self.on_failure is not None:
            self.on_failure(entry.stats.name, error, messages)
        frames = traceback.extract_tb(error.__traceback__)
        place = (type(error), *((f.filename, f.lineno) for f in frames[-1:]))
        if place in entry.reported:
            return
        entry.reported.add(place)
        first = messages[0] if messages else None
        _show(f"stage {entry.stats.name} failed; shown once, counted in its errors", error, first)


def _show_to(taps: Taps, messages: list[Message]) -> None:
    if messages:
        for tap in taps:
            tap.see(messages)


def _show(what: str, error: Exception, message: Message | None = None) -> None:
    shown = ""
    if message is not None:
        try:
            shown = f"\nwith {dict(message)!r}"[:_SHOWN]
        except Exception as unshowable:  # a value of a stage's own, whose repr fails
            shown = f"\nwith a message that can't be shown: {type(unshowable).__name__}"
    text = "".join(traceback.format_exception(error)).rstrip()
    log.error("%s%s\n%s", what, printable(shown), printable(text))


def _check(result: object) -> None:
    if not isinstance(result, list):
        raise TypeError(
            f"handle gave {a_or_an(type(result).__name__)}; give a Message, a list of them, or None"
        )
    _check_list(result, "handle")


def _check_list(result: object, who: str) -> None:
    if not isinstance(result, list):
        raise TypeError(f"{who} gave {a_or_an(type(result).__name__)}; give a list of Messages")
    if set(map(type, result)) <= _MESSAGES:
        return
    for item in result:
        if not isinstance(item, Message):
            raise TypeError(f"{who} gave a list with {a_or_an(type(item).__name__)}, not a Message")


def _check_up(result: object) -> Message | None:
    if result is not None and not isinstance(result, Message):
        raise TypeError(
            f"on_upstream gave {a_or_an(type(result).__name__)}; give a Message, or None"
        )
    return result


def _check_batch(batch: object) -> None:
    if not isinstance(batch, list):
        raise TypeError(f"run gave {a_or_an(type(batch).__name__)}; yield lists of Messages")
    if batch and not isinstance(batch[0], Message):
        raise TypeError(f"run gave a list with {a_or_an(type(batch[0]).__name__)}, not a Message")
