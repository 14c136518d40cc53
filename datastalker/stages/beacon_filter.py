"""`beacon_filter`: an access point sends ten beacons a second; few of them say anything new."""

from __future__ import annotations

from datastalker.message import Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage

_SAYS = (
    "bss_channel", "security", "group_cipher", "pairwise_ciphers", "akms", "pmf", "rates_kbps",
    "ssid_hex",
)  # fmt: skip
"""What a beacon announces: a change of any of these passes."""


@Pipeline.register_stage("beacon_filter")
class BeaconFilter(Stage):
    """Holds back beacons that repeat what is known; everything else passes.

    The first beacon of a (transmitter, SSID) passes, so does any change of SSID, channel, security
    or rates, a signal that differs by `max_signal_deviation_db` or more from the last one passed,
    and one beacon every `min_time_between_seconds`. The one that passes carries in
    `beacons_held_back` how many were held back since the one before. Put `dedupe` in front where
    several sensors hear the same air.
    """

    max_signal_deviation_db: float = option(
        15, "a change of signal of at least this many dB passes", minimum=0
    )
    min_time_between_seconds: float = option(
        120, "one beacon passes after this many seconds, changed or not", minimum=0
    )

    def handle(self, message: Message) -> Message | None:
        if message.get("kind") != "BEACON":
            return message
        get = message.get
        key = (get("ta"), get("ssid"))
        time, sensor, signal = get("timestamp", 0), get("sensor"), get("signal_dbm")
        says = [get(name) for name in _SAYS]
        if says[0] is None:  # no channel announced: where it was heard
            says[0] = get("channel")
        interval = int(self.min_time_between_seconds * 1e6)
        last = self.state.get(key)  # [time, says, {sensor: signal}, held back]
        signals = {} if last is None else last[2]
        repeats = (
            last is not None
            and says == last[1]
            and abs(time - last[0]) < interval
            and not self._moved(signal, signals.get(sensor))
        )
        if repeats:
            last[3] += 1
            signals.setdefault(sensor, signal)
        else:
            if last is not None and last[3]:
                message["beacons_held_back"] = last[3]
            if signal is not None or sensor not in signals:
                signals[sensor] = signal
            last = [time, says, signals, 0]
        self.state.set(key, last, time + 2 * interval + 60_000_000)
        return None if repeats else message

    def _moved(self, signal: int | None, before: int | None) -> bool:
        """What two sensors measure is never compared: that would be no change of the signal."""
        if signal is None or before is None:
            return False
        return abs(signal - before) >= self.max_signal_deviation_db

    def adds(self) -> list[Field]:
        return [Field("beacons_held_back", "integer", "beacons like this not passed before it")]
