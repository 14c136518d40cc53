"""Frames with the same keys in the same order, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from datastalker.wire.memo import Memo, Step, Text, Time

OFTEN = 8
"""So often a shape must have come before a function is made of it: that takes as long as many frames."""


class Shape:
    """How frames with the same keys are written: bytes that all have, and steps for the others."""

    def __init__(self, parts: list[bytes], steps: list[tuple[int, Step, list[int]]]) -> None:
        self._parts = parts
        self._steps = [(at, write, itemgetter(*places)) for at, write, places in steps]
        self._places = {at: (write, places) for at, write, places in steps}
        self.count = 0

    def write(self, values: list[Any]) -> bytes:
        """The bytes of a frame with these values."""
        parts = self._parts[:]
        for at, write, pick in self._steps:
            parts[at] = write(pick(values))
        return b"".join(parts)

    def way(self, count: int) -> Callable[[Iterable[Any]], bytes]:
        """`write` as a function made for this shape. Its source is of our own names and numbers."""
        given: dict[str, Any] = {"join": b"".join}
        parts = []
        for at, raw in enumerate(self._parts):
            name = f"p{at}"
            if at not in self._places:
                given[name] = raw
                parts.append(name)
                continue
            write, places = self._places[at]
            picked = ",".join(f"v{place}" for place in places)
            memo = getattr(write, "__self__", None)
            if isinstance(write, Time | Text):
                source, meant = write.inline(name, picked)
                parts.append(source)
                given |= meant
            elif isinstance(memo, Memo):
                given[name] = memo
                parts.append(f"{name}[{picked}]")
            else:
                given[name] = write
                parts.append(f"{name}({picked if len(places) == 1 else f'({picked})'})")
        names = "".join(f"v{at}," for at in range(count))
        exec(f"def way(v):\n {names} = v\n return join(({','.join(parts)},))", given)
        way: Callable[[Iterable[Any]], bytes] = given["way"]
        return way
