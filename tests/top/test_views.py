"""The tables of `stalk top`: rows, order, filter, columns that fit, the chart, stages' rates."""

from __future__ import annotations

from typing import Any

import pytest

from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.testing import START, frame
from datastalker.text import printable
from datastalker.top.air import Air
from datastalker.top.chart import EIGHTHS, HALVES, chart
from datastalker.top.search import compile_filter
from datastalker.top.stages import Stages, Totals
from datastalker.top.tables import VIEWS
from datastalker.top.views import Query, View, ago, cell_text, fit, select

NETWORKS, DEVICES, SENSORS, STAGES, EVENTS = VIEWS
HOSTILE = "\x1b[2Jé[bold]x[/]\u202e\n漢字"


def ap(number: int) -> str:
    return f"50:c7:bf:00:00:{number:02x}"


def beacon(number: int, ssid: str, **more: Any) -> Message:
    return frame(number, kind="BEACON", ta=ap(number), bssid=ap(number), ssid=ssid, **more)


def shown(view: View, query: Query, *messages: Message) -> list[list[str]]:
    air = Air()
    air.take(messages)
    return [
        [
            cell_text(column, cell, air.now)
            for column, cell in zip(view.columns, row.cells, strict=True)
        ]
        for row in select(view, query, air, Stages())
    ]


def names(query: Query) -> list[str]:
    air = [
        beacon(1, "cellar", signal_dbm=-70, channel=1, security="OPEN"),
        beacon(2, "Attic", signal_dbm=-40, channel=6, security="WPA2"),
        beacon(3, "barn", channel=6, security="OPEN"),
    ]
    return [row[0] for row in shown(NETWORKS, query, *air)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query("ssid"), ["Attic", "barn", "cellar"]),
        (Query("ssid", True), ["cellar", "barn", "Attic"]),
        (Query("signal_dbm", True), ["Attic", "cellar", "barn"]),
        (Query("signal_dbm"), ["cellar", "Attic", "barn"]),
        (Query(""), ["cellar", "Attic", "barn"]),
    ],
)
def test_rows_are_in_the_order_asked_for_and_empty_cells_last(
    query: Query, expected: list[str]
) -> None:
    assert names(query) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", ["cellar", "Attic", "barn"]),
        ("attic", ["Attic"]),
        ("50:c7:bf:00:00:03", ["barn"]),
        ("{signal_dbm: {gte: -60}}", ["Attic"]),
        ("channel: 6, security: OPEN", ["barn"]),
        ('ssid: {matches: "^[a-z]"}', ["cellar", "barn"]),
        ("[bold]", []),
    ],
)
def test_a_filter_is_text_that_a_cell_contains_or_a_condition(
    typed: str, expected: list[str]
) -> None:
    assert names(Query("", False, compile_filter(typed))) == expected


def test_a_condition_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match="unknown comparison 'bigger'"):
        compile_filter("signal_dbm: {bigger: 3}")


def test_a_device_has_its_network_its_probes_and_the_sensor_that_hears_it_best() -> None:
    phone = "3c:a9:f4:00:00:02"
    row = shown(
        DEVICES,
        Query(),
        beacon(1, "cellar"),
        frame(2, kind="PROBE_REQ", ta=phone, ssid="Airport", signal_dbm=-70, sensor="hall"),
        frame(3, ta=phone, bssid=ap(1), to_ds=True, signal_dbm=-50, sensor="study"),
        frame(63, ta=ap(1)),
        Message(type="presence", timestamp=START, event="NEW", key=phone),
    )[0]

    assert row == [phone, "Intel Corporate", "", "cellar", "Airport", "-50", "study", "2", "0", "60 s", "here"]  # fmt: skip # noqa: E501


def test_a_sensor_has_what_it_said_of_itself() -> None:
    status = {"dropped_bad_fcs": 3, "dropped_own": 0, "kernel_dropped": 2, "spooled": 40}
    row = shown(
        SENSORS,
        Query(),
        frame(0, sensor="porch", channel=6),
        frame(0, sensor="porch", channel=1),
        frame(0, sensor="porch", channel=6),
        Message(
            type="sensor",
            key="porch",
            timestamp=START,
            state="running",
            clock_offset_ms=-12.4,
            **status,
        ),
    )[0]

    assert row[0] == "porch"
    assert row[2:] == ["3", "5", "bad_fcs 3, kernel_dropped 2", "40", "-12", "6 67%, 1 33%", "0 s", "running"]  # fmt: skip # noqa: E501


def test_a_status_of_nonsense_hides_no_other_sensor() -> None:
    odd = {
        "spooled": "many",
        "dropped_x": "no",
        "clock_offset_ms": [1],
        "share_2412": "x",
        "interfaces": [1],
    }
    messages = [
        Message(type="sensor", key="attic", timestamp=START, state=5, **odd),
        Message(type="sensor", key="porch", timestamp=START, state="running", spooled=4),
    ]

    for column in SENSORS.columns:
        rows = shown(SENSORS, Query(column.key), *messages)
        assert sorted((row[0], row[5], row[9]) for row in rows) == [
            ("attic", "", ""),
            ("porch", "4", "running"),
        ]


