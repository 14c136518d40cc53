"""How much of what is drained from a spool the client is given at a time. See `spool_outbox`."""

from __future__ import annotations

from time import monotonic

_NARROW, _WIDE = 1 << 16, 2 << 20
_PAUSE_SECONDS = 1.0


class Window:
    """In bytes: grows while confirmations come soon, shrinks when they don't."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long a confirmation may be awaited."""
        self._seconds = seconds
        self._bytes = _NARROW
        self._closed_until = 0.0

    def has_room(self, given: int, now: float) -> bool:
        """Beside so many bytes that it was given already."""
        return given < self._bytes and self._closed_until <= now

    def confirmed(self, size: int, took: float) -> None:
        """So many bytes, in so many seconds at least."""
        if took < self._seconds / 4:
            self._bytes = min(_WIDE, self._bytes + size)
        elif took > self._seconds / 2:
            self._bytes = max(_NARROW, self._bytes // 2)

    def failed(self) -> None:
        """The client gave something up: nothing for a moment, then little."""
        self._closed_until, self._bytes = monotonic() + _PAUSE_SECONDS, _NARROW
