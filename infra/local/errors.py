"""Errors of the local stack, each with its remedy, and what a server's log tells of its own.

StackError          the stack can't do what was asked
└── PortTakenError  another program holds a port: other ports may do
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_PORT_TAKEN = re.compile(r"[Aa]ddress already in use|BindException|Port \d+ seems to be in use")
_REMEDIES = (
    (
        r"No space left on device",
        "The disk is full: make room, or name another folder with --directory.",
    ),
    (
        r"Cannot allocate memory|OutOfMemoryError|Could not reserve enough space",
        "Memory is short: the whole stack needs about 2 GB free; --service starts less of it.",
    ),
    (
        r"Permission denied|AccessDeniedException",
        "A file belongs to another user: was the stack started as root before?",
    ),
    (
        r"[Cc]orrupt|Database may be already in use|Invalid cluster.id|file is locked",
        "Its data can't be used: `stop --wipe` removes them, to start afresh.",
    ),
)


class StackError(Exception):
    """What a person is told, without a traceback."""


class PortTakenError(StackError):
    """The server says that its address is in use."""


def explain(what: str, log: Path, ports: Mapping[str, int]) -> StackError:
    """The error of a server: what happened, the last lines of its log, what to do."""
    lines = _last_lines(log, 200)
    text = "\n".join(lines)
    shown = "".join(f"\n  | {line[:300]}" for line in lines[-15:])
    said = f"{what}. The last lines of {log}:{shown}"
    if _PORT_TAKEN.search(text):
        numbers = ", ".join(str(port) for port in ports.values())
        return PortTakenError(
            f"{said}\nAnother program holds one of its ports ({numbers}): end it."
        )
    remedies = [remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)]
    return StackError("\n".join([said, *remedies[:1]]))


def _last_lines(log: Path, count: int) -> list[str]:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 50_000))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
