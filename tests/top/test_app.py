"""The screen of `stalk top`, by its keys: tables, order, filter, freeze, a device's page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.testing import frame
from datastalker.top.app import TopApp
from datastalker.top.feed import Live, Update
from datastalker.top.stages import Totals
from datastalker.top.tables import VIEWS
from datastalker.top.views import Query
from docs import screenshots_top
from docs.screenshots import FORMAT, IMAGES, text_of

PHONE, AP, OTHER = "3c:a9:f4:00:00:02", "50:c7:bf:00:00:01", "50:c7:bf:00:00:09"
HOSTILE = "\x1b]0;owned\x07[red]café[/] 漢字"
Script = Callable[["Seen"], Awaitable[None]]


class Handed:
    """A feed that gives what it is handed."""

    title = "[b]test.pcap[/b]"

    def __init__(self) -> None:
        self.take: Callable[[Update], None] = lambda update: None
        self.fails: Exception | None = None

    def open(self) -> None:
        pass

    def run(self, take: Callable[[Update], None]) -> None:
        self.take = take
        if self.fails:
            raise self.fails

    def stop(self, reason: str) -> None:
        pass


class Seen:
    """What the screen shows, and the keys."""

    def __init__(self, pilot: Pilot[None], feed: Handed, live: Live) -> None:
        self.pilot, self.feed, self.live = pilot, feed, live

    async def press(self, *keys: str) -> list[str]:
        await self.pilot.press(*keys)
        return await self.lines()

    async def lines(self) -> list[str]:
        self.pilot.app.draw()  # type: ignore[attr-defined]
        await self.pilot.pause()
        return drawn(self.pilot)

    async def first(self, *keys: str) -> list[str]:
        """The first words of the rows, after some keys."""
        return [line.split(" ")[0] for line in (await self.press(*keys))[2:] if line.strip()][:-2]

    def hears(self, *messages: Message, **more: Any) -> None:
        self.feed.take(Update(messages, **more))


def drawn(pilot: Pilot[None]) -> list[str]:
    strips = pilot.app.screen._compositor.render_strips()
    return ["".join(part.text for part in strip).rstrip() for strip in strips]


def air() -> Iterator[Message]:
    for number, ssid in enumerate(("cellar", "attic", "barn"), 1):
        ta = f"50:c7:bf:00:00:{number:02x}"
        yield frame(number, kind="BEACON", ta=ta, bssid=ta, ssid=ssid, signal_dbm=-40 - number)
    for second in range(60):
        yield frame(second, ta=PHONE, bssid=AP, to_ds=True, signal_dbm=-90 + second, sensor="hall")
    yield frame(60, kind="PROBE_REQ", ta=PHONE, ssid=HOSTILE, sensor="study", signal_dbm=-66)


@pytest.fixture
def seen() -> Callable[..., None]:
    """Runs a script on a screen of a size, where the little air above was heard."""

    def run(script: Script, size: tuple[int, int] = (100, 24), view: int = 0) -> None:
        async def main() -> None:
            feed = Handed()
            live = Live(feed)
            live.start()
            live.wait(None)
            chosen = VIEWS[view]
            app = TopApp(live, chosen, Query(chosen.sort, chosen.reverse), refresh=60)
            async with app.run_test(size=size) as pilot:
                page = Seen(pilot, feed, live)
                page.hears(*air())
                await page.lines()
                await script(page)

        asyncio.run(main())

    return run


def test_rows_are_ordered_by_another_column_and_the_other_way_round(
    seen: Callable[..., None],
) -> None:
    async def script(page: Seen) -> None:
        assert await page.first() == ["cellar", "attic", "barn"]
        assert await page.first("r") == ["barn", "attic", "cellar"]
        assert await page.first("<", "<", "<", "<") == ["attic", "barn", "cellar"]
        assert "network▲" in (await page.lines())[1]
        await page.pilot.click("TableView", offset=(2, 0))
        assert await page.first() == ["cellar", "barn", "attic"]

    seen(script)


def test_each_number_is_a_table_and_tab_is_the_next(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        for key, title in zip(
            "12345", ("network", "device", "sensor", "stage", "time"), strict=True
        ):
            assert (await page.press(key))[1].startswith(title)
        assert (await page.press("tab"))[1].startswith("network")
        assert (await page.press("shift+tab"))[1].startswith("time")
        await page.pilot.click("#head", offset=(14, 0))
        assert (await page.lines())[1].startswith("device")

    seen(script)


def test_a_filter_works_while_it_is_typed_and_escape_brings_all_back(
    seen: Callable[..., None],
) -> None:
    async def script(page: Seen) -> None:
        lines = await page.press("slash", *"barn")
        assert [line.split(" ")[0] for line in lines[2:4]] == ["barn", ""]
        foot = (await page.press("enter"))[-2]
        assert "filter: barn" in foot
        assert foot.endswith(" · 1 network")
        assert await page.first("escape") == ["cellar", "attic", "barn"]
        lines = await page.press("slash", *"signal_dbm: {gte: -42}", "enter")
        assert [line.split(" ")[0] for line in lines[2:5]] == ["cellar", "attic", ""]
        assert "filter: a/b" in (await page.press("escape", *"/a/b"))[-2]

    seen(script)


def test_a_condition_that_is_none_is_said_and_hides_nothing(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        lines = await page.press("slash", *"ssid: {bigger: 3}")
        assert "unknown comparison 'bigger'" in lines[-2]
        assert lines[2].startswith("cellar")

    seen(script)


def test_frozen_the_picture_stays_and_data_goes_on_behind(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        before = await page.press("f")
        assert before[-2].startswith("FROZEN")
        page.hears(frame(70, kind="BEACON", ta=OTHER, bssid=OTHER, ssid="new", signal_dbm=-1))
        assert (await page.lines())[2:5] == before[2:5]
        assert await page.first("r") == ["barn", "attic", "cellar"]
        assert (await page.press("f", "r"))[2].startswith("new")

    seen(script)


def test_a_device_has_a_page_with_its_signal_as_a_chart_for_each_sensor(
    seen: Callable[..., None],
) -> None:
    async def script(page: Seen) -> None:
        lines = await page.press("2", "enter")
        text = "\n".join(lines)
        assert lines[0] == f"{PHONE}  Intel Corporate"
        assert "networks: cellar 50:c7:bf:00:00:01" in text
        assert "kinds: DATA 60, PROBE_REQ 1" in text
        assert "hall: -31 dBm, 60 frames" in text
        assert "study: -66 dBm, 1 frame" in text
        assert " 1 frames" not in text
        top = next(line for line in lines if line.startswith(" -20"))
        low = next(line for line in lines if line.startswith("-100"))
        assert (low.count("█") > 80, top.count("█")) == (True, 0)
        assert "the last 60 s" in text
        assert "the last 2 m" in "\n".join(await page.press("t"))
        page.hears(frame(61, ta=PHONE, signal_dbm=-20, sensor="hall"))
        assert "hall: -20 dBm, 61 frames" in "\n".join(await page.lines())
        assert (await page.press("escape"))[1].startswith("device")

    seen(script)


def test_an_access_points_page_has_its_clients(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        text = "\n".join(await page.press("enter"))
        assert "access point" in text
        assert "announces: cellar" in text
        assert f"clients (1): {PHONE}" in text

    seen(script)


@pytest.mark.parametrize("size", [(200, 24), (40, 24), (40, 8), (12, 4)])
def test_what_the_air_sends_is_neither_markup_nor_an_escape_at_any_size(
    seen: Callable[..., None], size: tuple[int, int]
) -> None:
    async def script(page: Seen) -> None:
        page.hears(
            frame(62, kind="BEACON", ta=AP, bssid=AP, ssid=HOSTILE, signal_dbm=-1),
            frame(62, ta=PHONE, sensor=HOSTILE, signal_dbm=-5),
            Message(type="alert", timestamp=62, alert=HOSTILE, text=HOSTILE, key=HOSTILE),
            totals=[Totals(HOSTILE, 3)],
        )
        for keys in (["1"], ["2"], ["3"], ["4"], ["5"], ["2", "enter"]):
            lines = await page.press(*keys)
            assert not any(c in "\x1b\x07" for line in lines for c in line)
            assert max(map(len, lines)) <= size[0]
            if size == (200, 24):
                assert "\\x1b" in "\n".join(lines)
                assert "[red]café[/]" in "\n".join(lines) or keys[0] in "234"

    seen(script, size)


def test_help_closes_with_any_key_and_that_key_does_nothing_else(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        assert "freeze the picture" in "\n".join(await page.press("?"))
        assert (await page.press("5"))[1].startswith("network")

    seen(script)


def test_what_is_chosen_stays_chosen_where_rows_change_places(seen: Callable[..., None]) -> None:
    async def script(page: Seen) -> None:
        await page.press("down")
        page.hears(frame(70, kind="BEACON", ta=OTHER, bssid=OTHER, ssid="new", signal_dbm=-1))
        await page.lines()
        assert page.pilot.app.table.chosen.cells[0] == "attic"  # type: ignore[attr-defined]
        await page.press("end", "pageup", "home")
        assert page.pilot.app.table.chosen.cells[0] == "new"  # type: ignore[attr-defined]

    seen(script)


def test_rows_by_the_thousand_scroll_and_only_those_that_are_seen_are_drawn(
    seen: Callable[..., None],
) -> None:
    async def script(page: Seen) -> None:
        page.hears(*(frame(n, ta=f"3c:a9:f4:00:{n >> 8:02x}:{n & 255:02x}") for n in range(1000)))
        lines = await page.press("2", "<", "<", "<", "<", "<", "<", "<", "end")
        assert "1,000 devices" in lines[-2]
        assert lines[-3].startswith("3c:a9:f4:00:03:e7")

    seen(script)


def test_a_feed_that_failed_says_so_where_it_is_seen() -> None:
    async def main() -> None:
        feed = Handed()
        feed.fails = InputError("mon0: not in monitor mode")
        live = Live(feed)
        live.start()
        live.wait(None)
        app = TopApp(live, VIEWS[0], Query())
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            assert drawn(pilot)[-2] == "ended: mon0: not in monitor mode"

    asyncio.run(main())


def test_the_pictures_in_the_docs_show_what_the_screen_shows_now() -> None:
    taken = screenshots_top.take(FORMAT)

    drawn = {name: text_of((IMAGES / f"{name}.svg").read_text("utf-8")) for name in taken}
    assert {name: text_of(svg) for name, svg in taken.items()} == drawn, "run `make screenshots`"
