"""The hopper: which channel when, what a card refuses, what a stage asks for. Time is passed in."""

from __future__ import annotations

import errno
import importlib.util
import logging
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from capture_agent.channels import Channel
from capture_agent.hop_plan import split, wanted
from capture_agent.hopper import Hopper
from capture_agent.tuner import from_options
from capture_agent.wireless import NO_NL80211, Card, NoWireless, Offer, Port
from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.stats import Stats


def _load() -> Any:
    path = Path(__file__).parent / "simulated_air.py"
    spec = importlib.util.spec_from_file_location("simulated_air", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules["simulated_air"] = module
    spec.loader.exec_module(module)
    return module


air = _load()
ANY = {n: 2407 + 5 * n for n in range(1, 14)}


class Bench:
    """A hopper whose cards do as they are told, at once or when the test says so."""

    def __init__(self, *cards: Card, **given: Any) -> None:
        self.now = 0.0
        self.tuned: list[tuple[str, int]] = []
        self.refusing: dict[int, int] = {}
        self.pending: list[Future[None]] | None = None
        self.stats = Stats()
        cards = cards or (air.card(1, 6, 11),)
        radios = {f"mon{n}": (card, self._tune(f"mon{n}")) for n, card in enumerate(cards)}
        self.hopper = Hopper(air.options(**given), radios, self.stats)

    def _tune(self, name: str) -> Any:
        def tune(channel: Channel) -> Future[None]:
            self.tuned.append((name, channel.freq_mhz))
            number = self.refusing.get(channel.freq_mhz) or self.refusing.get(0)
            if self.pending is not None:
                self.pending.append(Future())
                return self.pending[-1]
            done: Future[None] = air.done(OSError(number, "no") if number else None)
            return done

        return tune

    def run(self, seconds: float, step: float = 0.02) -> list[int]:
        """Let time pass; gives the channel numbers it was told to go to meanwhile."""
        before = len(self.tuned)
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.hopper.turn(self.now)
            self.now += step
        return [(freq - 2407) // 5 for _, freq in self.tuned[before:]]

    def hear(self, number: int, **keys: Any) -> None:
        keys = {"to_ds": True, "freq_mhz": ANY[number], "interface": "mon0", **keys}
        self.hopper.heard([Message(type="frame", **keys)])


def test_it_goes_round_its_channels_dwelling_on_each() -> None:
    assert Bench(channels=[1, 6, 11], dwell_ms=250).run(1.5) == [1, 6, 11, 1, 6, 11]


def test_a_list_keeps_its_order_and_a_band_has_the_order_of_the_first_datastalker() -> None:
    assert Bench(air.card(), channels=[11, 1, 6]).run(0.7) == [11, 1, 6]
    assert Bench(air.card(), bands=[2.4]).run(0.9) == [1, 6, 11, 3]


def test_where_clients_are_heard_it_stays() -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=100, max_karma=3)
    assert bench.run(0.1) == [1]
    bench.hear(1)

    assert bench.run(0.1) == []
    assert bench.run(0.1) == [6]
    assert bench.stats.get("hopper/stays") == 1


def test_it_does_not_stay_for_ever() -> None:
    bench = Bench(channels=[1, 6], dwell_ms=100, max_karma=3)
    visits = []
    for _ in range(10):
        visits.append(bench.run(0.1))
        bench.hear(1)

    assert visits[:6] == [[1], [], [], [], [6], [1]]


@pytest.mark.parametrize(
    "keys",
    [
        {"to_ds": None, "kind": "BEACON"},
        {"to_ds": None, "from_ds": True, "kind": "QOS_DATA"},
        {"from_ds": True, "kind": "QOS_DATA"},
        {"freq_mhz": ANY[6]},
        {"interface": "mon9"},
    ],
    ids=["beacon", "from-ap", "wds", "another channel", "another card"],
)
def test_what_says_nothing_of_clients_here_does_not_hold_it(keys: dict[str, Any]) -> None:
    bench = Bench(air.card(1, 6), air.card(11, name="phy1"), channels=[1, 6, 11], dwell_ms=100)
    bench.run(0.1)
    bench.hear(1, **keys)

    assert bench.run(0.02) == [6]


@pytest.mark.parametrize("kind", ["PROBE_REQ", "ASSOC_REQ", "REASSOC_REQ", "PS_POLL"])
def test_what_only_clients_send_holds_it(kind: str) -> None:
    bench = Bench(channels=[1, 6], dwell_ms=100)
    bench.run(0.1)
    bench.hear(1, to_ds=None, kind=kind)

    assert bench.run(0.02) == []


def test_without_karma_it_goes_on() -> None:
    bench = Bench(channels=[1, 6], dwell_ms=100, karma=False)
    bench.run(0.1)
    bench.hear(1)

    assert bench.run(0.02) == [6]


def test_a_channel_that_is_refused_is_said_once_and_tried_again_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=1000)
    bench.refusing[ANY[6]] = errno.EINVAL
    visits = bench.run(900, step=0.5)

    assert visits[:4] == [1, 6, 11, 1]
    assert visits.count(6) == 4  # after 60 s, 120 s, 240 s
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "mon0 refuses channel 6: not allowed on this channel, here and now; it is left out, and "
        "tried again in 60 s"
    ]
    assert bench.hopper.status()["channels_left_out"] == ["2437"]


