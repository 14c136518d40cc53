"""Two configurations over the same messages: what comes out of one and not of the other.

What would reach the sinks is kept in a file of SQLite, by the message's type and id, so memory does
not grow with the range. Sinks are left out, and topics hand over in memory: nothing is published.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from datastalker.build import build_segment
from datastalker.errors import ConfigError, OutputError, Problem
from datastalker.history import History
from datastalker.merged import Merged
from datastalker.message import Message
from datastalker.pipeline import Pipeline
from datastalker.position import Position
from datastalker.record import Decoder
from datastalker.segments import Segment
from datastalker.settings import Config, Step
from datastalker.stage import Sink, SourceStage
from datastalker.wire import framing_of

_EXAMPLES = 10
_FLUSH = 2_000
_TOLD = 1_000

Told = Callable[[str, int, tuple[int, int] | None], None]
"""Called often: with what is being gone through, how many of them so far, what part of the whole."""


@dataclass
class Difference:
    """By message type: how many are the same, differ, are only in the old, only in the new.
    `repeated` and `unreadable` count Kafka messages that were passed over."""

    read: int = 0
    repeated: int = 0
    unreadable: int = 0
    same: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    only_old: Counter[str] = field(default_factory=Counter)
    only_new: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By type and key: in how many messages it differs."""
    examples: list[tuple[Message | None, Message | None]] = field(default_factory=list)
    """Some that differ: as the old has it, as the new; None: it has none."""

    @property
    def any(self) -> bool:
        return bool(self.changed or self.only_old or self.only_new)

    @property
    def types(self) -> list[str]:
        every = {*self.same, *self.changed, *self.only_old, *self.only_new}
        return sorted(every)


def compare(
    old: Config,
    new: Config,
    topics: list[str],
    begin: Position | None = None,
    end: Position | None = None,
    told: Told = lambda what, count, part: None,
) -> Difference:
    """Read the topics once, by the old configuration's broker, and run both over it.

    `told` hears of the `messages` that are read, then of the `results` that are compared.
    Raises ConfigError, BrokerError, RegistryError, and OutputError where no file can be kept.
    """
    try:
        return _compare(old, new, topics, begin, end, told)
    except (sqlite3.Error, OSError) as error:
        text = f"what comes out can't be kept in {tempfile.gettempdir()}: {error}"
        raise OutputError(f"{text}; TMPDIR names another folder") from error


def _compare(
    old: Config,
    new: Config,
    topics: list[str],
    begin: Position | None,
    end: Position | None,
    told: Told,
) -> Difference:
    pipelines = [below(config, topics) for config in (old, new)]
    difference = Difference()
    decoder = Decoder(framing_of(old.settings.get("schema_registry")))
    with (
        tempfile.TemporaryDirectory(prefix="datastalker-compare-") as folder,
        History(old, topics, begin, end) as history,
        _Outcome(Path(folder) / "outcome") as outcome,
    ):
        merged = Merged(history, decoder)
        for messages in merged.read():
            difference.read += len(messages)
            told("messages", difference.read, history.progress())
            for side, given in enumerate((messages, [_apart(message) for message in messages])):
                pipeline = pipelines[side]
                if pipeline.stop_reason is not None:  # as `limit` ends a run
                    continue
                outcome.add(side, pipeline.feed(given, now=merged.now) if given else [])
                outcome.add(side, pipeline.tick(merged.now) if merged.now else [])
            if all(pipeline.stop_reason is not None for pipeline in pipelines):
                break
        difference.repeated, difference.unreadable = merged.repeated, merged.unreadable
        for side, pipeline in enumerate(pipelines):
            outcome.add(side, pipeline.finish())
        outcome.count(difference, told)
    return difference


def below(config: Config, topics: list[str]) -> Pipeline:
    """What stands below the cut at those topics, without sinks. Raises ConfigError."""
    return build_segment(config, Segment(0, config.settings["name"], _split(config, topics)[1]))


