"""Bytes that are remembered, and the fast writers of what differs from frame to frame."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from datastalker.errors import WireError
from datastalker.wire.primitives import whole, write_long, write_unsigned

Step = Callable[[Any], bytes]


class Memory:
    """How much memos remember, together; when it is too much they forget it all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._memos: list[Memo | ByIdentity] = []
        self._count = 0

    def join(self, memo: Memo | ByIdentity) -> None:
        self._memos.append(memo)

    def one_more(self) -> None:
        self._count += 1
        if self._count > self._limit:
            for memo in self._memos:
                memo.clear()
            self._count = 1


class Memo(dict[Any, bytes]):
    """Value → its bytes, remembered."""

    __slots__ = ("_memory", "_write")

    def __init__(self, memory: Memory, write: Step) -> None:
        super().__init__()
        self._memory, self._write = memory, write
        memory.join(self)

    def __missing__(self, key: Any) -> bytes:
        raw = self._write(key)
        self._memory.one_more()
        self[key] = raw
        return raw


class ByIdentity(dict[int, tuple[Any, bytes]]):
    """What was read → how it is written, by the identity of what was read, which is kept for it."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory
        memory.join(self)

    def remember(self, read: Any, written: bytes) -> None:
        self._memory.one_more()
        self[id(read)] = read, written


@functools.cache
def _tables() -> tuple[list[bytes], list[bytes]]:
    """14 bits as two bytes with more to come; as the last one or two."""
    more = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14)]
    last = [bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(1 << 14)]
    return more, last


def write_number(
    before: bytes = b"", convert: Callable[[Any], int] | None = None, bits: int = 64
) -> Step:
    """A writer of longs that differ from frame to frame, such as times, with bytes put before;
    `bits` is 32 for ints.

    The upper bits of a time stay the same for a while, so their bytes are remembered.
    """
    more, last = _tables()
    upper: dict[int, bytes] = {}

    def write(value: Any) -> bytes:
        if convert is not None:
            value = convert(value)
        rest: int = value << 1
        if rest < 0 or rest >> bits:
            return before + write_long(whole(value, 1 << bits - 1))
        if rest < 1 << 14:
            return before + last[rest]
        if rest < 1 << 28:
            return before + more[rest & 16383] + last[rest >> 14]
        high = rest >> 28
        known = upper.get(high)
        if known is None:
            if len(upper) >= _LIMIT_UPPER:
                upper.clear()
            known = upper[high] = write_unsigned(high)
        return before + more[rest & 16383] + more[rest >> 14 & 16383] + known

    return write


class Time:
    """Writes microseconds since 1970. All within 8 ms have the upper bytes in common."""

    def __init__(self) -> None:
        self._more, _ = _tables()
        self._upper = Memo(Memory(_LIMIT_UPPER), _write_upper)

    def __call__(self, value: int) -> bytes:
        return self._more[value << 1 & 16383] + self._upper[value >> 13]

    def inline(self, name: str, value: str) -> tuple[str, dict[str, Any]]:
        """The same as source of two items, and what its names mean."""
        source = f"{name}m[{value}<<1&16383],{name}u[{value}>>13]"
        return source, {f"{name}m": self._more, f"{name}u": self._upper}


def _write_upper(high: int) -> bytes:
    if high <= 0 or high >> 50:
        raise WireError("it takes the plain way: not of our century, or no long")
    return write_unsigned(high)


class Text:
    """Writes a string that seldom comes again."""

    def __call__(self, value: str) -> bytes:
        return write_text(value)

    def inline(self, name: str, value: str) -> tuple[str, dict[str, Any]]:
        """The same as source of two items, and what its names mean; IndexError for a long one."""
        return f"{name}l[len({name}:={value}.encode())],{name}", {f"{name}l": _LENGTHS}


def write_text(value: str) -> bytes:
    raw = value.encode()
    return _LENGTHS[len(raw)] + raw if len(raw) < 64 else write_long(len(raw)) + raw


_LENGTHS = [write_long(size) for size in range(64)]
_LIMIT_UPPER = 1 << 8