def test_a_channel_that_is_allowed_again_comes_back() -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=1000)
    bench.refusing[ANY[6]] = errno.EINVAL
    bench.run(30, step=0.5)
    bench.refusing.clear()

    assert bench.run(60, step=0.5).count(6) > 5
    assert bench.hopper.status()["channels_left_out"] == []


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENETDOWN, errno.EBUSY, errno.EPERM])
def test_a_card_in_trouble_is_said_once_and_tried_until_it_is_over(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench = Bench(channels=[1, 6, 11])
    bench.run(1)
    bench.refusing[0] = number
    tries = bench.run(120)
    bench.refusing.clear()
    bench.run(31)

    assert len(tries) < 12  # 1, 2, 4, … 30 s
    assert len(caplog.records) == 2
    assert caplog.records[0].getMessage().startswith("mon0 does not hop: ")
    assert caplog.records[1].getMessage() == "mon0 hops again"
    assert bench.hopper.status()["channels_left_out"] == []
    assert bench.run(0.75) in ([1, 6, 11], [6, 11, 1], [11, 1, 6])


def test_it_never_waits_for_a_card_that_is_slow() -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=100)
    bench.pending = []
    assert bench.run(5) == [1]
    bench.pending[0].set_result(None)

    assert bench.run(0.15) == [6]


def test_its_share_of_time_is_published() -> None:
    bench = Bench(channels=[1, 6], dwell_ms=100, max_karma=2)
    bench.run(0.1)
    bench.hear(1)
    bench.run(0.32)

    status = bench.hopper.status()

    assert status["channels"] == 2
    assert status["share_2412"] == pytest.approx(0.75, abs=0.1)
    assert sum(v for k, v in status.items() if k.startswith("share_")) == pytest.approx(1, abs=0.1)
    assert not [key for key in bench.hopper.status() if key.startswith("share_")]  # since then


def test_a_single_channel_is_set_once_a_minute() -> None:
    assert Bench(channels=[6]).run(130, step=0.5) == [6, 6, 6]


def test_a_plan_is_split_so_that_all_is_covered_and_each_does_what_it_can() -> None:
    only_2_4, both = air.card(1, 6, 11), air.card(1, 6, 11, 36, 40, name="phy1")
    channels = wanted(air.options(channels=[1, 6, 11, 36, 40, 149]), ())

    plan = split(channels, {"mon0": only_2_4, "mon1": both})

    assert [str(c) for c in plan.shares["mon0"]] == ["1", "6", "11"]
    assert [str(c) for c in plan.shares["mon1"]] == ["36", "40"]
    assert [str(c) for c in plan.nobody] == ["149"]


def test_two_equal_cards_share_evenly_and_one_too_many_joins_in() -> None:
    cards = {f"mon{n}": air.card(1, 6, 11, name=f"phy{n}") for n in range(4)}
    channels = [Channel(2412), Channel(2437), Channel(2462)]

    two = split(channels, dict(list(cards.items())[:2]))
    four = split(channels, cards)

    assert sorted(map(len, two.shares.values())) == [1, 2]
    assert [len(share) for share in four.shares.values()] == [1, 1, 1, 3]


def test_what_one_card_refuses_another_takes_over() -> None:
    bench = Bench(air.card(1, 6), air.card(1, 6, name="phy1"), channels=[1, 6], dwell_ms=100)
    bench.hopper._refused[("mon0", ANY[1])] = 1e9, 60.0
    bench.hopper._divide()

    assert [str(c) for c in bench.hopper.plan.shares["mon0"]] == ["6"]
    assert [str(c) for c in bench.hopper.plan.shares["mon1"]] == ["1"]


def test_a_disabled_channel_and_a_width_beyond_the_card_are_not_planned() -> None:
    offers = {5180: Offer(5180, widths=(20, 40)), 5200: Offer(5200, disabled=True)}
    card = Card("phy0", 0, ("monitor",), offers)

    plan = split(wanted(air.options(bands=[5], width_mhz=80), [card]), {"mon0": card})

    assert plan.shares["mon0"] == [Channel(5180, 40)]


def test_a_stage_steers_it_for_a_while_and_it_goes_on_where_it_was() -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=100)
    assert bench.run(0.1) == [1]
    bench.hopper.steer(Message(type="tune", channel=11, seconds=2))

    assert bench.run(1.9) == [11]
    assert bench.run(0.3) == [6, 11]
    assert bench.stats.get("hopper/steered") == 1


def test_a_stage_may_ask_it_to_stay() -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=100)
    bench.run(0.06)
    bench.hopper.steer(Message(type="tune", seconds=3))

    assert bench.run(2.9) == []
    assert bench.run(0.2) == [6]