def differ_above(old: Config, new: Config, topics: list[str]) -> list[tuple[Config, Step]]:
    """The entries above the cut that the other has not, or not so. Raises ConfigError."""
    first, second = _split(old, topics)[0], _split(new, topics)[0]
    written = [_as_written(step) for step in first], [_as_written(step) for step in second]
    matcher = SequenceMatcher(None, *written, autojunk=False)
    found: list[tuple[Config, Step]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            found += [(old, step) for step in first[a:b]] + [(new, step) for step in second[c:d]]
    return found


def _as_written(step: Step) -> str:
    return repr((step.name, step.options, step.condition, step.topics))


def comparable(old: Config, new: Config, topics: list[str]) -> bool:
    """Whether anything stands below the cut that could make a difference. Raises ConfigError."""
    first, second = _split(old, topics)[1], _split(new, topics)[1]
    types = [[set(step.topics) for step in each if step.topics] for each in (first, second)]
    return any(step.cls is not None for step in first + second) or types[0] != types[1]


def _split(config: Config, topics: list[str]) -> tuple[list[Step], list[Step]]:
    """What stands above the cut, and below it without sinks."""
    for number, step in enumerate(config.steps):
        if step.topics is not None and set(topics) & set(step.topics.values()):
            kept = [
                step
                for step in config.steps[number + 1 :]
                if step.cls is None or not issubclass(step.cls, (Sink, SourceStage))
                if step.name != "print"
            ]
            return config.steps[:number], kept
    text = f"no topic of this pipeline is {' or '.join(topics)}" if topics else "it has no topic"
    raise ConfigError([Problem(config.file, 0, 0, text)])


class _Outcome:
    """What both sides gave, by type and id."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("PRAGMA synchronous = OFF")
        self._base.execute(
            "CREATE TABLE outcome (type TEXT, id TEXT, n INTEGER, old TEXT, new TEXT, "
            "PRIMARY KEY (type, id, n)) WITHOUT ROWID"
        )
        self._rows: tuple[list[Any], list[Any]] = ([], [])
        self._kept = 0

    def __enter__(self) -> _Outcome:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def add(self, side: int, messages: list[Message]) -> None:
        rows = self._rows[side]
        for message in messages:
            text = json.dumps(message, sort_keys=True, default=_plain)
            kind, identity = message.type, message.get("id")
            if identity is None:  # of a stage's own: known by all that it says
                identity = text
            rows.append((kind, str(identity), text))
        if len(rows) >= _FLUSH:
            self._write(side)

    def _write(self, side: int) -> None:
        column = ("old", "new")[side]
        self._base.execute("BEGIN")
        for kind, identity, text in self._rows[side]:
            done = self._base.execute(
                f"UPDATE outcome SET {column} = ? WHERE type = ? AND id = ? AND n = "
                f"(SELECT min(n) FROM outcome WHERE type = ? AND id = ? AND {column} IS NULL)",
                (text, kind, identity, kind, identity),
            )
            if not done.rowcount:
                self._base.execute(
                    f"INSERT INTO outcome (type, id, n, {column}) SELECT ?, ?, "
                    "coalesce(max(n), -1) + 1, ? FROM outcome WHERE type = ? AND id = ?",
                    (kind, identity, text, kind, identity),
                )
                self._kept += 1
        self._base.execute("COMMIT")
        self._rows[side].clear()

    def count(self, difference: Difference, told: Told) -> None:
        shown: Counter[str] = Counter()
        for side in (0, 1):
            self._write(side)
        rows = self._base.execute("SELECT type, old, new FROM outcome ORDER BY type, id, n")
        for number, (kind, old, new) in enumerate(rows):
            if number % _TOLD == 0:
                told("results", number, (number, self._kept))
            if old == new:
                difference.same[kind] += 1
                continue
            first, second = (text and Message(json.loads(text)) for text in (old, new))
            if first is None:
                difference.only_new[kind] += 1
            elif second is None:
                difference.only_old[kind] += 1
            else:
                difference.changed[kind] += 1
                difference.keys.update((kind, key) for key in differing(first, second))
            shown[kind] += 1
            if shown[kind] <= _EXAMPLES:
                difference.examples.append((first, second))


def _apart(message: Message) -> Message:
    """A copy that shares nothing a stage could change."""
    return Message(
        (key, value.copy() if isinstance(value, (dict, list)) else value)
        for key, value in message.items()
    )


def differing(old: Message, new: Message) -> Iterator[str]:
    """The keys that are not the same in both."""
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield key


def _plain(value: Any) -> Any:
    with suppress(AttributeError):
        return value.hex()
    return str(value)
