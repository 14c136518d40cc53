"""The hopper: sets the cards' channels one after the other, and stays where it pays to.

It is driven by `turn`, with a clock that is passed in, from the loop that captures; `tuner` sets the
channels. The frames that arrive meanwhile carry the channel that they were heard on.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from capture_agent.channels import Channel, parse
from capture_agent.hop_plan import Plan, split, wanted
from capture_agent.wireless import Card, NoWireless, reason
from datastalker.message import Message
from datastalker.stats import Stats

log = logging.getLogger("datastalker.stage.wifi_sniffer")

CLIENT_KINDS = frozenset({"PROBE_REQ", "ASSOC_REQ", "REASSOC_REQ", "PS_POLL"})
"""What only clients send; data tells by its direction."""

_MOST_STEERED_SECONDS = 60.0
_REFUSED_SECONDS = (60.0, 3600.0)
_TROUBLE_SECONDS = (1.0, 30.0)
_STILL_SECONDS = 60.0
_GONE = (errno.ENODEV, errno.ENXIO)
_OF_THE_CARD = (*_GONE, errno.ENETDOWN, errno.EBUSY, errno.EPERM, errno.ERFKILL, errno.ETIMEDOUT)
"""What says nothing of the channel: the others would be refused as well."""

Tune = Callable[[Channel], "Future[None]"]
"""Sets a channel; done when that is."""


class _Radio:
    """One card: where it is, since when, and what comes next."""

    def __init__(self, interface: str, card: Card, tune: Tune) -> None:
        self.interface, self.card, self.tune = interface, card, tune
        self.share: list[Channel] = []
        self.at: Channel | None = None
        self.next = 0
        self.until = 0.0
        self.karma = self.clients = 0
        self.held: tuple[Channel | None, float] | None = None
        self.asked: tuple[Channel, float, Future[None]] | None = None
        self.trouble_seconds = 0.0
        self.seen = 0.0
        self.spent: dict[int, float] = {}

    def take(self, share: list[Channel]) -> None:
        """Another share: what of it would have come next, comes next."""
        to_come = [*self.share[self.next :], *self.share[: self.next]]
        following = next((channel for channel in to_come if channel in share), None)
        self.next = share.index(following) if following is not None else 0
        self.share = share

    def account(self, now: float) -> None:
        """The time since the last turn was spent on the channel it is on."""
        if self.seen and self.at is not None and self.asked is None:
            freq = self.at.freq_mhz
            self.spent[freq] = self.spent.get(freq, 0.0) + now - self.seen
        self.seen = now


class Hopper:
    """See the module. `radios`: by interface, its card and what sets its channel."""

    def __init__(
        self,
        options: Mapping[str, Any],
        radios: Mapping[str, tuple[Card, Tune]],
        stats: Stats,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.stats = stats
        self.close = close
        """The cards stay on the channels they are on."""
        self._dwell = options["dwell_ms"] / 1000
        self._max_karma = options["max_karma"] if options["karma"] else 0
        self._radios = {name: _Radio(name, card, tune) for name, (card, tune) in radios.items()}
        self._only = next(iter(self._radios.values())) if len(self._radios) == 1 else None
        self._cards = {name: radio.card for name, radio in self._radios.items()}
        self._channels = wanted(options, self._cards.values())
        self._refused: dict[tuple[str, int], tuple[float, float]] = {}
        self._said: set[object] = set()
        self._began: float | None = None
        self._reported = 0.0
        self.plan = Plan()
        self._divide()

    def turn(self, now: float) -> None:
        """Whatever is due: `now` is of a clock that only goes forward, in seconds. Never waits."""
        if self._began is None:
            self._began = self._reported = now
        self._retry_refused(now)
        for radio in self._radios.values():
            if radio.asked is not None and radio.asked[2].done():
                self._arrived(radio, now)
            radio.account(now)
            if radio.asked is None:
                self._move(radio, now)

    def _move(self, radio: _Radio, now: float) -> None:
        if radio.held is not None:
            (channel, seconds), radio.held = radio.held, None
            if channel is not None:
                self._go(radio, channel, seconds, now)
                return
            radio.until = max(radio.until, now + seconds)
        if now < radio.until:
            return
        if radio.clients and radio.karma < self._max_karma:
            radio.karma, radio.clients = radio.karma + 1, 0
            radio.until = now + self._dwell
            self.stats.incr("hopper/stays")
        elif radio.share:
            radio.next %= len(radio.share)
            channel = radio.share[radio.next]
            radio.next += 1
            # A single one is set again now and then: who knows what others did to the card.
            self._go(radio, channel, self._dwell if len(radio.share) > 1 else _STILL_SECONDS, now)

    def _go(self, radio: _Radio, channel: Channel, seconds: float, now: float) -> None:
        radio.karma = radio.clients = 0
        radio.asked = channel, seconds, radio.tune(channel)
        if radio.asked[2].done():
            self._arrived(radio, now)

    def _arrived(self, radio: _Radio, now: float) -> None:
        assert radio.asked is not None
        channel, seconds, future = radio.asked
        radio.asked, error = None, future.exception()
        if error is None:
            if radio.trouble_seconds:
                log.warning("%s hops again", radio.interface)
            radio.trouble_seconds = 0.0
            radio.at, radio.seen, radio.until = channel, now, now + seconds
            self.stats.incr("hopper/hops")
            if self._refused.pop((radio.interface, channel.freq_mhz), None):
                self._divide()
            return
        self.stats.incr("hopper/failed")
        radio.until = now
        if isinstance(error, NoWireless) or not isinstance(error, OSError):
            raise error
        if error.errno in _OF_THE_CARD:
            self._wait(radio, error, now)
        else:
            self._refuse(radio, channel, error, now)

    def _wait(self, radio: _Radio, error: OSError, now: float) -> None:
        """Nothing can be done with the card now: said once, tried again soon."""
        if error.errno in _GONE:
            radio.at = None
        if not radio.trouble_seconds:
            log.warning("%s does not hop: %s", radio.interface, reason(error))
        least, most = _TROUBLE_SECONDS
        radio.trouble_seconds = min(most, radio.trouble_seconds * 2 or least)
        radio.until = now + radio.trouble_seconds

    def _refuse(self, radio: _Radio, channel: Channel, error: OSError, now: float) -> None:
        """Leave a channel out of the card's round: said once, tried again rarely."""
        key = radio.interface, channel.freq_mhz
        least, most = _REFUSED_SECONDS
        _, wait = self._refused.get(key, (0.0, 0.0))
        wait = min(most, wait * 2 or least)
        self._refused[key] = now + wait, wait
        if key not in self._said:
            self._said.add(key)
            log.warning(
                "%s refuses channel %s: %s; it is left out, and tried again in %g s",
                radio.interface, channel, reason(error), wait,
            )  # fmt: skip
        self._divide()

    def _retry_refused(self, now: float) -> None:
        for (interface, freq), (due, wait) in self._refused.items():
            radio = self._radios[interface]
            if now >= due and radio.asked is None:
                channel = next((c for c in self._channels if c.freq_mhz == freq), Channel(freq))
                self._refused[interface, freq] = now + wait, wait
                self._go(radio, channel, self._dwell, now)
                return

    def _divide(self) -> None:
        self.plan = split(self._channels, self._cards, self._refused)
        for name, radio in self._radios.items():
            radio.take(self.plan.shares[name])
        for channel in self.plan.nobody:
            if channel not in self._said and not self._refused:
                self._said.add(channel)
                log.warning("no card can listen to channel %s: it is left out", channel)

    def heard(self, messages: Iterable[Message]) -> None:
        """What was captured: where clients are heard it pays to stay."""
        if not self._max_karma:
            return
        only = self._only
        for message in messages:
            if not (
                (message.get("to_ds") and not message.get("from_ds"))
                or message.get("kind") in CLIENT_KINDS
            ):
                continue
            radio = only or self._radios.get(message.get("interface", ""))
            if radio is not None and radio.at is not None:
                freq = message.get("freq_mhz")
                if freq is None or freq == radio.at.freq_mhz:
                    radio.clients += 1

    def steer(self, message: Message) -> None:
        """A stage asks: `channel` or `freq_mhz` (none: where it is) for `seconds`, on `interface`
        or on the card whose channel it is. What can't be is counted and said once."""
        try:
            seconds = float(message.get("seconds", self._dwell))
            channel = _asked_for(message)
            radio = self._radio_for(message.get("interface"), channel)
            if not 0 < seconds <= _MOST_STEERED_SECONDS:
                raise ValueError(f"seconds must be more than 0 and at most 60, not {seconds:g}")
        except (ValueError, TypeError) as error:
            self.stats.incr("hopper/steered_wrong")
            if "steer" not in self._said:
                self._said.add("steer")
                log.warning("a stage asked for a channel that can't be: %s; shown once", error)
            return
        self.stats.incr("hopper/steered")
        radio.held = channel, seconds

    def _radio_for(self, interface: Any, channel: Channel | None) -> _Radio:
        if interface is not None:
            if interface not in self._radios:
                raise ValueError(f"no interface {interface} hops here")
            candidates = [self._radios[interface]]
        else:
            candidates = list(self._radios.values())
        if channel is None:
            return candidates[0]
        able = [radio for radio in candidates if radio.card.can(channel.freq_mhz)]
        if not able:
            raise ValueError(f"no card can listen to channel {channel}")
        ours = [r for r in able if any(c.freq_mhz == channel.freq_mhz for c in r.share)]
        return (ours or able)[0]

    def status(self) -> dict[str, Any]:
        """Since the last status: `share_FREQUENCY`, the part of the time in which it was listened
        to, over all cards. And how many channels there are, and which are left out."""
        now = max((radio.seen for radio in self._radios.values()), default=0.0)
        passed = now - self._reported
        shares: dict[int, float] = {}
        for radio in self._radios.values():
            for freq, seconds in radio.spent.items():
                shares[freq] = shares.get(freq, 0.0) + seconds
            radio.spent.clear()
        self._reported = now
        status: dict[str, Any] = {
            "channels": len({c.freq_mhz for share in self.plan.shares.values() for c in share}),
            "channels_left_out": [str(channel.freq_mhz) for channel in self.plan.nobody],
        }
        for freq in sorted(shares):
            status[f"share_{freq}"] = round(shares[freq] / passed, 4) if passed > 0 else 0.0
        return status


def _asked_for(message: Message) -> Channel | None:
    written = message.get("freq_mhz") or message.get("channel")
    return None if written is None else parse(written)
