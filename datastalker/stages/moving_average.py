"""`moving_average`: a signal jumps from frame to frame; its average tells near from far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datastalker.message import Field, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.stats import Stats


@Pipeline.register_stage("moving_average")
class MovingAverage(Stage):
    """Sets `FIELD_avg`: the mean of a field over the last `samples` frames of the same key.

    Samples older than `window_seconds` are left out. By default it is the signal per transmitter,
    and per sensor, since what two sensors measure has no meaningful mean.
    """

    field: str = option("signal_dbm", "the number to average", fields=True)
    key: list[str] = option(["ta", "sensor"], "fields whose values are averaged apart", fields=True)
    samples: int = option(10, "the mean of at most this many frames", minimum=1, maximum=1000)
    window_seconds: float = option(60, "that are at most this old", minimum=0)

    def __init__(
        self, stats: Stats, field: str, key: list[str], samples: int, window_seconds: float
    ) -> None:
        self.window = int(window_seconds * 1e6)
        self.target = f"{field}_avg"

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if not config["key"]:
            yield "key", "name at least one field"

    @classmethod
    def state_key(cls, config: dict[str, Any]) -> list[str]:
        return list(config["key"])

    def handle(self, message: Message) -> Message:
        get = message.get
        value, time = get(self.field), get("timestamp")
        if get(self.key[0]) is None or time is None or not isinstance(value, (int, float)):
            return message
        key = tuple(map(get, self.key))
        state = self.state
        if time > state.now:
            state.now = time
        oldest = time - self.window
        samples = [s for s in state.alive(key) or () if s[0] >= oldest]
        samples.append([time, value])
        if len(samples) > self.samples:
            del samples[0]
        state.set(key, samples, state.now + self.window + 1)
        message[self.target] = round(sum([s[1] for s in samples]) / len(samples), 2)
        return message

    def adds(self) -> list[Field]:
        return [Field(self.target, "number", f"moving average of {self.field}")]
