"""`dedupe`: what several sensors heard of one transmission becomes one frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from datastalker.message import Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.state import NEVER
from datastalker.stats import Stats


@Pipeline.register_stage("dedupe")
class Dedupe(Stage):
    """Passes one frame for each transmission.

    Two frames are copies of one transmission if their transmitter, kind, sequence and fragment
    number, TID, retry flag, length and, in beacons, TSF are the same and their times are within
    `window_seconds`. Frames without a sequence number pass untouched.

    `first` passes the first copy at once; how many were dropped since then travels in
    `copies_dropped` with the transmitter's next frame. `merge` holds a frame for the window and
    passes the copy with the best signal, with `copies` and `heard_by` (each sensor's best signal).
    So a flood of equal frames stays visible in the counts.
    """

    window_seconds: float = option(2.0, "copies are at most this far apart", minimum=0)
    mode: Literal["first", "merge"] = option("first", "pass the first at once, or all as one later")

    holds: ClassVar[bool] = True

    def __init__(self, stats: Stats, window_seconds: float, mode: str) -> None:
        self.window = int(window_seconds * 1e6)
        self.handle = self._merge if mode == "merge" else self._first  # type: ignore[method-assign]

    def _key(self, message: Message) -> tuple[Any, ...] | None:
        get = message.get
        seq, ta = get("seq"), get("ta")
        if seq is None or ta is None:
            return None
        kind = get("kind")
        return (
            ta, seq, kind, get("frag"), get("retry"), get("length"), get("tid"),
            get("tsf") if kind == "BEACON" else None,
        )  # fmt: skip

    def _first(self, message: Message) -> Message | None:
        key = self._key(message)
        if key is None:
            return message
        time = message.get("timestamp", 0)
        before = self.state.get(key)
        ta = key[0]
        if before is not None and abs(time - before) <= self.window:
            self.state.set(ta, self.state.get(ta, 0) + 1, time + 60_000_000)
            return None
        # Kept for twice the window: a copy may arrive when time has moved on already.
        self.state.set(key, time, time + 2 * self.window)
        dropped = self.state.pop(ta)
        if dropped:
            message["copies_dropped"] = dropped
        return message

    def _merge(self, message: Message) -> Message | list[Message] | None:
        key = self._key(message)
        if key is None:
            return message
        time = message.get("timestamp", 0)
        sensor, signal = message.get("sensor"), message.get("signal_dbm")
        held = self.state.get(key)  # [time, best copy, {sensor: best signal}, copies]
        released: list[Message] = []
        if held is not None and abs(time - held[0]) > self.window:
            released, held = [_merged(self.state.pop(key))], None
        if held is None:
            self.state.set(key, [time, message, {sensor: signal}, 1], time + self.window)
            return released or None
        if _rank(message) > _rank(held[1]):
            held[1] = message
        if signal is not None:
            known = held[2].get(sensor)
            held[2][sensor] = signal if known is None else max(known, signal)
        else:
            held[2].setdefault(sensor, None)
        held[3] += 1
        self.state.set(key, held, held[0] + self.window)
        return released or None

    def tick(self, now: int) -> Iterable[Message]:
        due = self.state.expired(now)
        if self.mode == "merge":
            return [_merged(held) for _, held, _ in due]
        return ()

    def flush(self) -> Iterable[Message]:
        return self.tick(NEVER)

    def adds(self) -> list[Field]:
        if self.mode == "first":
            return [Field("copies_dropped", "integer", "copies of its frames dropped before it")]
        return [
            Field("copies", "integer", "how many copies were heard"),
            Field("heard_by", "records", "sensor and signal_dbm of each that heard it"),
        ]


def _rank(message: Message) -> tuple[int, str, str]:
    """The same copy wins in whatever order they come: best signal, then names."""
    signal = message.get("signal_dbm")
    order = -1000 if signal is None else signal
    return order, str(message.get("sensor")), str(message.get("id"))


def _merged(held: list[Any]) -> Message:
    message: Message = Message(held[1])
    message["copies"] = held[3]
    message["heard_by"] = [
        {"sensor": sensor, "signal_dbm": signal}
        for sensor, signal in sorted(held[2].items(), key=lambda item: str(item[0]))
    ]
    return message
