"""Errors, named by what the caller can do about them.

DataStalkerError            anything that ends a command with one clear sentence, no traceback
├── ConfigError             the configuration is wrong: shown where, with the remedy; exit code 2
├── InputError              what was to be read can't be read: another file, other rights
├── OutputError             what was to be written can't be written: disk, rights
│   └── RetryLater          not now: the store is away or busy; write what is left again, later
├── WireError               bytes that hold no message, or a message that no bytes can hold: set it
│                           aside (dead letters), go on with the next; trying again changes nothing
├── RegistryError           the schema registry isn't there or refuses; `retriable`: it may be back
└── BrokerError             Kafka isn't there, refuses, or lacks a topic; `retriable`: it may be back

StopPipeline                not an error: a stage or source asks for an orderly end
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from datastalker.text import one_line


class DataStalkerError(Exception):
    """Base of what a command shows as one sentence. `exit_code` is the command's."""

    exit_code = 1


class InputError(DataStalkerError):
    """A capture, a registry or a plug-in can't be read. The text names it and the remedy."""


class OutputError(DataStalkerError):
    """Something can't be written (disk full, no rights). What was finished before is whole."""


class RetryLater(OutputError):  # noqa: N818 - what to do about it
    """A store is away, busy or full for now: a sink asks to be called again in `seconds`.

    `rest`: the messages to write then, None for all that it was given. `refused`: what it has
    refused of the others. Who gives up shows the text, which names the store and the remedy.
    """

    def __init__(
        self,
        text: str,
        seconds: float,
        rest: list[Any] | None = None,
        refused: Iterable[Any] = (),
    ) -> None:
        super().__init__(text)
        self.seconds = seconds
        self.rest = rest
        self.refused = list(refused)


class WireError(DataStalkerError):
    """A message can't be encoded, or bytes can't be decoded. Says which key or byte, and why."""


class RegistryError(DataStalkerError):
    """The schema registry can't be reached, or refuses. The text names it and the remedy.

    `retriable`: trying again later may work, so nothing is to be set aside for it.
    """

    def __init__(self, text: str, *, retriable: bool) -> None:
        super().__init__(text)
        self.retriable = retriable


class BrokerError(DataStalkerError):
    """Kafka can't be reached, refuses, or has not what is needed. Names the setting and the remedy.

    `retriable`: trying again later may work, without a change of the configuration.
    """

    def __init__(self, text: str, *, retriable: bool) -> None:
        super().__init__(text)
        self.retriable = retriable


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where it stands and what to do about it.

    `line` and `column` count from 1; 0 where the mistake is of the file as a whole.
    """

    file: str
    line: int
    column: int
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {'warning: ' if self.warning else ''}{one_line(self.text)}"


class ConfigError(DataStalkerError):
    """All mistakes of a configuration at once."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StopPipeline(BaseException):
    """Raised in a stage or source to end the run in order: what was passed on so far is finished.

    The message in hand is not passed on, unless it is among `passed`. A BaseException, so that a
    stage's own `except Exception` does not swallow it.
    """

    def __init__(self, reason: str = "a stage asked for it", passed: Iterable[Any] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passed = list(passed)
