"""Runs one test: its steps, one after the other, until one is not as expected."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from datastalker import catalog
from datastalker.cases import CRASHES, Case, Step
from datastalker.clock import WRONG
from datastalker.config import Config
from datastalker.errors import ConfigError, DataStalkerError
from datastalker.moment import START, since
from datastalker.text import one_line
from datastalker.trial import report
from datastalker.trial.hub import END, UP, Hub, Place
from datastalker.trial.inputs import Inputs
from datastalker.trial.match import Clock
from datastalker.trial.report import Line

_MOST_LOST = 3  # lost messages that a report of something else tells of


@dataclass
class Failure:
    """What was wrong. `lines`: (style, text), with what was expected and what came."""

    step: Step | None
    title: str
    lines: list[Line] = field(default_factory=list)
    crash: str | None = None
    """At which of its moments the crash was, where the other made a difference."""


@dataclass
class Result:
    """What became of a test. `log`: what the pipeline logged; `steps`: what each did, for -v."""

    case: Case
    failure: Failure | None = None
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def run(config: Config, case: Case) -> Result:
    """Run a test; with a crash in it once for each moment at which the crash may come."""
    began = perf_counter()
    crashes = {moment for step in case.steps if step.action == "crash" for moment in step.value}
    result = Result(case)
    moments: list[str | None] = [each for each in CRASHES if each in crashes]
    failures: list[Failure | None] = []
    for crash in moments or [None]:
        failures.append(_run_once(config, result, crash))
    found = [failure for failure in failures if failure is not None]
    result.failure = found[0] if found else None
    if found and (len(found) < len(failures) or found[0].lines != found[-1].lines):
        found[0].crash = moments[failures.index(found[0])]
    result.seconds = perf_counter() - began
    return result


def _run_once(config: Config, result: Result, crash: str | None) -> Failure | None:
    with _captured() as log:
        trial = _Trial(config, result.case, crash)
        try:
            failure = trial.run()
        except ConfigError:
            raise
        except DataStalkerError as error:
            failure = Failure(trial.step, str(error))
    if result.failure is None:
        result.log, result.steps = log, trial.told
        result.failure = failure
    return failure


class _Trial:
    def __init__(self, config: Config, case: Case, crash: str | None) -> None:
        self.case, self.crash = case, crash
        self.start = self.now = case.start if case.start is not None else START
        self.hub = Hub(config, case)
        self.inputs = Inputs(config, case, self.start)
        self.step: Step | None = None
        self.told: list[str] = []
        self._begun = False  # a capture that comes first says when that is
        self._marks: dict[Place, int] = {}
        self._looked = False  # the last step was an `expect`
        self._letters = 0
        self._totals: dict[str, dict[str, int]] = {}
        self._pending: Step | None = None  # after it there were dead letters that nobody expected

    @property
    def clock(self) -> Clock:
        return Clock(self.start, self.now)

    def run(self) -> Failure | None:
        for step in self.case.steps:
            self.step = step
            if step.action == "expect":
                self._looked = True
                failure = self._expect(step)
                if failure is not None:
                    failure.lines += self._lost()
                    return failure
                continue
            if self._looked:
                failure = self._unexpected_letters()
                if failure is not None:
                    return failure
                self._marks = {place: len(heard) for place, heard in self.hub.heard.items()}
                self._letters = len(self.hub.dead)
                self._totals = self.hub.totals()
                self._looked = False
            before = len(self.hub.heard[END])
            self._act(step)
            if len(self.hub.dead) > self._letters and self._pending is None:
                self._pending = step
            self._tell(step, before)
        return self._unexpected_letters()

    def _act(self, step: Step) -> None:
        value = step.value
        if step.action == "advance":
            self._advance(value)
        elif step.action == "crash":
            assert self.crash is not None
            moment = self.crash if len(value) > 1 else value[0]
            self.hub.crash(in_flight=moment == "in_flight")
        elif step.action == "capture":
            self._capture(value)
        else:
            for count in range(step.times):
                if count:
                    self._advance(step.every)
                if step.action == "hex":
                    messages = self.inputs.frames(value, self.now)
                else:
                    messages = [self.inputs.message(keys, self.now) for keys in value]
                self._feed(messages)

    def _advance(self, by: int) -> None:
        self.now += by
        self._feed([])

    def _feed(self, messages: list[Any]) -> None:
        self._begun = True
        right = [message for message in messages if WRONG not in message]
        times = [m["timestamp"] for m in right if isinstance(m.get("timestamp"), int)]
        self.now = max(self.now, *times, 0)
        self.hub.feed(messages, self.now)

    def _capture(self, value: dict[str, Any]) -> None:
        for batch in self.inputs.capture(value):
            if not self._begun and self.case.start is None and batch:
                self.start = self.now = self.inputs.start = batch[0]["timestamp"]
            self._feed(batch)

    def _expect(self, step: Step) -> Failure | None:
        wanted = step.value
        lines: list[Line] = []
        if wanted["messages"] is not None or wanted["count"] is not None:
            messages, where = self._window(wanted)
            found = report.messages(wanted, messages, where, self.clock)
            if found is not None:
                title, lines = found
                return Failure(step, title, lines if messages else lines + self._where_it_ended())
        if wanted["up"] is not None:
            sent = self.hub.heard[UP][self._marks.get(UP, 0) :]
            as_messages = {**wanted, "messages": wanted["up"], "count": None}
            found = report.messages(as_messages, sent, "the source", self.clock)
            if found is not None:
                return Failure(step, *found)
        if wanted["counters"] is not None:
            counted = {**self.hub.counters(), **self._dropped()}
            lines += report.numbers("", wanted["counters"], counted, self.clock)
        totals = self.hub.totals()
        for label, counts in (wanted["stages"] or {}).items():
            there = totals.get(label, {})
            lines += report.numbers(f"{label}: ", counts, there, self.clock)
        if lines:
            return Failure(step, "it counted otherwise", lines)
        if wanted["dead_letters"] is not None:
            letters = self.hub.dead[self._letters :]
            as_messages = {**wanted, "messages": wanted["dead_letters"], "count": None}
            found = report.messages(as_messages, letters, "the dead letters", self.clock)
            self._pending = None
            if found is not None:
                return Failure(step, *found)
        return None

    def _dropped(self) -> Mapping[str, int]:
        return {f"pcap/dropped/{reason}": n for reason, n in self.inputs.dropped.items()}

    def _window(self, wanted: dict[str, Any]) -> tuple[list[Any], str]:
        """What came since the step before the expects in a row, and where it was looked at."""
        place, where = END, "the end of the pipeline"
        if wanted["sink"] is not None:
            place, where = ("sink", wanted["sink"]), f"sink '{wanted['sink']}'"
        elif wanted["topic"] is not None:
            place, where = ("topic", wanted["topic"]), f"topic '{wanted['topic']}'"
        messages = self.hub.heard[place][self._marks.get(place, 0) :]
        types = wanted["type"]
        if types is None and wanted["messages"]:
            named = [message.get("type") for message in wanted["messages"]]
            types = named if all(isinstance(each, str) for each in named) else None
        types = [types] if isinstance(types, str) else types
        if types is not None:
            messages = [message for message in messages if message.type in types]
            where += f" (type {', '.join(dict.fromkeys(types))})"
        return messages, where

    def _unexpected_letters(self) -> Failure | None:
        if self._pending is None:
            return None
        letter = self.hub.dead[self._letters]
        text = f"{letter['who']} lost a message, which nothing expects (dead_letters)"
        return Failure(self._pending, text, [("got", f"reason: {letter['reason']}")])

    def _lost(self) -> list[Line]:
        """What was lost since the step before, which may be why something did not come."""
        letters = self.hub.dead[self._letters :]
        lines = [f"{each['who']} lost a message: {one_line(each['reason'])}" for each in letters]
        more = [f"and {len(lines) - _MOST_LOST} more"] if len(lines) > _MOST_LOST else []
        return [("plain", line) for line in [*lines[:_MOST_LOST], *more]]

    def _where_it_ended(self) -> list[Line]:
        """Which stage, the first of them, got messages since the step before and passed on none."""
        totals = self.hub.totals()
        for step in self.hub.route.stages():
            before = self._totals.get(step.label, {})
            counts = {name: n - before.get(name, 0) for name, n in totals[step.label].items()}
            if not counts["dropped"] or counts["sent"] or counts["skipped"]:
                continue
            assert step.cls is not None
            got = report.count(counts["received"])
            ours = catalog.BUILTIN.get(step.name) == step.cls.__module__
            ask = "" if ours else "; does handle return the message?"
            return [("plain", f"{step.label} got {got} and passed on none{ask}")]
        return []

    def _tell(self, step: Step, before: int) -> None:
        kinds: dict[str, int] = {}
        for message in self.hub.heard[END][before:]:
            kinds[message.type] = kinds.get(message.type, 0) + 1
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
        self.told.append(f"step {step.number} {step.action}, {since(self.now, self.start)}: {said}")


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _captured() -> Iterator[list[str]]:
    """What the pipeline logs meanwhile, kept for who wants to read it."""
    log, handler = logging.getLogger("datastalker"), _Lines()
    before, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield handler.lines
    finally:
        log.removeHandler(handler)
        log.propagate = before
