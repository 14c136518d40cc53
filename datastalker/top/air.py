"""The air as a live view shows it: networks, devices, sensors, events, gathered from messages.

Time is the data's: `now` is the greatest timestamp, or what a live source says. Memory is bounded,
whatever is sent: see `remembered`. Texts are kept as they came: who shows them makes them harmless.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp
from types import NoneType
from typing import Any

from datastalker.clock import WRONG
from datastalker.message import Message
from datastalker.top.remembered import History, Remembered

_GROUP = frozenset("13579bdfBDF")
_AVERAGED = 5e6  # microseconds over which a rate is averaged
_FEW, _LONGEST = 16, 64  # of what a stranger may send any number of; characters of a name
_SENSORS, _EVENTS = 256, 1000
_NETWORK_KINDS = frozenset(("BEACON", "PROBE_RESP"))
_JOINING = frozenset(("ASSOC_REQ", "REASSOC_REQ"))
_EVERYBODY = "ff:ff:ff:ff:ff:ff"
_TEXTS = ("sensor", "kind", "ta", "bssid", "ssid", "security", "ta_oui")
_NUMBERS = ("channel", "bss_channel")


@dataclass(slots=True)
class Pace:
    """How often something comes: a count that cools down."""

    first: int = 0
    last: int = 0
    count: int = 0
    _heat: float = 0.0

    def add(self, time: int) -> None:
        """It came, at `time`; it may come late."""
        if time > self.last:
            if self.count:
                self._heat *= exp((self.last - time) / _AVERAGED)
            else:
                self.first = time
            self.last = time
        self._heat += 1
        self.count += 1

    def rate(self, now: int) -> float:
        """So many a second, lately."""
        if not self.count:
            return 0.0
        known = 1 - exp(-max(now - self.first, 1e6) / _AVERAGED)
        return self._heat * exp(min(0, self.last - now) / _AVERAGED) / (_AVERAGED / 1e6) / known


@dataclass(slots=True)
class Heard:
    """A device as one sensor hears it."""

    signal: int
    frames: int = 0
    history: History = field(default_factory=History)


@dataclass(slots=True)
class Device:
    """A transmitter, access points included."""

    address: str
    pace: Pace = field(default_factory=Pace)
    access_point: bool = False
    vendor: str | None = None
    bssid: str = ""
    """The access point that it last sent something to."""
    channel: int | None = None
    presence: str = ""
    bssids: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    sensors: dict[str, Heard] = field(default_factory=dict)

    @property
    def signal(self) -> int | None:
        """Where it is heard best, lately."""
        return max((heard.signal for heard in self.sensors.values()), default=None)


@dataclass(slots=True)
class Network:
    """An access point under one name; `ssid` is empty where it hides it."""

    bssid: str
    ssid: str
    channel: int | None = None
    security: str = ""
    beacons: int = 0
    revealed: str = ""
    """The name of a hidden one, if somebody has said it."""
    pace: Pace = field(default_factory=Pace)


@dataclass(slots=True)
class Sensor:
    """Who hears, and what it last said of itself."""

    name: str
    pace: Pace = field(default_factory=Pace)
    channels: Counter[int] = field(default_factory=Counter)
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody came or went, an alert, a line of the log."""

    time: int
    what: str
    who: str
    text: str


