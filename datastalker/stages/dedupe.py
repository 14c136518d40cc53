"""`dedupe`: what several sensors heard of one transmission becomes one frame."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, ClassVar, Literal

from datastalker.message import Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.state import NEVER
from datastalker.stats import Stats

_UNREPORTED = "dedupe/copies_unreported"
_TOO_LATE = "dedupe/copies_too_late_to_merge"
_FORGOTTEN = "dedupe/too_late_to_compare"
_COUNTED = 60_000_000
"""Microseconds for which a count waits for its transmitter's next frame."""
_MOST = 16
"""Times that are remembered of frames that differ in nothing else: a sequence number came round."""

Sent = int | tuple[int, ...]
"""When what passed was sent: one time, seldom several."""

_common = itemgetter("ta", "seq", "kind", "frag", "retry", "length", "ra")


@Pipeline.register_stage("dedupe")
class Dedupe(Stage):
    """Passes one frame for each transmission.

    Two frames are copies of one transmission if their transmitter, receiver, kind, sequence and
    fragment number, TID, retry flag, length and, in beacons, TSF are the same and their times are
    within `window_seconds`. Frames without a sequence number pass untouched.

    `first` passes the first copy at once; how many were dropped since then travels in
    `copies_dropped` with the transmitter's next frame; where none comes for a minute they count as
    `dedupe/copies_unreported` instead. `merge` holds a frame for the window and
    passes the copy with the best signal, with `copies` and `heard_by` (each sensor's best signal).
    So a flood of equal frames stays visible in the counts.

    Sensors that publish apart from each other may be heard one long after the other. What passed
    is remembered for `late_seconds` beyond the window, by the data's time; what comes later than
    that still passes, and counts as `dedupe/too_late_to_compare`. In `merge` what comes after its
    window waits for no other: a copy is dropped and counted as `dedupe/copies_too_late_to_merge`,
    a new frame passes at once.
    """

    window_seconds: float = option(2.0, "copies are at most this far apart", minimum=0)
    mode: Literal["first", "merge"] = option("first", "pass the first at once, or all as one later")
    late_seconds: float = option(
        10, "one sensor's frames may come this much later than another's, by the data", minimum=0
    )

    holds: ClassVar[bool] = True

    def __init__(self, stats: Stats, window_seconds: float, mode: str, late_seconds: float) -> None:
        self.window, self.late = int(window_seconds * 1e6), int(late_seconds * 1e6)
        self.remembered = 2 * self.window + self.late
        self.handle = self._merge if mode == "merge" else self._first  # type: ignore[method-assign]
        if mode == "merge":
            self.delay = self.window + 1
        self.order: deque[tuple[int, Any]] = deque()  # (until, key) of what `merge` holds

    @classmethod
    def state_key(cls, config: dict[str, Any]) -> list[str]:
        return ["ta"]

    def _first(self, message: Message) -> Message | None:
        key = _transmission(message)
        if key is None:
            return message
        state, time, ta = self.state, message["timestamp"], key[0]
        if time > state.now:
            state.now = time
        elif state.now - time > self.remembered:
            self.stats.incr(_FORGOTTEN)
        now = state.now  # a late frame's copies may be late too
        # Twice the window and more: a copy may arrive when time has moved on already.
        until = now + self.remembered + 1
        before = state.add(key, time, until)
        if before is not None:
            if self._is_copy(time, before):
                state.set(ta, (state.alive(ta) or self._forget(ta)) + 1, now + _COUNTED)
                return None
            state.set(key, _and(before, time), until)
        if ta in state:
            if state.alive(ta):
                message["copies_dropped"] = state.pop(ta)
            else:
                self._forget(ta)
        return message

    def _is_copy(self, time: int, sent: Sent) -> bool:
        if isinstance(sent, int):
            return abs(time - sent) <= self.window
        return any(abs(time - one) <= self.window for one in sent)

    def _forget(self, ta: str) -> int:
        """No frame of the transmitter came in time to carry its count."""
        count = self.state.pop(ta, 0)
        if count:
            self.stats.incr(_UNREPORTED, count)
        return 0

    def _merge(self, message: Message) -> Message | list[Message] | None:
        state, key = self.state, _transmission(message)
        time = message["timestamp"]
        if time is not None and time > state.now:
            state.now = time
        out = self._release(state.now) if self.order and self.order[0][0] <= state.now else []
        if key is None:
            return [*out, message] if out else message
        sensor, signal = message.get("sensor"), message.get("signal_dbm")
        value = state.get(key)
        # [time, best copy, {sensor: best signal}, copies, until, sent before]; else what was sent
        held = value if isinstance(value, list) else None
        if held is None or abs(time - held[0]) > self.window:
            sent = state.alive(key) if held is None else held[5]
            if sent is not None and self._is_copy(time, sent):
                self.stats.incr(_TOO_LATE)
                return out
            if held is not None:
                out.append(_merged(held))
                sent = _and(sent, held[0])
            until = time + self.delay
            held = [time, message, {sensor: signal}, 1, until, sent]
            if until <= state.now:  # too late to wait for others
                if until + self.late > state.now:
                    out.append(_merged(held))
                    state.set(key, _and(sent, time), state.now + self.window + self.late)
                    return out
                held[4] = until = state.now + self.delay  # of another time: copies come with it
            state.set(key, held, until)
            insort(self.order, (until, key), key=itemgetter(0))
            return out
        if _rank(message) > _rank(held[1]):
            held[1] = message
        known = held[2].get(sensor)
        if known is None or (signal is not None and signal > known):
            held[2][sensor] = signal
        held[3] += 1
        state.set(key, held, held[4])
        return out

    def _release(self, now: int) -> list[Message]:
        """What was held long enough, before anything that is later passes it."""
        out = []
        while self.order and self.order[0][0] <= now:
            until, key = self.order.popleft()
            held = self.state.get(key)
            if isinstance(held, list) and held[4] == until:
                self._remember(key, self.state.pop(key))
                out.append(_merged(held))
        return out

    def _remember(self, key: Any, held: list[Any]) -> None:
        if self.late:
            self.state.set(key, _and(held[5], held[0]), held[4] + self.window + self.late)

    def tick(self, now: int) -> Iterable[Message]:
        out: list[Message] = []
        for key, value, expires in self.state.expired(now):
            if isinstance(value, list):
                out.append(_merged(value))
                if expires <= now < NEVER:  # else it made room, or it is over
                    self._remember(key, value)
            elif not isinstance(key, tuple):
                self.stats.incr(_UNREPORTED, value)
        if self.order:
            self._release(now)  # all in `out`: only their order is forgotten
        return out

    def flush(self) -> Iterable[Message]:
        return self.tick(NEVER)

    def restored(self) -> None:
        if self.mode == "merge":
            held = ((v[4], key) for key, v in self.state.items() if isinstance(v, list))
            self.order = deque(sorted(held, key=itemgetter(0)))

    def adds(self) -> list[Field]:
        if self.mode == "first":
            return [Field("copies_dropped", "integer", "copies of its frames dropped before it")]
        return [
            Field("copies", "integer", "how many copies were heard"),
            Field("heard_by", "records", "sensor and signal_dbm of each that heard it"),
        ]


def _transmission(message: Message) -> tuple[Any, ...] | None:
    """What two copies have in common; None: a frame that can't be told from others."""
    get = message.get
    if get("seq") is None or get("timestamp") is None or get("type", "frame") != "frame":
        return None
    key: tuple[Any, ...] = _common(message)
    return None if key[0] is None else (*key, get("tsf" if key[2] == "BEACON" else "tid"))


def _and(sent: Sent | None, time: int) -> Sent:
    """What was sent, and one more."""
    if sent is None:
        return time
    return (*((sent,) if isinstance(sent, int) else sent), time)[-_MOST:]


def _rank(message: Message) -> tuple[Any, ...]:
    """The same copy wins in whatever order they come: best signal, then names, then the earliest."""
    signal = message.get("signal_dbm")
    order = -1000 if signal is None else signal
    return order, str(message.get("sensor")), str(message.get("id")), -message["timestamp"]


def _merged(held: list[Any]) -> Message:
    message: Message = Message(held[1])
    message["copies"] = held[3]
    message["heard_by"] = [
        {"sensor": sensor, "signal_dbm": signal}
        for sensor, signal in sorted(held[2].items(), key=lambda item: str(item[0]))
    ]
    return message
