"""Reads and checks `tests:` of a configuration, or of a file of its own; `stalk test` runs them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import Any

from datastalker import moment
from datastalker.annotation import Path
from datastalker.cases import CAPTURE, CASE, COUNTS, CRASHES, EXPECT, HEX, Case, Step
from datastalker.errors import ConfigError, Problem
from datastalker.expected import attempt, check_message, check_value
from datastalker.message import KNOWN_KEYS
from datastalker.options import Report, complete, suggest
from datastalker.settings import Config
from datastalker.stage import Sink, SourceStage
from datastalker.yamlfile import Document

_REPEAT = ("times", "every")
_LETTER = ("who", "reason", "topic", "partition", "offset", "ids")
_HINT = "a step is one of: given, hex, capture, advance, crash, expect"


def load(path: str, config: Config) -> tuple[list[Case], list[Problem]]:
    """The tests of a file of their own, a mapping with `tests:` in it or the list itself.

    Raises ConfigError where it can't be read.
    """
    try:
        text = FilePath(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError([Problem(path, 0, 0, f"can't be read: {said}")]) from None
    document = Document(text, path)
    value, problems = document.value, document.problems
    root: Path = ()
    if isinstance(value, dict):
        for key in value:
            if key != "tests":
                text = (
                    f"unknown option '{key}': a file of tests has them under 'tests:', or is a list"
                )
                problems.append(document.problem((key,), text))
        value, root = value.get("tests"), ("tests",)
    if not isinstance(value, list):
        problems.append(document.problem(root, "tests are a list; each begins with '- name:'"))
        value = []
    return _read(value, root, config, document, problems), problems


def read_own(config: Config, document: Document) -> None:
    """The tests of a configuration, into its `cases` and `test_problems`."""
    value = config.settings["tests"]
    config.cases = _read(value, ("tests",), config, document, config.test_problems)


def _read(
    tests: list[Any], root: Path, config: Config, document: Document, problems: list[Problem]
) -> list[Case]:
    def report(at: Path, text: str) -> None:
        if at not in document.unresolved:
            problems.append(document.problem(at, text))

    def warn(at: Path, text: str) -> None:
        problems.append(document.problem(at, text, warning=True))

    reader = _Reader(config, document, report, warn)
    found: list[Case] = []
    for index, item in enumerate(tests):
        if isinstance(item, dict):
            case = reader.case(item, (*root, index))
            if case.name and case.name in [other.name for other in found]:
                report((*root, index, "name"), "another test is called so already")
            found.append(case)
        else:
            report((*root, index), "a test is a mapping: name, steps")
    return found


class _Reader:
    """Reads tests, one after the other."""

    def __init__(self, config: Config, document: Document, report: Report, warn: Report) -> None:
        self.config, self.document, self.report, self.warn = config, document, report, warn
        steps = config.steps
        self.labels = [s.label for s in steps if s.cls and not issubclass(s.cls, SourceStage)]
        self.sinks = [
            s.label for s in steps if s.name == "print" or (s.cls and issubclass(s.cls, Sink))
        ]
        self.topics = [name for s in steps for name in (s.topics or {}).values()]

    def case(self, given: dict[str, Any], path: Path) -> Case:
        values = complete(CASE, given, path, self.report)
        start = None
        if values["start"] is not None:
            start = attempt(
                self.report, (*path, "start"), "start", moment.moment, values["start"], 0, 0
            )
        for index, label in enumerate(values["stages"] or []):
            self._known(label, self.labels, (*path, "stages", index), "stage")
        begin = values["from"]
        if begin is not None:
            where = (*path, "from")
            self._known(begin, [*self.labels, *self.topics], where, "stage or topic")
            if begin in self.sinks and begin != "print":
                self.report(where, f"'{begin}' is a sink: begin at a stage or a topic")
            if values["stages"] is not None:
                self.report(where, "'from' and 'stages': give one of them")
        position = self.document.where(path)
        name = str(values["name"] or "")
        case = Case(name, start, values["stages"], begin, self.document, position)
        steps = values["steps"] if isinstance(values["steps"], list) else []
        if not steps and "steps" in given:
            self.report((*path, "steps"), f"there is no step; {_HINT}")
        for index, item in enumerate(steps):
            self._step(case, item, (*path, "steps", index), index + 1)
        if steps and not any(step.action == "expect" for step in case.steps):
            self.report((*path, "steps"), "nothing is expected: end with an 'expect'")
        return case

    def _step(self, case: Case, item: Any, path: Path, number: int) -> None:
        if isinstance(item, str):
            item = {item: None}
        if not isinstance(item, dict) or not item:
            self.report(path, _HINT)
            return
        actions = [key for key in item if key in _ACTIONS]
        known = [*_ACTIONS, *_REPEAT]
        for key in item:
            if key not in known:
                self.report((*path, key), f"unknown step '{key}'{suggest(str(key), known)}")
        if len(actions) != 1:
            if actions:
                self.report(path, f"one step an entry, not {len(actions)}; put a '- ' before each")
            return
        action = actions[0]
        here = (*path, action)
        value = _ACTIONS[action](self, item[action], here)
        step = Step(action, value, number, path, self.document.where(here))
        if "times" in item:
            times = item["times"]
            if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= 10**6:
                self.report((*path, "times"), f"'times' takes a whole number, not '{times}'")
            else:
                step.times = times
        if "every" in item:
            at = (*path, "every")
            step.every = attempt(self.report, at, "every", moment.duration, item["every"]) or 0
        if step.action not in ("given", "hex") and set(item) & set(_REPEAT):
            self.report(path, f"'times' and 'every' go with given and hex, not with {action}")
        case.steps.append(step)

    def _given(self, value: Any, path: Path) -> list[dict[str, Any]]:
        items = value if isinstance(value, list) else [value]
        out: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            here = (*path, index) if isinstance(value, list) else path
            if not isinstance(item, dict):
                self.report(
                    here, "'given' takes a message, a mapping of its keys, or a list of them"
                )
                continue
            if "timestamp" in item:
                at = (*here, "timestamp")
                attempt(self.report, at, "timestamp", moment.moment, item["timestamp"], 0, 0)
            check_message(item, here, self.report, self.warn)
            out.append(item)
        return out

    def _hex(self, value: Any, path: Path) -> dict[str, Any]:
        given = value if isinstance(value, dict) else {"frames": value}
        values = complete(HEX, given, path, self.report)
        texts = values["frames"]
        texts = [texts] if isinstance(texts, str) else texts or []
        at = (*path, "frames") if isinstance(value, dict) else path
        frames = [attempt(self.report, at, "hex", _bytes, text) for text in texts]
        return {**values, "frames": [frame for frame in frames if frame is not None]}

    def _capture(self, value: Any, path: Path) -> dict[str, Any]:
        given = value if isinstance(value, dict) else {"path": value}
        values = complete(CAPTURE, given, path, self.report)
        if values["path"] is not None:
            file = str(FilePath(self.document.file).resolve().parent / values["path"])
            if not os.path.exists(file) and next(glob.iglob(file, recursive=True), None) is None:
                at = (*path, "path") if isinstance(value, dict) else path
                self.report(at, f"'capture' takes a capture file, and there is none at {file}")
        return values

    def _advance(self, value: Any, path: Path) -> int:
        return attempt(self.report, path, "advance", moment.duration, value) or 0

    def _crash(self, value: Any, path: Path) -> tuple[str, ...]:
        """The moments: both, unless one is named."""
        if value is None:
            return CRASHES
        if value not in CRASHES:
            self.report(path, f"'crash' stands alone, or takes idle or in_flight, not '{value}'")
        return (str(value),)

    def _expect(self, value: Any, path: Path) -> dict[str, Any]:
        given = value if isinstance(value, dict) else {"messages": value}
        if value == "nothing":
            given = {"messages": []}
        elif not isinstance(value, (dict, list)):
            self.report(path, "'expect' takes a list of messages, [], or a mapping of options")
            given = {"messages": []}
        before = list(given)
        for key in [key for key in before if key not in EXPECT and key in KNOWN_KEYS]:
            text = f"'{key}' belongs to a message; messages are a list: expect: [{{{key}: …}}]"
            self.report((*path, key), text)
            given = {k: v for k, v in given.items() if k != key}
        values = complete(EXPECT, given, path, self.report)
        self._messages(values["messages"], (*path, "messages") if isinstance(value, dict) else path)
        self._messages(values["up"], (*path, "up"))
        for index, item in enumerate(values["dead_letters"] or []):
            here = (*path, "dead_letters", index)
            if not isinstance(item, dict):
                self.report(here, f"a dead letter is a mapping: {', '.join(_LETTER)}")
                continue
            for key, wanted in item.items():
                self._known(key, _LETTER, (*here, key), "key of a dead letter")
                check_value(self.report, key, wanted, (*here, key))
        if values["sink"] is not None:
            self._known(values["sink"], self.sinks, (*path, "sink"), "sink")
        if values["topic"] is not None:
            self._known(values["topic"], self.topics, (*path, "topic"), "topic")
        if values["sink"] is not None and values["topic"] is not None:
            self.report(path, "'sink' and 'topic': give one of them")
        looks = ("messages", "count", "up", "counters", "stages", "dead_letters")
        if all(values[name] is None for name in looks) and set(before) <= set(EXPECT):
            self.report(path, f"it expects nothing: give {', '.join(looks[:-1])} or {looks[-1]}")
        check_value(self.report, "count", values["count"], (*path, "count"))
        for name, wanted in (values["counters"] or {}).items():
            check_value(self.report, name, wanted, (*path, "counters", name))
        for label, counts in (values["stages"] or {}).items():
            self._known(label, self.labels, (*path, "stages", label), "stage")
            for name, wanted in counts.items():
                self._known(name, COUNTS, (*path, "stages", label, name), "count")
                check_value(self.report, name, wanted, (*path, "stages", label, name))
        return values

    def _messages(self, expected: list[Any] | None, path: Path) -> None:
        for index, item in enumerate(expected or []):
            if not isinstance(item, dict):
                text = "a message is a mapping of its keys to what they should be"
                self.report((*path, index), text)
            else:
                check_message(item, (*path, index), self.report, self.warn, matching=True)

    def _known(self, name: str, names: Iterable[str], path: Path, what: str) -> None:
        known = list(names)
        if name not in known and not self.config.errors:
            self.report(path, f"there is no {what} '{name}' here{suggest(name, known)}")


_ACTIONS: dict[str, Callable[[_Reader, Any, Path], Any]] = {
    "given": _Reader._given,
    "hex": _Reader._hex,
    "capture": _Reader._capture,
    "advance": _Reader._advance,
    "crash": _Reader._crash,
    "expect": _Reader._expect,
}


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(re.sub(r"[\s:]+", "", str(text)))
    except ValueError:
        raise ValueError("takes a frame's bytes as hex digits, two a byte; quote them") from None
