"""Standard output that can't be written any more: a reader that went away, a full disk.

Where who reads has had enough (`stalk … | head`), what a command has begun it does to the end, and
its exit code is what it would have been: the rest of what it says goes nowhere. What has no end, or
works only to be read, looks at `reader_is_gone` and stops.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

_gone: set[int] = set()


class _Descriptor(io.FileIO):
    """What is written after its reader went away goes nowhere."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _gone.add(self.fileno())
            _to_nowhere(self.fileno())
            return len(data)


def outlive_readers() -> None:
    """Standard output and error bear that nobody reads them any more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _bearing(stream))


def reader_is_gone() -> bool:
    """Something was written to standard output, and nobody read it."""
    return 1 in _gone


def give_up() -> None:
    """What is still to be written goes nowhere, so that the interpreter's end can't fail on it."""
    _to_nowhere(sys.stdout.fileno())


def _bearing(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(stream.fileno(), "w", closefd=False)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _to_nowhere(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
