"""`extra`: what stages set beside the contract. Few sets of values come again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datastalker.wire import frames
from datastalker.wire.memo import Memo, Memory, write_text
from datastalker.wire.primitives import write_long

_SAME = frozenset((str, bool, int, type(None)))
"""Types whose values are written alike if they are equal; 0.0 and -0.0 are equal too."""


class ExtraWriter:
    """Writes the values of these keys, with what is always the same before and behind them."""

    def __init__(
        self,
        memory: Memory,
        keys: Sequence[str],
        missing: int = 0,
        nulls: bytes = b"",
        before: bytes = b"",
    ) -> None:
        """`nulls`: of keys that are told to be `missing`."""
        self._before = before + b"\2" + write_long(len(keys) + missing)
        self._names = [write_text(key) for key in keys]
        self._behind = nulls + b"\0"
        count = len(keys)
        # By the types as well: True equals 1, and is written otherwise.
        self._memo = Memo(memory, lambda key: self._write(key[:count]))

    def __call__(self, values: tuple[Any, ...]) -> bytes:
        types = tuple(map(type, values))
        return self._memo[values + types] if _SAME.issuperset(types) else self._write(values)

    def _write(self, values: tuple[Any, ...]) -> bytes:
        parts = [self._before]
        for name, value in zip(self._names, values, strict=True):
            parts += name, frames.EXTRA_VALUE.write(value)
        parts.append(self._behind)
        return b"".join(parts)
