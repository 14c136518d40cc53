"""The doctor's look at the clock: does it tell the time, does anybody set it, what says the broker?"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

from capture_agent.clock import Clock
from capture_agent.outbox import KafkaOutbox, Parcel
from datastalker import clock
from datastalker.broker import connect
from datastalker.config import Config
from datastalker.errors import DataStalkerError
from datastalker.finding import Finding, failed, of_error, ok, warning
from datastalker.segments import sensors_topic

_KEY = b"stalk doctor"
_SAMPLES = 4
_SECONDS = 6.0
_UNSYNC = 0x40
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """The beginning of what adjtimex fills, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def own() -> Iterator[Finding]:
    """What this machine knows itself."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if time.time() * 1e6 < clock.WRITTEN:
        cause = "it was never set: no NTP client has reached a server, no battery keeps it"
        yield failed("clock", f"it says {now}", cause, "timedatectl set-ntp true, or date --set")
        return
    synchronised = _synchronised()
    if synchronised is False:
        cause = "as far as the kernel knows, no NTP client has set it; it will drift"
        yield warning("clock", f"it says {now}", cause, "timedatectl set-ntp true (or chrony)")
    else:
        known = ", set by NTP" if synchronised else "; whether NTP sets it is not known here"
        yield ok("clock", f"{now}{known}")


def _synchronised() -> bool | None:
    """Whether the kernel's clock is being set. None: it does not say (a sandbox, another system)."""
    try:
        told = _Timex(0)
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR and not told.status & _UNSYNC


def broker(config: Config) -> Iterator[Finding]:
    """How far the clock is from the broker's, measured as an agent does, and with it whether the
    broker takes what an agent writes: tombstones under a key of our own, which leave nothing."""
    about, topic = "clock and broker", sensors_topic(config).name
    try:
        with connect(config, _SECONDS) as found:
            there = found.describe([topic])
    except DataStalkerError:
        cause, remedy = "the broker can't be used, or does not show its topics", "see `broker`"
        yield warning(about, "not measured", cause, remedy)
        return
    if topic not in there:
        remedy = f"stalk topics apply -c {config.file}"
        yield warning(about, "not measured", f"topic {topic} is missing", remedy)
        return
    measured = Clock()
    try:
        said = _write(config, topic, measured)
    except DataStalkerError as error:
        yield of_error(about, f"{topic} can't be written", error, "correct what is under kafka:")
        return
    if said is not None:
        remedy = "give kafka: sasl_username the right to write there (ACL), or see to the broker"
        yield failed(about, f"{topic} can't be written", said, remedy)
        return
    offset = measured.offset()
    if offset is None:
        cause = f"topic {topic} has not the broker's time on its messages"
        yield warning(about, "not measured", cause, f"stalk topics apply -c {config.file}")
        return
    text = f"{measured.in_words()} (± {offset.error_ms:,.0f} ms)"
    limit = config.agent["clock_alert_seconds"]
    if measured.tell(limit)["clock"] == "off":
        cause = (
            f"more than agent: clock_alert_seconds: {limit:g}; more than an hour off, frames are "
        )
        cause += "marked clock_wrong"
        yield failed(about, text, cause, "set the clock that is wrong: timedatectl set-ntp true")
    else:
        yield ok(about, text)


def _write(config: Config, topic: str, measured: Clock) -> str | None:
    """Send some messages, one after the other. Gives why one was not taken."""
    outbox = KafkaOutbox(config.kafka, config.file, "datastalker-doctor", _SECONDS, 1)
    outbox.stamped = measured.sample
    said: list[str | None] = []
    outbox.told = lambda parcel, reason: said.append(reason)
    tombstone: bytes = None  # type: ignore[assignment] # of no message of ours, so no Parcel has one
    for number in range(_SAMPLES):
        outbox.offer(Parcel(topic, 0, tombstone, "status", key=_KEY))
        until = monotonic() + _SECONDS + 1
        while len(said) <= number and monotonic() < until:
            outbox.serve(0.1)
        if len(said) <= number or said[-1] is not None:
            trouble = outbox.trouble()
            outbox.drop()
            return str(trouble) if trouble else (said[-1] if said else None) or "it does not answer"
    return None