def test_a_hopping_sensor_says_where_it_spends_its_time() -> None:
    row = shown(
        SENSORS,
        Query(),
        frame(0, sensor="porch", channel=6),
        Message(type="sensor", key="porch", timestamp=START, share_2412=0.6, share_2437=0.2),
    )[0]

    assert row[7] == "2412 MHz 75%, 2437 MHz 25%"


def test_what_the_air_sends_is_shown_without_control_characters() -> None:
    cells = [
        *shown(NETWORKS, Query(), beacon(1, HOSTILE))[0],
        *shown(DEVICES, Query(), frame(0, kind="PROBE_REQ", ta="3c:a9:f4:00:00:02", ssid=HOSTILE))[0],
        *shown(SENSORS, Query(), frame(0, sensor=HOSTILE))[0],
        *shown(EVENTS, Query(), Message(type="alert", timestamp=START, alert=HOSTILE, text=HOSTILE))[0],
    ]  # fmt: skip

    assert [cell for cell in cells if printable(cell) != cell or "\n" in cell] == []
    assert sum("[bold]x[/]" in cell and "漢字" in cell for cell in cells) == 5


def test_times_that_no_calendar_has_are_empty() -> None:
    assert shown(EVENTS, Query(), Message(type="alert", timestamp=1 << 62, text="x"))[0][0] == ""


def test_a_narrow_terminal_has_the_columns_that_matter_and_a_wide_one_all() -> None:
    def titles(width: int) -> list[str]:
        return [NETWORKS.columns[i].title for i, _ in fit(NETWORKS.columns, width, {})]

    assert titles(80) == [
        "network",
        "bssid",
        "ch",
        "security",
        "dBm",
        "clients",
        "beacons",
        "heard",
    ]
    assert titles(50) == ["network", "bssid", "ch", "dBm", "heard"]
    assert titles(10) == ["network"]
    assert len(titles(140)) == len(NETWORKS.columns)
    for view in VIEWS:
        for width in (10, 40, 80, 200):
            for needed in (0, 40):
                places = fit(view.columns, width, {0: needed})
                assert sum(w for _, w in places) + len(places) - 1 <= width


def test_for_a_long_name_other_columns_are_left_out() -> None:
    def widths(width: int) -> dict[str, int]:
        return {NETWORKS.columns[i].title: w for i, w in fit(NETWORKS.columns, width, {0: 32})}

    assert widths(80) == {"network": 39, "bssid": 17, "ch": 3, "dBm": 4, "clients": 7, "heard": 5}
    assert widths(50) == {"network": 32, "bssid": 17}
    assert widths(40) == {"network": 22, "bssid": 17}


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 m"), (7200, "2 h"), (200_000, "2 d")]
)
def test_a_length_of_time_is_short(seconds: int, said: str) -> None:
    assert ago(seconds * 1_000_000) == said


def test_a_chart_has_bars_on_a_fixed_scale_and_gaps() -> None:
    assert chart([-100, -60, None, -20], 4, 2, low=-100, high=-20) == ["   █", "▁█ █"]
    assert chart([-40], 1, 1, glyphs=HALVES) == ["█"]


def test_a_chart_shows_the_strongest_of_what_shares_a_column_and_stays_in_its_edges() -> None:
    assert chart([-90, -30, None, None], 2, 1) == [EIGHTHS[7] + " "]
    assert chart([-300, 100], 2, 1) == [EIGHTHS[1] + EIGHTHS[8]]
    assert chart([None, -20], 6, 1) == ["   ███"]


def test_a_stages_rates_are_what_it_counted_over_the_last_seconds() -> None:
    stages = Stages()
    for second in range(20):
        count = second * 100 if second < 10 else 900 + (second - 9) * 50
        stages.take([Totals("dedupe", count, count / 2, count / 2, 0, count * 4e-6)], second)

    rates = stages.rates()[0]

    assert (rates.received, rates.sent, rates.dropped, rates.errors) == (50, 25, 25, 0)
    assert rates.each == pytest.approx(4)


def test_a_stages_row_says_what_it_counts_itself_and_what_had_to_make_room() -> None:
    stages = Stages()
    stages.take([Totals("dedupe", counters={"late": 2, "odd": 0}, evicted=5)], 0)

    (row,) = VIEWS[3].rows(Air(), stages)

    assert row.cells[-1] == "late 2, state evicted 5"


def test_a_process_that_was_started_anew_has_no_negative_rates() -> None:
    stages = Stages()
    stages.take([Totals("dedupe", 1000)], 0)
    stages.take([Totals("dedupe", 10)], 1)

    assert stages.rates()[0].received == 0
