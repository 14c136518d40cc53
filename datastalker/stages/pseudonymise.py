"""`pseudonymise`: other addresses for the devices' own, before anybody sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from datastalker.address import ADDRESS
from datastalker.message import FIELDS, FRAME_FIELDS, KNOWN_KEYS, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Stage
from datastalker.pseudonyms import Pseudonyms
from datastalker.stats import Stats

_DAY = 86_400 * 1_000_000
_LENGTHS = {"day": (_DAY, 0), "week": (7 * _DAY, 3 * _DAY)}  # 1970-01-01 was a Thursday
_SHORTEST_KEY = 16
_PERIODS = 3  # that are remembered: frames come late, and sensors' clocks differ
_SHAPES = 512

_ADDRESSES = frozenset(name for name, field in FRAME_FIELDS.items() if field.type == "address")
_REMOVED = ("wps_device_name", "wps_uuid")
_SEARCHED = ("interface", "file", "wps_manufacturer", "wps_model_name", "wps_model_number")
"""Keys of a frame whose text may hold an address: a USB card's interface is named by its own."""
_PLAIN = (KNOWN_KEYS | {"type", "heard_by"}) - _ADDRESSES - {*_SEARCHED, *_REMOVED}
_OF_SENSORS = frozenset(("type", "sensor", "sensors", "labels", "heard_by", "oui"))
_NEEDED = frozenset(("type", "id", "key", "event", "sensor", "sensors"))


def _too_short(key: str) -> str | None:
    length = len(key.strip())  # a file of blanks would be a key that everyone has
    if length >= _SHORTEST_KEY:
        return None
    return (
        f"has {length} characters, and needs {_SHORTEST_KEY} at least; make a key with "
        "`openssl rand -hex 32`, keep it in a file that nobody else reads, and give "
        "${file:PATH}"
    )


@Pipeline.register_stage("pseudonymise")
class Pseudonymise(Stage):
    """Puts a pseudonym in the place of each address and SSID, the same on all sensors with the key.

    An address becomes an address, so all that stands below works: HMAC-SHA-256 of it and of the day
    or week of the message's own time (UTC), with its group bit; broadcast stays. `wps_device_name`,
    `wps_uuid` and `ssid_hex` are removed. In messages of other types, and in keys that stages and
    plug-ins set, addresses are found in texts too. Names of sensors and labels stay. A message without
    a time belongs to the period of the one before it. Every message passes.
    """

    key: str = option(
        help="the secret, at least 16 characters: ${NAME} or ${file:PATH}; whoever has it can tell "
        "whose pseudonym is whose",
        check=_too_short,
        secret=True,
    )
    rotate: Literal["day", "week", "never"] = option(
        "day", "other pseudonyms each day, each week (from Monday), or never; by UTC"
    )
    keep_oui: bool = option(
        False, "keep the first three octets, which name the vendor, of addresses not made up"
    )
    keep_local_bit: bool = option(
        True, "keep the bit that says an address is made up; false: all pseudonyms have it"
    )
    keep_ssids: bool = option(False, "leave the names of networks as they are")
    keys: list[str] = option(
        [], "further keys whose text becomes a pseudonym, such as hostname", fields=True
    )

    example: ClassVar[dict[str, Any]] = {"key": "${PSEUDONYM_KEY}"}
    hides: ClassVar[bool] = True

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if config["keep_oui"] and not config["keep_local_bit"]:
            yield "keep_local_bit", "'keep_oui' keeps that bit as well; leave one of them out"
        for name in config["keys"]:
            known = [fields[name] for fields in FIELDS.values() if name in fields]
            if name in _NEEDED or any(field.type not in ("text", "address") for field in known):
                yield "keys", f"'{name}' can't become a pseudonym; use strip if it is to go"

    def __init__(self, stats: Stats, key: str, rotate: str, **options: Any) -> None:
        self._secret = key.encode()
        del self.key  # nobody who shows a stage's options is to show it
        self._length, self._offset = _LENGTHS.get(rotate, (0, 0))
        self._periods: dict[int, _Period] = {}
        self._turn(0)

    def _turn(self, time: int) -> None:
        """Take the pseudonyms of the period that a time lies in."""
        length, offset = self._length, self._offset
        number = (time + offset) // length if length else 0
        self._begins: float = number * length - offset if length else float("-inf")
        self._ends: float = self._begins + length if length else float("inf")
        period = self._periods.get(number)
        if period is None:
            if len(self._periods) >= _PERIODS:
                del self._periods[next(iter(self._periods))]
            period = self._periods[number] = _Period(self, f"{self.rotate} {number}")
        self._period = period

    def handle(self, message: Message) -> Message:
        time = message.get("timestamp")
        if time is not None and not self._begins <= time < self._ends:
            self._turn(time)
        if not self.keep_ssids:
            raw = message.pop("ssid_hex", None)
            if raw and message.get("ssid"):
                message["ssid"] = _bytes(raw) or message["ssid"]
        if message.get("type", "frame") != "frame":
            return self._period.other(message)
        for key, rename in self._period.steps(tuple(message)):
            if rename is None:
                del message[key]
            else:
                message[key] = rename(message[key])
        return message


