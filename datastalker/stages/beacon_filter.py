"""`beacon_filter`: an access point sends ten beacons a second; few of them say anything new."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from datastalker.message import Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.stats import Stats

_says = itemgetter("security", "group_cipher", "pairwise_ciphers", "akms", "pmf", "rates_kbps")
"""What a beacon announces: a change of any of these, or of the channel, passes."""
_CHANGES = 8
"""So often in `min_time_between_seconds` a transmitter's return to an SSID it had before is news;
one that goes on has several names in turn."""
_KEEP = 3_600_000_000
"""Microseconds of silence after which an access point is new again."""


@Pipeline.register_stage("beacon_filter")
class BeaconFilter(Stage):
    """Holds back beacons that repeat what is known; everything else passes.

    The first beacon of a (transmitter, SSID) passes, so does any change of SSID, channel, security
    or rates, a signal that differs by `max_signal_deviation_db` or more from the last one passed
    of the same sensor, and one beacon every `min_time_between_seconds`. The one that passes
    carries in `beacons_held_back` how many were held back since the one before. Put `dedupe` in
    front where several sensors hear the same air.
    """

    max_signal_deviation_db: float = option(
        15, "a change of signal of at least this many dB passes", minimum=0
    )
    min_time_between_seconds: float = option(
        120, "one beacon passes after this many seconds, changed or not", minimum=0
    )

    def __init__(
        self, stats: Stats, max_signal_deviation_db: float, min_time_between_seconds: float
    ) -> None:
        self.interval = int(min_time_between_seconds * 1e6)
        self.keep = self.interval + _KEEP

    @classmethod
    def state_key(cls, config: dict[str, Any]) -> list[str]:
        return ["ta"]

    def handle(self, message: Message) -> Message | None:
        get = message.get
        if get("kind") != "BEACON" or get("type", "frame") != "frame":
            return message
        time = get("timestamp")
        if time is None:
            return message
        state, sensor, signal = self.state, get("sensor"), get("signal_dbm")
        key = (get("ta"), get("ssid"), get("ssid_hex"))
        channel = get("bss_channel") or get("channel")  # none announced: where it was heard
        says = [channel, *_says(message)]
        if time > state.now:
            state.now = time
        last = state.alive(key)  # [time, says, {sensor: signal}, held back, is its last beacon's]
        if last is None:
            self._forget(state.pop(key))
        expires = state.now + self.keep
        news = (last is None or not last[4]) and self._is_news(key, time, expires)
        if last is None:
            signals = {sensor: signal}
        else:
            signals = last[2]
            before = signals.get(sensor)  # what two sensors measure is never compared
            if (
                not news
                and says == last[1]
                and abs(time - last[0]) < self.interval
                and (
                    signal is None
                    or before is None
                    or abs(signal - before) < self.max_signal_deviation_db
                )
            ):
                if before is None:
                    signals[sensor] = signal
                last[3] += 1
                last[4] = True
                state.set(key, last, expires)
                return None
            if last[3]:
                message["beacons_held_back"] = last[3]
            if signal is not None:
                signals[sensor] = signal
            state.set(key[0], state.alive(key[0]), expires)
        state.set(key, [time, says, signals, 0, True], expires)
        return message

    def _is_news(self, key: tuple[Any, ...], time: int, expires: int) -> bool:
        """Whether another SSID than in the transmitter's last beacon is a change."""
        state, ta, ssid = self.state, key[0], list(key[1:])
        before, since, changes = state.alive(ta) or (ssid, time, -1)
        other = state.get((ta, *before))
        if other is not None:
            other[4] = False
            state.set((ta, *before), other, expires)
        if abs(time - since) >= self.interval:
            since, changes = time, 0
        state.set(ta, [ssid, since, changes + 1], expires)
        return bool(changes < _CHANGES)

    def tick(self, now: int) -> Iterable[Message]:
        for key, value, _ in self.state.expired(now):
            if isinstance(key, tuple):
                self._forget(value)
        return ()

    def _forget(self, last: list[Any] | None) -> None:
        """An access point fell silent, or made room for others: nothing is left to carry its count."""
        if last is not None and last[3]:
            self.stats.incr("beacon_filter/held_back_unreported", last[3])

    def adds(self) -> list[Field]:
        return [Field("beacons_held_back", "integer", "beacons like this not passed before it")]
