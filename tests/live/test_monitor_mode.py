"""Monitor mode: interfaces of our own, on real interfaces of this kernel (as root).

What nl80211 does to them a stand-in does: it makes a TUN device with a monitor's link type. No
Wi-Fi card was asked.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from capture_agent import device, device_change, sniffer
from capture_agent.monitor import OURS, Monitors
from capture_agent.tuner import from_options
from capture_agent.wireless import NO_NL80211, Card, NoWireless, Port
from datastalker import config as configuration
from datastalker.errors import InputError
from datastalker.pipeline import Pipeline
from datastalker.stage import SourceStage
from infra.local import Radio
from infra.local.radio import Uplink


class Cards:
    """nl80211 with one card, whose interface is a real one of another kind."""

    def __init__(self, name: str) -> None:
        self.card = Card("phy7", os.getpid(), ("managed", "monitor"), ports=[Port(name, "managed")])
        self.made: dict[str, Radio] = {}
        self.refuse = 0
        self.modes: list[tuple[str, str]] = []

    @property
    def ours(self) -> str:
        return f"dsmon{self.card.index}"

    def cards(self) -> list[Card]:
        return [self.card]

    def add_monitor(self, card: Card, name: str) -> None:
        if self.refuse:
            raise OSError(self.refuse, "no")
        self.made[name] = Radio(name).down()

    def remove(self, name: str) -> None:
        self.made.pop(name).remove()

    def set_mode(self, name: str, mode: str) -> None:
        found = device.find(name)
        assert found is not None
        assert not found.up
        self.modes.append((name, mode))

    def tune(self, name: str, channel: Any) -> None:
        raise AssertionError("nobody hops here")

    def close(self) -> None:
        pass


@pytest.fixture
def wlan() -> Iterator[str]:
    """An Ethernet interface, as one in managed mode is; it is down."""
    name = f"ds{os.getpid() % 10**6}w"
    uplink = Uplink(name)
    yield name
    uplink.remove()


@pytest.fixture
def cards(wlan: str) -> Iterator[Cards]:
    made = Cards(wlan)
    yield made
    for radio in made.made.values():
        radio.remove()


def test_an_interface_is_made_beside_it_marked_and_removed(cards: Cards, wlan: str) -> None:
    monitors = Monitors(lambda: cards)

    assert monitors.prepare([wlan]) == [cards.ours]
    found = device.find(cards.ours)
    assert found is not None
    assert (found.type, found.up) == (803, True)
    assert device_change.alias(cards.ours) == OURS
    monitors.close()

    assert device.find(cards.ours) is None
    assert device.find(wlan) is not None


def test_one_that_is_being_made_when_a_signal_comes_is_removed(cards: Cards, wlan: str) -> None:
    make = cards.add_monitor

    def interrupted(card: Card, name: str) -> None:
        make(card, name)
        os.kill(os.getpid(), signal.SIGINT)

    cards.add_monitor = interrupted  # type: ignore[method-assign]
    monitors = Monitors(lambda: cards)
    # Commands that other tests called in this process have left a handler of their own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            monitors.prepare([wlan])
        assert cards.made
    finally:
        signal.signal(signal.SIGINT, before)
        monitors.close()

    assert device.find(cards.ours) is None


def test_what_a_crash_left_behind_is_made_anew(
    cards: Cards, wlan: str, caplog: pytest.LogCaptureFixture
) -> None:
    cards.add_monitor(Card("phy7"), cards.ours)
    device_change.set_alias(cards.ours, OURS)
    left = device.find(cards.ours)
    monitors = Monitors(lambda: cards)
    monitors.prepare([wlan])
    found = device.find(cards.ours)
    monitors.close()

    assert left is not None
    assert found is not None
    assert found.index != left.index
    assert "left behind by a crash" in caplog.text


def test_what_is_not_ours_is_never_touched(cards: Cards, wlan: str) -> None:
    cards.add_monitor(Card("phy7"), cards.ours)
    before = device.find(cards.ours)

    with pytest.raises(InputError, match="that is not ours; remove it"):
        Monitors(lambda: cards).prepare([wlan])

    assert device.find(cards.ours) == before


def test_what_a_living_agent_uses_is_left_to_it(cards: Cards, wlan: str) -> None:
    first, second = Monitors(lambda: cards), Monitors(lambda: cards)
    first.prepare([wlan])

    with pytest.raises(InputError, match="in use by another agent"):
        second.prepare([wlan])
    second.close()

    assert device.find(cards.ours) is not None
    first.close()


def test_one_in_monitor_mode_already_is_taken_as_it_is(
    make_radio: Callable[..., Radio], cards: Cards
) -> None:
    mon = make_radio()
    monitors = Monitors(lambda: cards)

    assert monitors.prepare([mon.name, "nosuch0"]) == [mon.name, "nosuch0"]
    monitors.close()

    assert device.find(mon.name) is not None
    assert cards.made == {}


def test_where_the_driver_can_not_have_two_the_card_is_switched_and_switched_back(
    cards: Cards, wlan: str
) -> None:
    cards.refuse = errno.EOPNOTSUPP
    monitors = Monitors(lambda: cards)

    assert monitors.prepare([wlan]) == [wlan]
    monitors.close()

    assert cards.modes == [(wlan, "monitor"), (wlan, "managed")]


def test_a_card_that_was_switched_and_does_not_come_up_is_switched_back(
    cards: Cards, wlan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_up(name: str, up: bool) -> None:
        if up:
            raise OSError(errno.ERFKILL, "blocked")  # as the driver of a card that is
        really(name, up)

    really = device_change.set_up
    cards.refuse = errno.EOPNOTSUPP
    monitors = Monitors(lambda: cards)
    monkeypatch.setattr(device_change, "set_up", set_up)

    with pytest.raises(InputError, match=f"interface: {wlan} can't be put into monitor mode"):
        monitors.prepare([wlan])
    monitors.close()

    assert cards.modes == [(wlan, "monitor"), (wlan, "managed")]


@pytest.mark.parametrize(
    ("number", "up", "said"),
    [
        (errno.EPERM, False, "it needs CAP_NET_ADMIN"),
        (errno.EOPNOTSUPP, True, "the driver can't do it"),  # somebody uses it: it stays as it is
        (errno.EBUSY, True, "the card is in use"),
    ],
)
def test_where_it_can_not_be_done_it_says_why(
    cards: Cards, wlan: str, number: int, up: bool, said: str
) -> None:
    device_change.set_up(wlan, up)
    cards.refuse = number

    with pytest.raises(InputError, match=f"interface: {wlan} can't be put into .*: .*{said}"):
        Monitors(lambda: cards).prepare([wlan])

    assert cards.modes == []


def test_a_card_in_use_is_warned_of(
    cards: Cards, wlan: str, caplog: pytest.LogCaptureFixture
) -> None:
    device_change.set_up(wlan, True)
    monitors = Monitors(lambda: cards)
    monitors.prepare([wlan])
    monitors.close()

    assert f"take it down (ip link set {wlan} down)" in caplog.text


def test_a_driver_without_monitor_mode_is_said(cards: Cards, wlan: str) -> None:
    cards.card.modes = ("managed",)

    with pytest.raises(InputError, match="has no monitor mode"):
        Monitors(lambda: cards).prepare([wlan])


def test_what_went_away_with_its_card_is_made_again(cards: Cards, wlan: str) -> None:
    monitors = Monitors(lambda: cards)
    monitors.prepare([wlan])
    cards.remove(cards.ours)
    monitors.turn(1000.0)

    assert device.find(cards.ours) is not None
    monitors.close()


def test_a_card_that_is_back_and_refuses_is_asked_ever_more_rarely_and_told_of_once(
    cards: Cards, wlan: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitors = Monitors(lambda: cards)
    monitors.prepare([wlan])
    cards.made.pop(cards.ours).remove()
    cards.refuse = errno.EOPNOTSUPP
    asked = []
    monkeypatch.setattr(cards, "cards", lambda: asked.append(1) or [cards.card])

    for second in range(1000, 1600):
        monitors.turn(float(second))

    assert 3 < len(asked) < 10
    assert caplog.text.count("is back, but has no monitor interface") == 1
    cards.refuse = 0
    for second in range(1600, 2000):
        monitors.turn(float(second))
    assert device.find(cards.ours) is not None
    monitors.close()


def test_without_nl80211_an_interface_stays_what_it_is(wlan: str) -> None:
    def nothing() -> Any:
        raise NoWireless(NO_NL80211)

    assert Monitors(nothing).prepare([wlan]) == [wlan]


def test_a_note_on_an_interface_that_is_gone_is_refused() -> None:
    with pytest.raises(OSError, match=r"No such device|no interface"):
        device_change.set_alias("nosuch0", "x")
    assert device_change.alias("nosuch0") == ""


def test_the_lock_goes_with_the_process(cards: Cards, wlan: str) -> None:
    monitors = Monitors(lambda: cards)
    monitors.prepare([wlan])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(f"\0{OURS}/{cards.ours}")
        monitors.close()
        other.bind(f"\0{OURS}/{cards.ours}")


@pytest.fixture
def source(
    cards: Cards, wlan: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., SourceStage]:
    """A `wifi_sniffer` whose nl80211 is `cards`."""
    monkeypatch.setattr(sniffer, "Monitors", lambda: Monitors(lambda: cards))
    monkeypatch.setattr(sniffer, "from_options", partial(from_options, wireless=lambda: cards))

    def make(**options: Any) -> SourceStage:
        (tmp_path / "c.yaml").write_text(
            yaml.safe_dump(
                {"pipeline": [{"wifi_sniffer": {"interface": wlan, **options}}, "print"]}
            )
        )
        made = configuration.build(configuration.load(str(tmp_path / "c.yaml"))).source
        assert made is not None
        return made

    return make


def test_what_was_made_is_removed_where_it_can_not_start(
    cards: Cards, source: Callable[..., SourceStage]
) -> None:
    with pytest.raises(InputError, match="there is no user 'nosuchuser' here"):
        source(user="nosuchuser").open()

    assert device.find(cards.ours) is None


def test_why_it_can_not_start_is_told_also_where_it_would_hop(
    cards: Cards, source: Callable[..., SourceStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_ring(*given: Any) -> Any:
        raise InputError("the kernel gives no ring")

    cards.card.ports.append(Port(cards.ours, "monitor"))
    monkeypatch.setattr(sniffer, "Listener", no_ring)
    pipeline = Pipeline(source=source(hopper={"channels": [6]}))

    with pytest.raises(InputError, match="the kernel gives no ring"):
        pipeline.run()