Rename = Callable[[Any], Any] | None
"""What makes a key's new value of its value; None: the key goes."""


class _Period:
    """The pseudonyms of a period, and what is done to which key."""

    def __init__(self, stage: Pseudonymise, period: str) -> None:
        self._stage = stage
        self._pseudonyms = Pseudonyms(
            stage._secret,
            period,
            keep_oui=stage.keep_oui,
            keep_local_bit=stage.keep_local_bit,
        )
        self._shapes: dict[tuple[str, ...], list[tuple[str, Rename]]] = {}

    def steps(self, keys: tuple[str, ...]) -> list[tuple[str, Rename]]:
        """What is to be done to a frame with these keys: most have the same, so it is remembered."""
        steps = self._shapes.get(keys)
        if steps is None:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            plain = _PLAIN - {"ssid"} - set(self._stage.keys)
            steps = self._shapes[keys] = [
                (key, self._rename(key))
                for key in keys
                if key not in plain and not (key == "ssid" and self._stage.keep_ssids)
            ]
        return steps

    def _rename(self, key: str) -> Rename:
        pseudonyms = self._pseudonyms
        if key in _ADDRESSES:
            return pseudonyms.addresses.__getitem__
        if key in self._stage.keys:
            return self._name
        if key in _REMOVED:
            return None
        if key in ("ssid", "ssids", "ssid_hex") and self._stage.keep_ssids:
            return lambda value: value
        if key == "ssid":
            return pseudonyms.ssids.__getitem__
        if key == "ssids":
            return lambda names: sorted(pseudonyms.ssids[name] for name in names or ())
        return pseudonyms.texts.__getitem__ if key in _SEARCHED else pseudonyms.anything

    def _name(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._name(item) for item in value]
        return value if value is None else self._pseudonyms.names[str(value)]

    def other(self, message: Message) -> Message:
        """A message that is no frame: its `id` may begin with its `key`, and its key be anything
        that told devices apart."""
        before = message.get("key")
        for key in [key for key in message if key not in _OF_SENSORS]:
            rename = self._rename(key)
            if rename is None:
                del message[key]
            elif key not in ("key", "id"):
                message[key] = rename(message[key])
        if isinstance(before, str):
            message["key"] = self._key(message.type, before)
        identity = message.get("id")
        if isinstance(identity, str):
            texts = self._pseudonyms.texts
            if before and isinstance(before, str) and identity.startswith(before):
                message["id"] = message["key"] + texts[identity[len(before) :]]
            else:
                message["id"] = texts[identity]
        return message

    def _key(self, kind: str, key: str) -> str:
        """Of presence it may be an SSID, or have one in it, and nothing says where it ends."""
        if kind == "presence" and not self._stage.keep_ssids and ADDRESS.sub("", key).strip():
            return str(self._pseudonyms.names[key])
        return str(self._pseudonyms.texts[key])


def _bytes(raw: Any) -> bytes | None:
    try:
        return bytes.fromhex(raw)
    except (TypeError, ValueError):
        return None