def test_the_card_that_can_is_steered() -> None:
    bench = Bench(air.card(1, 6), air.card(36, name="phy1"), channels=[1, 6, 36])
    bench.run(0.02)
    bench.hopper.steer(Message(type="tune", freq_mhz=5180, seconds=1))
    bench.run(0.02)

    assert bench.tuned[-1] == ("mon1", 5180)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": 999}, {"channel": "x"}, {"channel": 36}, {"channel": 6, "seconds": 0},
        {"channel": 6, "seconds": 61}, {"seconds": "long"}, {"seconds": None},
        {"channel": 6, "interface": "mon9"}, {"channel": [6]}, {"seconds": float("nan")},
    ],
)  # fmt: skip
def test_what_can_not_be_is_counted_and_said_once(
    wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(channels=[1, 6, 11], dwell_ms=100)
    for _ in range(3):
        bench.hopper.steer(Message(type="tune", **wrong))

    assert bench.stats.get("hopper/steered_wrong") == 3
    assert len(caplog.records) == 1
    assert bench.run(0.3) == [1, 6, 11]


class Fake:
    """nl80211 with these cards."""

    def __init__(self, *cards: Card) -> None:
        self._cards = list(cards)
        self.tuned: list[tuple[str, Channel]] = []
        self.closed = 0

    def cards(self) -> list[Card]:
        return self._cards

    def tune(self, name: str, channel: Channel) -> None:
        self.tuned.append((name, channel))

    def close(self) -> None:
        self.closed += 1


def test_from_options_it_hops_in_threads_of_its_own() -> None:
    card = air.card(1, 6, 11)
    card.ports = [Port("mon0", "monitor")]
    fake = Fake(card)
    hopper = from_options(air.options(dwell_ms=20), ["mon0"], Stats(), lambda: fake)  # type: ignore[arg-type,return-value]
    now = 0.0
    while len(fake.tuned) < 3:
        hopper.turn(now)
        now += 0.02
        assert now < 1000
    hopper.close()

    assert [str(channel) for _, channel in fake.tuned[:3]] == ["1", "6", "11"]


def test_two_interfaces_of_one_card_are_one(caplog: pytest.LogCaptureFixture) -> None:
    card = air.card(1, 6)
    card.ports = [Port("mon0", "monitor"), Port("mon1", "monitor")]
    hopper = from_options(air.options(), ["mon0", "mon1"], Stats(), lambda: Fake(card))  # type: ignore[arg-type,return-value]
    hopper.close()

    assert list(hopper.plan.shares) == ["mon0"]
    assert "mon1 shares its card" in caplog.text


@pytest.mark.parametrize(
    ("interfaces", "given", "said"),
    [
        (["eth0"], {}, "hopper: the channel of eth0 can't be set: no interface of a card"),
        (["mon0"], {"channels": [149]}, "hopper: no card can listen to any of the channels"),
    ],
)
def test_where_it_can_not_hop_it_says_so(
    interfaces: list[str], given: dict[str, Any], said: str
) -> None:
    card = air.card(1, 6)
    card.ports = [Port("mon0", "monitor")]

    with pytest.raises(InputError, match=said):
        from_options(air.options(**given), interfaces, Stats(), lambda: Fake(card))  # type: ignore[arg-type,return-value]


def test_without_nl80211_it_says_what_to_do() -> None:
    def nothing() -> Any:
        raise NoWireless(NO_NL80211)

    with pytest.raises(InputError, match="take `hopper` out to capture all the same"):
        from_options(air.options(), ["mon0"], Stats(), nothing)


@pytest.mark.parametrize("seed", range(5))
def test_karma_hears_more_of_the_clients_than_round_robin(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    there = air.Air.make(seed)
    karma = sum(air.listen(there).values())
    round_robin = sum(air.listen(there, karma=False).values())
    with capsys.disabled():
        print(
            f"\nseed {seed}: of {there.sent:,} frames of clients karma hears {karma / there.sent:.1%}, "
            f"round-robin {round_robin / there.sent:.1%}: {karma / round_robin:.2f} times as many"
        )

    assert karma > 3 * round_robin


@pytest.mark.parametrize("seed", range(3))
def test_clients_that_never_stop_talking_do_not_keep_it_from_the_others(seed: int) -> None:
    there = air.Air.make(seed, minutes=10)
    for step in there.frames:
        step += [(2437, 1000), (5180, 1001), (2412, 1002)]

    def others(**given: Any) -> tuple[int, int]:
        heard = air.listen(there, **given)
        of_others = [count for client, count in heard.items() if client < 1000]
        return sum(of_others), len(of_others)

    (karma, heard), (round_robin, _) = others(), others(karma=False)

    assert karma > 2 * round_robin
    assert heard >= 0.9 * there.clients


def test_the_simulated_air_is_the_same_each_time() -> None:
    assert air.Air.make(1, 1).frames == air.Air.make(1, 1).frames != air.Air.make(2, 1).frames
