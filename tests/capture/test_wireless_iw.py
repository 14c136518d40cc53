"""Cards through `iw`: a program in its place prints what `iw` prints.

The lines are those of public documentation and of iw's sources, versions 4.9 to 6.9.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from capture_agent import wireless, wireless_iw, wireless_netlink
from capture_agent.channels import Channel
from capture_agent.wireless import Card, NoWireless, Offer, Port

PRINTS = Path(__file__).parent / "iw"
IW = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
  dev) exec cat {prints}/dev.txt ;;
  phy) exec cat {prints}/phy.txt ;;
  "phy phy"?" channels") exec cat {prints}/channels-$2.txt ;;
esac
{then}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    install(tmp_path)
    return tmp_path


def install(folder: Path, then: str = "exit 0") -> None:
    program = folder / "iw"
    program.write_text(IW.format(log=folder / "log", prints=PRINTS, then=then))
    program.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()[1:]  # the first is the question of connect()


def test_cards_their_modes_and_interfaces(fake: Path) -> None:
    first, second = wireless_iw.connect().cards()

    assert (first.name, first.index, first.can_monitor) == ("phy1", 1, True)
    assert first.ports == [Port("wlan1", "monitor", 5180)]
    assert (second.name, second.index, second.can_monitor) == ("phy0", 0, False)
    assert second.ports == [Port("wlan0", "managed", 2437)]
    assert second.modes == ("IBSS", "managed", "AP", "P2P-client", "P2P-GO", "P2P-device")


def test_channels_with_what_the_regulations_say(fake: Path) -> None:
    card = wireless_iw.connect().cards()[0]

    assert list(card.offers.values()) == [
        Offer(2412, widths=(20, 40)),
        Offer(2467, no_ir=True, widths=(20, 40)),
        Offer(2484, disabled=True),
        Offer(5180, widths=(20, 40, 80)),
        Offer(5260, no_ir=True, radar=True, widths=(20, 40, 80, 160)),
        Offer(5825),
        Offer(5955, no_ir=True, widths=(20, 40, 80, 160)),
    ]
    assert [card.can(freq) for freq in (2412, 2484, 5260, 5500)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        (Channel(2412), "dev mon0 set freq 2412 HT20"),
        (Channel(2412, 40), "dev mon0 set freq 2412 HT40+"),
        (Channel(5200, 40), "dev mon0 set freq 5200 HT40-"),
        (Channel(5200, 80), "dev mon0 set freq 5200 80 5210"),
        (Channel(5955, 160), "dev mon0 set freq 5955 160 6025"),
    ],
)
def test_a_channel_is_set(fake: Path, channel: Channel, words: str) -> None:
    wireless_iw.connect().tune("mon0", channel)

    assert calls(fake) == [words]


def test_interfaces_are_made_switched_and_removed(fake: Path) -> None:
    iw = wireless_iw.connect()
    iw.add_monitor(Card("phy1"), "dsmon1")
    iw.set_mode("wlan0", "monitor")
    iw.remove("dsmon1")

    assert calls(fake) == [
        "phy phy1 interface add dsmon1 type monitor", "dev wlan0 set type monitor",
        "dev dsmon1 del",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("command failed: Device or resource busy (-16)", errno.EBUSY),
        ("command failed: Invalid argument (-22)", errno.EINVAL),
        ("command failed: Operation not permitted (-1)", errno.EPERM),
        ("command failed: No such device (-19)", errno.ENODEV),
        ("command failed: Network is down (-100)", errno.ENETDOWN),
        ("kernel reports: Channel is disabled\\ncommand failed: Invalid argument (-22)", 22),
        ("something nobody knows", errno.EINVAL),
    ],
)
def test_what_the_kernel_refuses_has_its_number(fake: Path, said: str, number: int) -> None:
    iw = wireless_iw.connect()
    install(fake, f"printf '{said}\\n' >&2; exit 240")

    with pytest.raises(OSError, match="set freq") as caught:
        iw.tune("mon0", Channel(2412))

    assert caught.value.errno == number


def test_a_program_that_hangs_is_given_up(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireless_iw, "_TIMEOUT_SECONDS", 0.2)
    iw = wireless_iw.connect()
    install(fake, "exec sleep 60")

    with pytest.raises(OSError, match="no answer") as caught:
        iw.tune("mon0", Channel(2412))

    assert caught.value.errno == errno.ETIMEDOUT


def test_a_kernel_without_nl80211_is_said(fake: Path) -> None:
    (fake / "iw").write_text("#!/bin/sh\necho 'nl80211 not found.' >&2\nexit 1\n")

    with pytest.raises(NoWireless, match="this kernel has no nl80211"):
        wireless_iw.connect()


def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)

    with pytest.raises(NoWireless, match="install pyroute2, or iw"):
        wireless_iw.connect()


def test_iw_is_what_is_used_where_the_library_is_missing(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireless_netlink, "find_spec", lambda name: None)

    assert isinstance(wireless.connect(), wireless_iw.Iw)


def test_a_card_that_names_no_channel_is_believed_to_hear_them_all() -> None:
    assert Card("phy0").can(2412)
