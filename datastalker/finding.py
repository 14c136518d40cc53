"""What `stalk doctor` looks at and finds: each check is one question, bounded in time.

A place (`capture_agent`, `processors`, `sinks`) has a module `doctor` with `checks(config, segment)`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Literal

Level = Literal["ok", "warning", "failed"]
SECONDS = 15.0
"""How long a check may take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `found`: what is so; of a warning or a failure also why, and what to do."""

    level: Level
    about: str
    found: str
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`look` gives findings as it goes, and raises nothing that is expected. `about` and `remedy` are
    what is said where it takes longer than `seconds`."""

    about: str
    look: Callable[[], Iterable[Finding]]
    remedy: str
    seconds: float = SECONDS


def ok(about: str, found: str) -> Finding:
    return Finding("ok", about, found)


def warning(about: str, found: str, cause: str, remedy: str) -> Finding:
    return Finding("warning", about, found, cause, remedy)


def failed(about: str, found: str, cause: str, remedy: str) -> Finding:
    return Finding("failed", about, found, cause, remedy)


def of_error(about: str, found: str, error: Exception, remedy: str) -> Finding:
    """From one of our errors: its sentence is the cause, up to the remedy that it has itself."""
    cause, own = halves(str(error))
    return failed(about, found, cause, own or remedy)


def halves(text: str) -> tuple[str, str]:
    """Before and behind the first semicolon that stands in no brackets."""
    depth = 0
    for match in re.finditer(r"[()]|; ", text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if match[0] == "; " and depth <= 0:
            return text[: match.start()], text[match.end() :]
    return text, ""


def run(checks: Iterable[Check]) -> Iterator[Finding]:
    """All at the same time, told in their order. One that hangs or fails is told of, and holds up or
    hides no other."""
    begin = monotonic()
    started: list[tuple[Check, SimpleQueue[Finding | None]]] = []
    for check in checks:
        told: SimpleQueue[Finding | None] = SimpleQueue()
        Thread(target=_look, args=(check, told), daemon=True, name=f"doctor: {check.about}").start()
        started.append((check, told))
    for check, told in started:
        try:
            while (found := told.get(timeout=_left(begin, check))) is not None:
                yield found
        except Empty:
            text = f"no answer within {check.seconds:g} s"
            yield failed(check.about, text, "it hangs, or is very slow", check.remedy)


def _left(begin: float, check: Check) -> float:
    return max(0.001, begin + check.seconds - monotonic())


def _look(check: Check, told: SimpleQueue[Finding | None]) -> None:
    try:
        for finding in check.look():
            told.put(finding)
    except BaseException as error:  # a mistake of the check's own, or of a plug-in
        text = f"{type(error).__name__}: {error}"
        told.put(failed(check.about, "can't be looked at", text, check.remedy))
    told.put(None)


def folder(about: str, path: Path, setting: str, wants_mb: float) -> Iterator[Finding]:
    """Can files be made there, and is there room? One that isn't there would be made."""
    there = path
    # Not Path.exists, which raises where a folder may not be looked into
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        text = f"{there} is a file, where a folder should be"
        yield failed(about, f"{path} can't be made", text, f"name another folder in {setting}")
        return
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as file:
            file.write(bytes(4096))
            os.fsync(file.fileno())
        free = shutil.disk_usage(there).free / 1048576
    except OSError as error:
        text = f"{there}: {error.strerror}"
        remedy = f"make room there, give this user the right to write, or change {setting}"
        yield failed(about, f"{path} can't be written", text, remedy)
        return
    will = "" if there == path else ", will be made"
    if free < wants_mb:
        found = f"{path}{will}: {size(free)} free"
        cause = f"{setting} may take {size(wants_mb)} more"
        yield warning(about, found, cause, "make room there, or give it less")
    else:
        yield ok(about, f"{path}{will}: can be written, {size(free)} free")


def size(mb: float) -> str:
    """MiB for people."""
    return f"{mb / 1024:,.1f} GiB" if mb >= 1024 else f"{mb:,.0f} MiB"
