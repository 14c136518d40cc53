"""`tests:` of a configuration: what may stand there, and a test once it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path as FilePath
from typing import Any, Literal

from datastalker.annotation import Path
from datastalker.options import Option, option, options_of
from datastalker.stats import StageStats
from datastalker.yamlfile import Document

CRASHES = ("idle", "in_flight")
COUNTS = tuple(f.name for f in fields(StageStats) if f.name not in ("name", "seconds"))


class _Case:
    """One entry of `tests:`."""

    name: str = option(help="what is promised, in a sentence")
    steps: list = option(  # type: ignore[type-arg]
        help="one after the other: given, hex, capture, advance, crash, expect"
    )
    start: int | str | None = option(None, "when it begins; 2026-03-02T17:00:00Z if not given")
    stages: list[str] | None = option(None, "these stages and sinks alone, topics left out")


class _Expect:
    """What may stand under `expect:`."""

    messages: list | None = option(None, "messages, by keys and their values")  # type: ignore[type-arg]
    count: int | dict | None = option(None, "how many messages")  # type: ignore[type-arg]
    type: str | list[str] | None = option(None, "look at messages of these types alone")
    sink: str | None = option(None, "look at what reached this sink")
    topic: str | None = option(None, "look at what was published to this topic")
    order: Literal["given", "any"] = option("given", "of the messages")
    match: Literal["partial", "exact"] = option(
        "partial", "exact: no keys but those that are named"
    )
    others: bool = option(False, "other messages may be between them")
    up: list | None = option(None, "messages that stages sent up, to the source: tune")  # type: ignore[type-arg]
    counters: dict | None = option(None, "counters since the beginning")  # type: ignore[type-arg]
    stages: dict[str, dict] | None = option(  # type: ignore[type-arg]
        None, f"by a stage's name, its counts: {', '.join(COUNTS)}"
    )
    dead_letters: list | None = option(  # type: ignore[type-arg]
        None, "what nobody could handle: who, reason, topic, ids"
    )


class _Hex:
    """What may stand under `hex:`."""

    frames: str | list[str] = option(help="frames in hex, radio header first if there is one")
    sensor: str | None = option(None, "who heard them")
    radiotap: bool | None = option(None, "there is a radiotap header; null: looked for")


class _Capture:
    """What may stand under `capture:`."""

    path: str = option(help="a capture file, relative to this one")
    sensor: str | None = option(None, "name of the sensor; its file's name unless given")
    keep_bad_fcs: bool = option(False, "keep frames whose frame check sequence is wrong")


CASE: dict[str, Option] = {
    **(options_of(_Case) or {}),
    "from": Option("from", str | None, None, "begin at this stage, or read from this topic"),
}
EXPECT, HEX, CAPTURE = (options_of(cls) or {} for cls in (_Expect, _Hex, _Capture))


@dataclass
class Step:
    """One step. `value`: what is checked already: microseconds of `advance`, a list of messages
    of `given`, the options of `hex`, `capture` and `expect`, the moments of `crash`."""

    action: str
    value: Any
    number: int
    path: Path
    position: tuple[int, int]
    times: int = 1
    every: int = 0


@dataclass
class Case:
    """One test. `document` is where it stands."""

    name: str
    start: int | None
    stages: list[str] | None
    from_: str | None
    document: Document
    position: tuple[int, int]
    steps: list[Step] = field(default_factory=list)

    @property
    def base(self) -> FilePath:
        """The folder that captures are relative to."""
        return FilePath(self.document.file).resolve().parent
