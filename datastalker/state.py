"""State: what a stage remembers, with expiry in event time and a bound on its size.

The runtime gives each stage one; embedded it is a dict in memory. Time is the data's: the runner
passes `now` (the greatest timestamp seen), nothing here reads a clock. Values are plain data
(dict, list, str, int, float, bool, None), so that a runtime can keep them elsewhere; a value that
was changed in place must be stored again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from typing import Any

MAX_ENTRIES = 65_536
_WIDTH = 1_000_000  # one bucket a second of event time
NEVER = 1 << 62
"""Expiry of an entry that was stored without one: it goes only when room is needed."""


class State(MutableMapping[Hashable, Any]):
    """A mapping whose entries expire.

    Entries lie in buckets by the second of their expiry. Each is in one bucket at a time; one
    whose expiry was put off is moved on when its bucket comes up, so a change costs a few
    assignments, however often it comes.
    """

    __slots__ = (
        "_buckets",
        "_due",
        "_entries",
        "_filed",
        "_order",
        "evicted",
        "max_entries",
        "now",
    )

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: dict[Hashable, list[Any]] = {}  # key -> [value, expires, bucket]
        self._buckets: dict[int, deque[Hashable]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers
        self._filed = 0  # keys in all buckets; those that were deleted lie there for a while
        # Bounded too: a stage with a `tick` of its own may never ask for what was evicted.
        self._due: deque[tuple[Hashable, Any, int]] = deque(maxlen=max(max_entries, MAX_ENTRIES))
        self.max_entries = max_entries
        self.evicted = 0
        self.now = 0
        """The greatest time that the stage was told, or has seen itself and set here."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._entries)

    def __getitem__(self, key: Hashable) -> Any:
        return self._entries[key][0]

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: Hashable) -> None:
        del self._entries[key]

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        entry = self._entries.get(key)
        return default if entry is None else entry[0]

    def alive(self, key: Hashable) -> Any:
        """The value under `key`, unless it expired by `now`: then it only waits to be taken out."""
        entry = self._entries.get(key)
        return None if entry is None or entry[1] <= self.now else entry[0]

    def retire(self, key: Hashable) -> None:
        """Take the value under `key` out, if there is one; it comes with what expires next."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._due.append((key, entry[0], entry[1]))

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Take the value under `key` out, or return `default`."""
        entry = self._entries.pop(key, None)
        return default if entry is None else entry[0]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._tidy()

    def set(self, key: Hashable, value: Any, expires: int = NEVER) -> None:
        """Store `value` until `expires` (event time, microseconds since 1970-01-01)."""
        entry = self._entries.get(key)
        if entry is None:
            self.add(key, value, expires)
            return
        entry[0] = value
        entry[1] = expires
        bucket = expires // _WIDTH
        if bucket < entry[2]:
            entry[2] = bucket
            self._file(key, bucket)
            if self._filed > 2 * len(self._entries) + 1024:  # brought forward, over and over
                self._tidy()

    def add(self, key: Hashable, value: Any, expires: int = NEVER) -> Any:
        """Store `value` if there is none alive under `key`; gives what there was, or None."""
        entries = self._entries
        bucket = expires // _WIDTH
        new = [value, expires, bucket]
        entry = entries.setdefault(key, new)
        if entry is not new:
            if entry[1] > self.now:
                return entry[0]
            self.retire(key)
            entries[key] = new
        keys = self._buckets.get(bucket)
        if keys is None:
            self._file(key, bucket)
        else:
            keys.append(key)
            self._filed += 1
        count = len(entries)
        if count > self.max_entries:
            self._evict()
        if self._filed > 2 * count + 1024:  # deleted and stored, over and over
            self._tidy()
        return None

    def expired(self, now: int) -> Iterator[tuple[Hashable, Any, int]]:
        """Take out and yield (key, value, expires) of what is due at `now`, oldest expiry first.

        What had to make room for others since the last call comes too, with an `expires` that
        still lies ahead: a stage can tell the two apart. What was retired comes as well.
        """
        self.now = max(self.now, now)
        due = list(self._due)
        self._due.clear()
        limit = now // _WIDTH
        while self._order and self._order[0] <= limit:
            number = heapq.heappop(self._order)
            keep: deque[Hashable] = deque()
            keys = self._buckets.pop(number)
            self._filed -= len(keys)
            for key in keys:
                entry = self._entries.get(key)
                if entry is None or entry[2] != number:
                    continue
                if entry[1] <= now:
                    del self._entries[key]
                    due.append((key, entry[0], entry[1]))
                elif entry[1] // _WIDTH == number:
                    keep.append(key)
                else:
                    entry[2] = entry[1] // _WIDTH
                    self._file(key, entry[2])
            if keep:
                self._buckets[number] = keep
                self._filed += len(keep)
                heapq.heappush(self._order, number)
                break
        due.sort(key=lambda item: item[2])
        return iter(due)

    def _file(self, key: Hashable, bucket: int) -> None:
        keys = self._buckets.get(bucket)
        if keys is None:
            keys = self._buckets[bucket] = deque()
            heapq.heappush(self._order, bucket)
        keys.append(key)
        self._filed += 1

    def _tidy(self) -> None:
        """Throw away what only remembers that a key once lay there."""
        self._filed = 0
        for number, keys in list(self._buckets.items()):
            live = (k for k in dict.fromkeys(keys) if k in self._entries)
            keys = deque(k for k in live if self._entries[k][2] == number)
            self._filed += len(keys)
            if keys:
                self._buckets[number] = keys
            else:
                del self._buckets[number]
        self._order = sorted(self._buckets)  # a sorted list is a heap

    def _evict(self) -> None:
        """Make room: what would expire first goes first."""
        while True:
            number = self._order[0]
            keys = self._buckets[number]
            while keys:
                key = keys.popleft()
                self._filed -= 1
                entry = self._entries.get(key)
                if entry is None or entry[2] != number:
                    continue
                if entry[1] // _WIDTH > number:
                    entry[2] = entry[1] // _WIDTH
                    self._file(key, entry[2])
                    continue
                del self._entries[key]
                self._due.append((key, entry[0], entry[1]))
                self.evicted += 1
                return
            heapq.heappop(self._order)
            del self._buckets[number]


