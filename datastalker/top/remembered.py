"""What a live view remembers, bounded: of addresses anybody can make up any number."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 4096
"""Networks, and devices, that are remembered."""
SECONDS = 600
"""How far back a signal's history goes."""
_SILENT = -128


class Remembered(Generic[T]):
    """A mapping of at most `most` entries; what was not used for longest goes first.

    What is new waits apart, until it is used again: a flood of addresses that come once each
    pushes out those alone, down to a quarter. `forgotten` counts all that went.
    """

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        self._new: OrderedDict[Hashable, T] = OrderedDict()
        self._most, self._most_new = most, max(1, most // 4)
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._known) + len(self._new)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known or key in self._new

    def __iter__(self) -> Iterator[T]:
        yield from self._known.values()
        yield from self._new.values()

    def use(self, key: Hashable) -> T | None:
        """What is under `key`, which was now used again."""
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        value = self._new.pop(key, None)
        if value is not None:
            self._known[key] = value
        return value

    def get(self, key: Hashable) -> T | None:
        """What is under `key`, without using it."""
        return self._known.get(key) or self._new.get(key)

    def add(self, key: Hashable, value: T) -> T:
        """Remember `value` under a key that is not there."""
        self._new[key] = value
        if len(self) > self._most:
            crowded = len(self._new) > self._most_new or not self._known
            (self._new if crowded else self._known).popitem(last=False)
            self.forgotten += 1
        return value


class History:
    """The strongest signal of each of the last SECONDS seconds of event time: a byte each."""

    __slots__ = ("_newest", "_ring")

    def __init__(self) -> None:
        self._ring = array("b", [_SILENT]) * SECONDS
        self._newest = 0

    def add(self, second: int, dbm: int) -> None:
        """It was heard in that second. What is older than the history is let go."""
        if second > self._newest:
            if second - self._newest >= SECONDS:
                self._ring = array("b", [_SILENT]) * SECONDS
            else:
                for silent in range(self._newest + 1, second):
                    self._ring[silent % SECONDS] = _SILENT
            self._newest = second
            self._ring[second % SECONDS] = _SILENT
        elif self._newest - second >= SECONDS:
            return
        place = second % SECONDS
        self._ring[place] = max(self._ring[place], -127, min(dbm, 127))

    def until(self, second: int, count: int = SECONDS) -> list[int | None]:
        """dBm of the last `count` seconds up to `second`, oldest first; None: not heard."""
        oldest = self._newest - SECONDS
        found: list[int | None] = []
        for each in range(second - count + 1, second + 1):
            dbm = self._ring[each % SECONDS] if oldest < each <= self._newest else _SILENT
            found.append(None if dbm == _SILENT else dbm)
        return found
