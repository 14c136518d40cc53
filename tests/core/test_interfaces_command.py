"""`stalk interfaces`: cards, channels and what can be captured on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from capture_agent.wireless import NO_NL80211, Card, NoWireless, Offer, Port
from datastalker.commands import interfaces
from infra.local import Radio


class Cards:
    def cards(self) -> list[Card]:
        offers = {f: Offer(f, widths=(20, 40)) for f in range(2412, 2463, 5)}
        offers |= {f: Offer(f, no_ir=True) for f in (2467, 2472)} | {2484: Offer(2484, True)}
        offers |= {5260: Offer(5260, no_ir=True, radar=True, widths=(20, 40, 80))}
        return [
            Card("phy0", 0, ("managed", "monitor"), offers, [Port("wlan9", "managed", 2437)]),
            Card("phy1", 1, ("managed",)),
        ]

    def close(self) -> None:
        pass


def run(monkeypatch: pytest.MonkeyPatch, connect: Callable[[], object], *words: str) -> Result:
    monkeypatch.setattr(interfaces, "connect", connect)
    return CliRunner().invoke(interfaces.interfaces_command, words)


def nothing() -> object:
    raise NoWireless(NO_NL80211)


def test_cards_with_modes_interfaces_and_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cards)

    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[:6] == [
        "phy0 can capture",
        "modes managed, monitor",
        "interface wlan9 (managed, on channel 6 (2437 MHz))",
        "2.4 GHz 1-11, 12-13 no-IR, 14 disabled; 40 MHz wide at most",
        "5 GHz 52 no-IR radar; 80 MHz wide at most",
        "",
    ]
    assert lines[6] == "phy1 no monitor mode: can't capture"


def test_each_channel_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cards, "wlan9")

    rows = [line.split() for line in result.output.splitlines()]
    assert ["2.4", "GHz", "14", "2484", "20", "disabled", "no"] in rows
    assert ["5", "GHz", "52", "5260", "20", "40", "80", "no-IR", "radar", "yes"] in rows


def test_a_card_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cards, "wlan1")

    assert result.exit_code == 1
    assert "no Wi-Fi card is called wlan1 (phy0, phy1)" in str(result.exception)


def test_without_nl80211_it_says_so_and_lists_what_hears_all_the_same(
    monkeypatch: pytest.MonkeyPatch, make_radio: Callable[..., Radio]
) -> None:
    radio = make_radio()
    result = run(monkeypatch, nothing)

    assert result.exit_code == 0
    assert f"{radio.name}  radiotap: capture works; no card of nl80211" in result.output
    assert "this kernel has no nl80211" in result.output


def test_where_there_is_nothing_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture_agent.device.names", lambda: ["lo"])
    result = run(monkeypatch, nothing)

    assert result.exit_code == 1
    assert "there is nothing here to capture on" in result.output
