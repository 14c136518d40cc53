"""What sets the channels of cards for a hopper: in a thread, one a card, since a driver takes
milliseconds for it and some take many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from capture_agent.channels import Channel
from capture_agent.hopper import Hopper, Tune
from capture_agent.wireless import Card, NoWireless, Wireless, connect, reason
from datastalker.errors import InputError
from datastalker.stats import Stats

log = logging.getLogger("datastalker.stage.wifi_sniffer")


class Tuner:
    """Sets the channels of one interface, in a thread of its own with a connection of its own."""

    def __init__(self, interface: str, wireless: Callable[[], Wireless]) -> None:
        self._interface, self._wireless = interface, wireless
        self._connection: Wireless | None = None
        self._thread = ThreadPoolExecutor(1, f"hopper-{interface}")

    def tune(self, channel: Channel) -> Future[None]:
        return self._thread.submit(self._tune, channel)

    def _tune(self, channel: Channel) -> None:
        if self._connection is None:
            self._connection = self._wireless()
        self._connection.tune(self._interface, channel)

    def close(self) -> None:
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()


def from_options(
    options: Mapping[str, Any],
    interfaces: list[str],
    stats: Stats,
    wireless: Callable[[], Wireless] = connect,
) -> Hopper:
    """A hopper for these interfaces, in monitor mode. Raises InputError where it can't hop."""
    try:
        connection = wireless()
        try:
            cards = connection.cards()
        finally:
            connection.close()
    except NoWireless as error:
        raise InputError(f"hopper: {error}; take `hopper` out to capture all the same") from None
    except OSError as error:
        raise InputError(f"hopper: the cards can't be listed: {reason(error)}") from None
    tuners: dict[str, Tuner] = {}
    radios: dict[str, tuple[Card, Tune]] = {}
    for interface in interfaces:
        card = next((c for c in cards if any(p.name == interface for p in c.ports)), None)
        if card is None:
            log.warning("%s is no interface of a Wi-Fi card: its channel can't be set", interface)
        elif any(card is known for known, _ in radios.values()):
            log.warning("%s shares its card, and so its channel, with another", interface)
        else:
            tuners[interface] = Tuner(interface, wireless)
            radios[interface] = card, tuners[interface].tune
    if not radios:
        names = " or ".join(interfaces)
        raise InputError(f"hopper: the channel of {names} can't be set: no interface of a card")

    def close() -> None:
        for tuner in tuners.values():
            tuner.close()

    hopper = Hopper(options, radios, stats, close)
    if not any(hopper.plan.shares.values()):
        raise InputError(
            "hopper: no card can listen to any of the channels; see `stalk interfaces`"
        )
    return hopper
