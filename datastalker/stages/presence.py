"""`presence`: who came, who is here, who went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from datastalker.message import FRAME_FIELDS, Message
from datastalker.options import option
from datastalker.oui import LOCAL_DIGITS
from datastalker.pipeline import Pipeline, Stage
from datastalker.stats import Stats

_ADDRESSES = {name for name, field in FRAME_FIELDS.items() if field.type == "address"}
_GROUP_DIGITS = frozenset("13579bdfBDF")
_MOST = 32  # names remembered of what a device probed for: a hostile one may make up any number


@Pipeline.register_stage("presence")
class Presence(Stage):
    """Passes every message, and beside them events of type `presence`: NEW, ACTIVE, ABSENT.

    A device is NEW once it was heard `min_sightings` times over at least `arrive_after_seconds`;
    ACTIVE every `active_every_seconds` while it is heard; ABSENT when nothing was heard of it for
    `absent_after_seconds`. An event's time comes from the device's own frames (ABSENT is at last
    seen + delay), however late it is noticed; time is the data's, so a sensor that died is no
    empty house. Group addresses are no devices. A device still here at the end of the input stays.
    """

    key: str | list[str] = option("ta", "field, or fields, that tell devices apart", fields=True)
    absent_after_seconds: float = option(300, "absent after this long without a frame", minimum=0)
    arrive_after_seconds: float = option(0, "new only when heard for this long", minimum=0)
    min_sightings: int = option(1, "new only after this many frames", minimum=1)
    min_signal_dbm: float | None = option(None, "frames weaker than this don't count", maximum=0)
    active_every_seconds: float | None = option(
        300, "an ACTIVE event this often; null: none", minimum=1
    )
    ignore_randomized: bool = option(False, "leave locally administered addresses out")

    def __init__(self, stats: Stats, key: str | list[str], **options: Any) -> None:
        self.keys = [key] if isinstance(key, str) else key
        self.leave = int(self.absent_after_seconds * 1e6)
        self.arrive = int(self.arrive_after_seconds * 1e6)
        self.every = int((self.active_every_seconds or 0) * 1e6)

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if not config["key"]:
            yield "key", "name at least one field"

    emits: ClassVar[tuple[str, ...]] = ("presence",)

    @classmethod
    def state_key(cls, config: dict[str, Any]) -> list[str]:
        key = config["key"]
        return [key] if isinstance(key, str) else list(key)

    def handle(self, message: Message) -> Message | list[Message]:
        if message.get("type", "frame") != "frame":
            return message
        signal = message.get("signal_dbm")
        minimum = self.min_signal_dbm
        if minimum is not None and (signal is None or signal < minimum):
            return message
        key = self._device(message)
        if key is None:
            return message
        time = message.get("timestamp")
        if time is None:
            return message
        state = self.state
        if time > state.now:
            state.now = time
        stay = state.alive(key)
        events: list[Message] = []
        if stay is None or time - stay["last"] >= self.leave:
            over = state.pop(key)
            if over is not None:
                events += self._absent(key, over)
            stay = _new_stay(time)
        self._sighting(stay, message, time, signal)
        state.set(
            key, stay, state.now + self.leave
        )  # one that comes late was heard now all the same
        if stay["told"] is None:
            if stay["n"] >= self.min_sightings and stay["last"] - stay["first"] >= self.arrive:
                events.append(self._event("NEW", key, stay, time))
                stay["told"] = time
        elif self.every and time - stay["told"] >= self.every:
            events.append(self._event("ACTIVE", key, stay, time))
            stay["told"] = time
        return [*events, message] if events else message

    def tick(self, now: int) -> Iterable[Message]:
        events: list[Message] = []
        for key, stay, expires in self.state.expired(now):
            if expires <= now:
                events += self._absent(str(key), stay)
            else:  # it made room for others: forgotten, but not known to have gone
                self.stats.incr("presence/forgotten")
        return events

    def _device(self, message: Message) -> str | None:
        values = []
        for name in self.keys:
            value = message.get(name)
            if value is None:
                return None
            text = str(value)
            digit = _digit(name, text)
            if digit in _GROUP_DIGITS or (self.ignore_randomized and digit in LOCAL_DIGITS):
                return None
            values.append(text)
        return " ".join(values)

    def _sighting(self, stay: dict[str, Any], message: Message, time: int, signal: Any) -> None:
        get = message.get
        stay["n"] += 1
        stay["first"] = min(stay["first"], time)
        stay["last"] = max(stay["last"], time)
        if signal is not None:
            stay["sum"] += signal
            stay["signals"] += 1
            if stay["max"] is None or signal > stay["max"]:
                stay["max"] = signal
        if get("kind") == "PROBE_REQ":
            _remember(stay["ssids"], get("ssid"))
        else:
            bssid = get("bssid")
            if bssid != "ff:ff:ff:ff:ff:ff":
                _remember(stay["bssids"], bssid)
        _remember(stay["sensors"], get("sensor"))
        if stay["oui"] is None:
            stay["oui"] = get(f"{self.keys[0]}_oui")

    def _absent(self, key: str, stay: dict[str, Any]) -> list[Message]:
        if stay["told"] is None:
            return []
        return [self._event("ABSENT", key, stay, stay["last"] + self.leave)]

    def _event(self, event: str, key: str, stay: dict[str, Any], time: int) -> Message:
        count = stay["signals"]
        digit = _digit(self.keys[0], key)
        values = {
            "type": "presence",
            "timestamp": time,
            "id": f"{key}-{event}-{time}",
            "event": event,
            "key": key,
            "first_seen": stay["first"],
            "last_seen": stay["last"],
            "sightings": stay["n"],
            "signal_avg_dbm": round(stay["sum"] / count) if count else None,
            "signal_max_dbm": stay["max"],
            "ssids": sorted(stay["ssids"]),
            "bssids": sorted(stay["bssids"]),
            "sensors": sorted(stay["sensors"]),
            "randomized": digit in LOCAL_DIGITS if digit else None,
            "oui": stay["oui"],
        }
        return Message({name: value for name, value in values.items() if value is not None})


def _digit(name: str, value: str) -> str:
    """The digit of an address that tells whose it is: a group's, made up, a vendor's; else none."""
    return value[1:2] if name in _ADDRESSES and value[2:3] == ":" else ""


def _new_stay(time: int) -> dict[str, Any]:
    """What is known of one stay: `n` sightings; `told`, when the last event said so."""
    return {
        "first": time,
        "last": time,
        "n": 0,
        "sum": 0,
        "signals": 0,
        "max": None,
        "ssids": [],
        "bssids": [],
        "sensors": [],
        "told": None,
        "oui": None,
    }


def _remember(names: list[str], name: Any) -> None:
    if name and name not in names and len(names) < _MOST:
        names.append(str(name))