class Air:
    """All of it. `take` is called by one thread at a time."""

    def __init__(self) -> None:
        self.networks: Remembered[Network] = Remembered()
        self.devices: Remembered[Device] = Remembered()
        self.sensors: dict[str, Sensor] = {}
        self.events: deque[Event] = deque(maxlen=_EVENTS)
        self.pace = Pace()
        self.now = 0
        self.odd = 0
        """Messages that hold what no message of the contract can."""

    def take(self, messages: Iterable[Message], now: int | None = None) -> None:
        """Gather from messages. `now`: what time it is, where the source knows better than they."""
        for message in messages:
            try:
                if message.get("type", "frame") == "frame":
                    self._frame(message)
                else:
                    self._other(message)
            except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError):
                self.odd += 1
        if now is not None:
            self.now = now

    def _frame(self, frame: Message) -> None:
        get = frame.get
        signal = _checked(frame)
        time = self.now if WRONG in frame else int(get("timestamp", self.now))
        if time > self.now:
            self.now = time
        self.pace.add(time)
        sensor, channel = get("sensor") or "", get("channel")
        self._sensor(sensor).pace.add(time)
        if channel is not None:
            self.sensors[sensor].channels[channel] += 1
        ta, kind = get("ta"), get("kind") or "RESERVED"
        if not ta or ta[1] in _GROUP:
            return
        device = self.devices.use(ta) or self.devices.add(ta, Device(ta))
        device.pace.add(time)
        device.kinds[kind] += 1
        device.vendor = get("ta_oui") or device.vendor
        device.channel = channel or device.channel
        if signal is not None:
            heard = device.sensors.get(sensor)
            if heard is None and len(device.sensors) < _FEW:
                heard = device.sensors[sensor] = Heard(signal)
            if heard is not None:
                heard.signal = signal
                heard.frames += 1
                heard.history.add(time // 1_000_000, signal)
        if kind in _NETWORK_KINDS:
            self._network(frame, device, time)
        elif kind == "PROBE_REQ":
            _remember(device.probes, get("ssid"))
        elif get("to_ds") or kind in _JOINING:
            bssid = get("bssid")
            if bssid and bssid != _EVERYBODY and bssid != ta:
                device.bssid = bssid
                _remember(device.bssids, bssid)
            if kind in _JOINING:
                self._reveal(bssid, get("ssid"))

    def _network(self, frame: Message, device: Device, time: int) -> None:
        get, bssid = frame.get, device.address
        device.access_point = True
        ssid = str(get("ssid") or "").strip("\0")[:_LONGEST]
        beacon = get("kind") == "BEACON"
        if not beacon and (bssid, "") in self.networks:
            self._reveal(bssid, ssid)
            return
        network = self.networks.use((bssid, ssid))
        if network is None:
            network = self.networks.add((bssid, ssid), Network(bssid, ssid))
        network.pace.add(time)
        if beacon:
            network.beacons += 1 + int(get("beacons_held_back") or 0)
        network.channel = get("bss_channel") or get("channel") or network.channel
        network.security = get("security") or network.security

    def _reveal(self, bssid: str | None, ssid: str | None) -> None:
        network = self.networks.get((bssid, ""))
        if network is not None and ssid:
            network.revealed = str(ssid)[:_LONGEST]

    def _sensor(self, name: str) -> Sensor:
        sensor = self.sensors.get(name)
        if sensor is None:
            if len(self.sensors) >= _SENSORS:
                del self.sensors[min(self.sensors, key=lambda n: self.sensors[n].pace.last)]
            sensor = self.sensors[name] = Sensor(name)
        return sensor

    def _other(self, message: Message) -> None:
        kind, time = message.type, int(message.get("timestamp") or self.now)
        who = str(message.get("key") or message.get("sensor") or "")
        if kind == "sensor":
            sensor = self._sensor(who)
            sensor.status = _status(message)
            return
        if kind == "presence":
            what = str(message.get("event") or "")
            device = self.devices.get(who)
            if device is not None:
                device.presence = what
            if what == "ACTIVE":
                return
            text = str(message.get("oui") or "")
        else:
            what = str(message.get("alert") or kind)
            text = str(message.get("text") or "")
        self.events.append(Event(time, what, who, text))


def _checked(frame: Message) -> int | None:
    """Its signal, of which a stage may have made an average.

    Raises TypeError, ValueError where a key that is shown is not what the contract says: topics
    promise that, a tap or a stage of somebody's own does not.
    """
    for keys, kind in ((_TEXTS, str), (_NUMBERS, int)):
        for key in keys:
            if not isinstance(frame.get(key), (kind, NoneType)):
                raise TypeError(key)
    signal = frame.get("signal_dbm")
    return None if signal is None else round(signal)


def _status(message: Message) -> dict[str, Any]:
    """What is shown of a sensor's status: numbers, its state, how its interfaces are."""
    found: dict[str, Any] = {
        key: value for key, value in message.items() if isinstance(value, (int, float))
    }
    state, interfaces = message.get("state"), message.get("interfaces")
    found["state"] = state if isinstance(state, str) else ""
    listed = interfaces if isinstance(interfaces, list) else []
    found["interfaces"] = [each for each in listed if isinstance(each, str)]
    return found


def _remember(names: list[str], name: str | None) -> None:
    """The latest few, the latest last."""
    if name:
        name = str(name)[:_LONGEST]
        if name in names:
            if names[-1] == name:
                return
            names.remove(name)
        elif len(names) >= _FEW:
            del names[0]
        names.append(name)