class Journal(State):
    """A State that notes which keys changed, for a runtime that keeps a copy elsewhere.

    What expires is not noted key by key: that `expired` was called, and with what, says it.
    """

    __slots__ = ("_changed", "_swept")

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        super().__init__(max_entries)
        self._changed: dict[Hashable, None] = {}
        self._swept: int | None = None

    def take(self) -> tuple[list[Hashable], int | None]:
        """The keys that changed since the last call, those that are gone among them; and the
        greatest time for which what had expired was taken out, or None."""
        taken = list(self._changed), self._swept
        self._changed.clear()
        self._swept = None
        return taken

    def entry(self, key: Hashable) -> tuple[Any, int] | None:
        """Value and expiry of a key."""
        entry = self._entries.get(key)
        return None if entry is None else (entry[0], entry[1])

    def load(self, entries: Iterable[tuple[Hashable, Any, int]], now: int) -> None:
        """Hold these (key, value, expires) and nothing else; nothing has changed."""
        super().clear()
        self._due.clear()
        self.now = 0
        for key, value, expires in entries:
            super().add(key, value, expires)
        self.now = now
        self._changed.clear()
        self._swept = None

    def __delitem__(self, key: Hashable) -> None:
        super().__delitem__(key)
        self._changed[key] = None

    def retire(self, key: Hashable) -> None:
        self._changed[key] = None
        super().retire(key)

    def pop(self, key: Hashable, default: Any = None) -> Any:
        self._changed[key] = None
        return super().pop(key, default)

    def clear(self) -> None:
        self._changed.update(dict.fromkeys(self._entries))
        super().clear()

    def set(self, key: Hashable, value: Any, expires: int = NEVER) -> None:
        self._changed[key] = None
        super().set(key, value, expires)

    def add(self, key: Hashable, value: Any, expires: int = NEVER) -> Any:
        there = super().add(key, value, expires)
        if there is None:
            self._changed[key] = None
        return there

    def expired(self, now: int) -> Iterator[tuple[Hashable, Any, int]]:
        self._swept = now if self._swept is None else max(self._swept, now)
        return super().expired(now)

    def _evict(self) -> None:
        super()._evict()
        self._changed[self._due[-1][0]] = None
