"""A tap: messages shown while they pass a place of a running pipeline, which never waits for it.

Nothing is there until somebody asks. Then a tap is hung on the place, and what passes is filtered
and written as JSON where it passes, so it is seen as it is there and then. It may spend 1 % of the
time on that: what passes faster is not looked at, what is not taken in time is lost, and both are
counted and said.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from datastalker.condition import Predicate, compile_condition
from datastalker.message import Message
from datastalker.options import suggest
from datastalker.shown import plain

if TYPE_CHECKING:
    from datastalker.pipeline import Pipeline

IN, OUT = "in", "out"
SOURCE = "source"
"""What comes into a pipeline, whatever its first stage is called."""
COUNTS = "counts"
MOST_TAPS = 4
QUEUE = 5_000

_SHARE = 0.01
_SAVED_SECONDS = 0.05  # time that may be spent at once, where little was before
_LOOK_SECONDS = 0.1  # each time takes the GIL from who works
_TELL_SECONDS = 1.0
_LOCK = threading.Lock()


class TooManyError(Exception):
    """No more taps for now."""


class Place(NamedTuple):
    """Where messages pass: before (`in`) or behind (`out`) a stage. `holder`: has a tuple of
    those who look there, as an attribute of that name."""

    stage: str
    at: str
    holder: Any
    attribute: str


def places_of(pipelines: Iterable[Pipeline]) -> Iterator[Place]:
    """The places of pipelines, from top to bottom."""
    for pipeline in pipelines:
        if not pipeline.entries:
            continue
        first = pipeline.entries[0]
        names = [SOURCE] if pipeline.source is None else [SOURCE, pipeline.source.name]
        yield from (Place(name, OUT, first, "taps_in") for name in names)
        for entry in pipeline.entries:
            yield Place(entry.stats.name, IN, entry, "taps_in")
            if hasattr(entry.component, "handle_bulk"):  # a sink passes nothing on
                yield Place(entry.stats.name, OUT, entry, "taps_out")


class Tap:
    """One who looks. `seen`: messages that were looked at; `passed_by`: that were not, for want of
    time; `met`: that met the condition; `lost`: of these, those for which there was no room."""

    def __init__(self, wants: Predicate | None = None) -> None:
        self.wants = wants
        self.seen = self.passed_by = self.met = self.lost = 0
        self._lines: deque[str] = deque()
        self._saved = _SAVED_SECONDS
        self._last = perf_counter()

    def see(self, messages: list[Message]) -> None:
        """Called where they pass, by whose thread that is."""
        began = perf_counter()
        saved = min(_SAVED_SECONDS, self._saved + (began - self._last) * _SHARE)
        self._last = began
        until = began + saved
        wants, lines = self.wants, self._lines
        seen = 0
        for message in messages:
            if perf_counter() > until:
                break
            seen += 1
            try:
                if wants is not None and not wants(message):
                    continue
                self.met += 1
                if len(lines) < QUEUE:
                    lines.append(_line(message))
                else:
                    self.lost += 1
            except Exception:  # a message of a plug-in's own, whose values fail
                self.lost += 1
        self.seen += seen
        self.passed_by += len(messages) - seen
        self._saved = saved - (perf_counter() - began)

    def take(self) -> str:
        """What was written since, a line a message."""
        lines = self._lines
        return "".join([lines.popleft() for _ in range(len(lines))])

    def counts(self) -> str:
        """A line too; it is no object, so it is no message."""
        names = ("seen", "passed_by", "met", "lost")
        return json.dumps([COUNTS, {name: getattr(self, name) for name in names}]) + "\n"


class Taps:
    """The taps of a process."""

    def __init__(self, places: Callable[[], Iterable[Place]]) -> None:
        self._places = places
        self._open = 0

    def names(self) -> dict[str, list[str]]:
        """By stage: where it can be tapped."""
        found: dict[str, list[str]] = {}
        for place in self._places():
            if place.at not in found.setdefault(place.stage, []):
                found[place.stage].append(place.at)
        return found

    def stream(self, query: Mapping[str, str]) -> Iterator[bytes]:
        """Lines, for as long as somebody takes them: `stage`, `at` (in, out), `filter` (a `when:`
        as JSON).

        Raises TooManyError, and ValueError for what can't be looked at.
        """
        stage, at = query.get("stage", ""), query.get("at", "")
        known = self.names()
        if stage not in known:
            raise ValueError(f"no stage '{stage}' here{suggest(stage, known)}")
        at = at or known[stage][-1]
        if at not in known[stage]:
            raise ValueError(f"'{stage}' has no '{at}': at={' or '.join(known[stage])}")
        tap = Tap(_condition(query["filter"]) if query.get("filter") else None)
        with _LOCK:
            if self._open >= MOST_TAPS:
                raise TooManyError(f"there are {MOST_TAPS} taps already, more would be felt")
            self._open += 1
        lines = self._lines(stage, at, tap)
        next(lines)  # begun, so that it has an end even if who asked has gone by now
        return lines

    def _lines(self, stage: str, at: str, tap: Tap) -> Iterator[bytes]:
        """Pipelines come and go meanwhile: a worker gets partitions."""
        hung: list[Place] = []
        due = 0.0
        try:
            yield b""
            while True:
                text = tap.take()
                if monotonic() >= due:
                    due = monotonic() + _TELL_SECONDS
                    places = [p for p in self._places() if (p.stage, p.at) == (stage, at)]
                    hung = self._hang(tap, places, hung)
                    text += tap.counts()
                if text:
                    yield text.encode()
                sleep(_LOOK_SECONDS)
        finally:
            self._hang(tap, [], hung)
            with _LOCK:
                self._open -= 1

    def _hang(self, tap: Tap, places: list[Place], hung: list[Place]) -> list[Place]:
        with _LOCK:
            for place in hung:
                if not any(place.holder is other.holder for other in places):
                    left = tuple(t for t in getattr(place.holder, place.attribute) if t is not tap)
                    setattr(place.holder, place.attribute, left)
            for place in places:
                there = getattr(place.holder, place.attribute)
                if tap not in there:
                    setattr(place.holder, place.attribute, (*there, tap))
        return places


encode = json.JSONEncoder(separators=(",", ":"), default=plain).encode
"""As JSON on one line, pure ASCII."""


def _line(message: Message) -> str:
    return encode(message) + "\n"


def _condition(text: str) -> Predicate:
    """Raises ValueError. Regular expressions are left to who asks: one that never ends would stop
    the pipeline."""
    try:
        when = json.loads(text)
    except ValueError:
        raise ValueError("filter is no JSON: write a condition as under when:") from None
    if isinstance(when, dict) and any(
        isinstance(w, dict) and "matches" in w for w in when.values()
    ):
        raise ValueError("filter: 'matches' is for who reads: a pipeline runs nobody's expressions")
    wrong: list[str] = []
    found = compile_condition(
        when, ("filter",), lambda _, said: wrong.append(said), lambda *_: None
    )
    if wrong:
        raise ValueError(f"filter: {wrong[0]}")
    return found
