"""`stalk report`, and the tables that all commands show."""

from __future__ import annotations

import csv
import fcntl
import os
import re
import shutil
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import click
import pytest

from datastalker import config as configuration
from datastalker.cli import main
from datastalker.commands.tables import columns, cut, table
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from datastalker.testing import SECOND, START, frame, run

STALK = Path(__file__).parents[2] / "stalk"
PIPELINE = """\
pipeline:
  - pcap: {{path: {captures}/sensor-*.pcap}}
  - dedupe
  - beacon_filter
  - oui
  - presence: {{absent_after_seconds: 60}}
  - csv: {{directory: {out}{more}}}
"""
Report = Callable[..., list[str]]


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    write_scene(Options(minutes=5), folder)
    return folder


@pytest.fixture(scope="module")
def out(captures: Path) -> Path:
    """CSV of five simulated minutes."""
    return to_csv(captures, captures / "out")


def to_csv(captures: Path, out: Path, more: str = "") -> Path:
    text = PIPELINE.format(captures=captures, out=out, more=more)
    configuration.build(configuration.parse(text, "config.yaml")).run()
    return out


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    def call(*args: str | Path) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            main(["report", *map(str, args)])
        printed = capsys.readouterr()
        return (printed.err if ended.value.code else printed.out).splitlines()

    return call


def terminal(width: int) -> tuple[int, int]:
    """The program's end and ours of a terminal so wide."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    return theirs, ours


def on_a_terminal(width: int, *args: str | Path) -> list[str]:
    """The lines `stalk` shows on a terminal so wide."""
    theirs, ours = terminal(width)
    said = b""
    with subprocess.Popen([STALK, *args], stdout=theirs, env=os.environ | {"TERM": "xterm"}):
        os.close(theirs)
        while data := _read(ours):
            said += data
    os.close(ours)
    return [click.unstyle(line) for line in said.decode().replace("\r\n", "\n").splitlines()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: nobody has its other end any more
        return b""


def test_the_report_knows_the_simulated_household(out: Path, report: Report) -> None:
    lines = report(out)

    networks = {line.split()[0]: line for line in lines[2 : lines.index("")]}
    assert lines[0] == "4 networks"
    assert set(networks) == {"Maple", "(hidden)", "Café"}
    assert networks["(hidden)"].split()[1:3] == ["24:a4:3c:e2:98:eb", "Ubiquiti"]
    assert networks["Café"].split()[-4:] == ["WPA2", "-79", "237", "0"]
    assert "13 devices, 9 with a randomized address" in lines
    assert any(line.startswith("3c:a9:f4:23:9b:6b  Intel Corporate") for line in lines)
    assert "8c:f5:a3:29:64:ca  SAMSUNG ELECTRO-MECHANICS(THAILAND)      51      -55  17:00:27  17:03:11  Maple House" in lines  # fmt: skip # noqa: E501


def test_a_randomized_address_is_called_so_where_it_came_and_went(
    tmp_path: Path, report: Report
) -> None:
    keys = ["3a:fb:9f:45:38:9b", "3c:a9:f4:c8:f9:93", "32 inch: TV"]
    rows = [f"NEW,{n},{key},-6{n}" for n, key in enumerate(keys)]
    (tmp_path / "presence-1.csv").write_text(
        "event,timestamp,key,signal_avg_dbm\n" + "\n".join(rows)
    )

    header, *lines = report(tmp_path)[-4:]
    at, end = header.index("vendor"), header.index("mean dBm")
    assert [line[at:end].strip() for line in lines] == ["(randomized)", "", ""]
    assert [line.split()[-1] for line in lines] == ["-60", "-61", "-62"]


def test_files_that_are_still_being_written_are_named(tmp_path: Path, report: Report) -> None:
    (tmp_path / "alert-20260302T171732Z.csv.part").write_text("time,timestamp,alert\n")

    assert report(tmp_path)[-1].endswith("; alert-20260302T171732Z.csv.part is still being written")


def test_files_that_are_still_being_written_are_said_not_to_be_counted(
    tmp_path: Path, report: Report
) -> None:
    run([{"csv": {"directory": str(tmp_path)}}], [frame(ta="24:a4:3c:00:00:01")])
    (tmp_path / "frame-wifi.decorated-0-000000000000.part").write_text("time,ta\n")
    assert report(tmp_path)[-2:] == ["", "1 file is still being written (.part) and not counted"]

    for name in ("presence-wifi.presence-0-000000000007.part", "sensor-x.csv.part"):
        (tmp_path / name).write_text("time,key\n")

    assert report(tmp_path)[-1] == "2 files are still being written (.part) and not counted"


@pytest.mark.parametrize(
    ("later", "shown"),
    [
        (timedelta(hours=23, minutes=59), "17:00:00  16:59:00"),
        (timedelta(days=1), "03-02 17:00  03-03 17:00"),
        (timedelta(days=365), "2026-03-02 17:00  2027-03-02 17:00"),
    ],
)
def test_times_that_span_more_than_a_day_have_their_date(
    tmp_path: Path, report: Report, later: timedelta, shown: str
) -> None:
    ta, step = "24:a4:3c:00:00:01", later // timedelta(microseconds=1)
    frames = [frame(ta=ta, timestamp=START + n * step, id=f"s-{n}") for n in (0, 1)]
    run([{"csv": {"directory": str(tmp_path)}}], frames)

    assert report(tmp_path)[-1].endswith(f"  {shown}")


def test_a_stay_of_days_says_on_which_it_began(tmp_path: Path, report: Report) -> None:
    rows = [
        f"9,ABSENT,24:a4:3c:00:00:0{days},{START},{START + days * 86_400 * SECOND}"
        for days in (0, 1)
    ]
    (tmp_path / "presence-1.csv").write_text(
        "\n".join(["timestamp,event,key,first_seen,last_seen", *rows])
    )

    stays = [line.split("  ")[-1] for line in report(tmp_path)[-2:]]
    assert stays == ["17:00:00 to 17:00:00", "03-02 17:00:00 to 17:00:00"]


def test_alerts_alone_are_a_report(tmp_path: Path, report: Report) -> None:
    rows = [f"{second},12{second}000000,ap,deauth_flood,\"one, two\",{extra}" for second, extra in (
        (1, ""), (0, '"{""device"": ""02:00""}"'), (2, "no JSON"))]  # fmt: skip
    (tmp_path / "alert-1.csv").write_text("time,timestamp,key,alert,text,extra\n" + "\n".join(rows))

    assert [line.split("  ")[-1].strip() for line in report(tmp_path)] == [
        "3 alerts", "more", "device: 02:00", "one, two", "no JSON"]  # fmt: skip
    assert report(tmp_path, "--limit", "1")[0] == "3 alerts (the last 1; --limit 0 shows all)"
    assert report(tmp_path, "--limit", "1")[-1].endswith("no JSON")


def test_who_came_and_went_is_what_the_truth_says(
    captures: Path, out: Path, report: Report
) -> None:
    with open(captures / "truth-presence.csv", newline="") as handle:
        truth = {row["address"] for row in csv.DictReader(handle) if row["device"][:3] != "ap-"}

    lines = report(out, "--limit", "0")

    events = lines[next(i for i, line in enumerate(lines) if line.startswith("who came")) + 2 :]
    assert {line.split()[3] for line in events if line.split()[2] == "came"} == truth


def test_two_runs_in_one_folder_give_the_report_of_one(
    captures: Path, out: Path, tmp_path: Path, report: Report
) -> None:
    once = report(out)
    both = shutil.copytree(out, tmp_path / "both")
    fewer = "time, id, kind, ta, bssid, to_ds, ssid, ssid_hex, bss_channel, channel, security"
    to_csv(captures, both, f", columns: [{fewer}, signal_dbm, beacons_held_back, ta_oui]")
    assert len(list(both.glob("frame-*.csv"))) == 2

    twice = report(both)

    assert twice[: len(once)] == once
    assert twice[len(once) :] == ["", "2,130 rows left out: they stand in several files"]


def test_rows_without_an_id_count_each(tmp_path: Path, report: Report) -> None:
    for name in ("frame-1.csv", "frame-2.csv"):
        (tmp_path / name).write_text("kind,ta\nDATA,3c:a9:f4:23:9b:6b\n")

    assert report(tmp_path)[-1].split() == ["3c:a9:f4:23:9b:6b", "2"]


def test_a_name_of_nuls_alone_is_a_hidden_network(tmp_path: Path, report: Report) -> None:
    names = ["\0" * 8, "", "\\x00", "a\0"]
    messages = [
        frame(kind="BEACON", ta=f"24:a4:3c:00:00:0{number}", ssid=name, id=f"s-{number}")
        for number, name in enumerate(names)
    ]
    run([{"csv": {"directory": str(tmp_path)}}], messages)

    lines = report(tmp_path)[2:6]

    assert [line.split()[0] for line in lines] == ["(hidden)", "(hidden)", "\\x00", "a\\x00"]


def test_a_time_that_no_calendar_has_is_left_out(tmp_path: Path, report: Report) -> None:
    row = f"7,ABSENT,24:a4:3c:00:00:01,{10**20},1772470800000000"
    (tmp_path / "presence-1.csv").write_text(f"timestamp,event,key,first_seen,last_seen\n{row}\n")

    assert report(tmp_path)[-1].split() == ["went", "24:a4:3c:00:00:01", "to", "17:00:00"]


def test_a_hostile_name_can_do_nothing_to_the_terminal(tmp_path: Path, report: Report) -> None:
    row = "BEACON,24:a4:3c:00:00:01,a\x1b[2J\x9b31m\u202e\u2028b\x07\x7f"
    (tmp_path / "frame-1.csv").write_text(f"kind,ta,ssid\n{row}\n", encoding="utf-8")

    lines = report(tmp_path)

    assert lines[2].startswith(r"a\x1b[2J\x9b31m\u{202e}\u{2028}b\x07\x7f  24:a4:3c:00:00:01")
    assert not {unicodedata.category(c) for line in lines for c in line} & {"Cc", "Cf", "Zl"}


def test_where_nothing_is_the_report_says_what_to_do(tmp_path: Path, report: Report) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert report(folder)[-1].startswith(f"stalk: there is no frame-*.csv, presence-*.csv or alert-*.csv in {folder}/;")  # fmt: skip # noqa: E501


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("frame-1.csv", "ta,kind,signal_dbm\n00:00:00:00:00:01,NULL,-5\x1b0\n", "signal_dbm is '-5\\x1b0', not a whole number"),  # noqa: E501
        ("frame-1.csv", "ta,kind\nsome,NULL\n", "ta is 'some', not an address"),
        ("presence-1.csv", "timestamp,event,key\n1.77E+15,NEW,x\n", "timestamp is '1.77E+15', not a whole number"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_row_that_another_program_changed_is_named(
    tmp_path: Path, report: Report, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)

    assert report(tmp_path)[-1] == f"stalk: {tmp_path}/{name}, line 2: {said}; another program wrote that, such as a spreadsheet"  # fmt: skip # noqa: E501


def test_a_folder_that_cannot_be_read_is_said_to_be_so(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)

    assert report(tmp_path) == [f"stalk: {tmp_path}/ can't be read: Permission denied"]


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("é", 1), ("e\u0301", 1), ("カフェ", 6), ("ﬁ", 1), ("📶", 2), ("ａ", 2), ("ก\u0e31", 1)],
)  # fmt: skip
def test_a_character_takes_the_columns_that_a_terminal_gives_it(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("カフェの店", 6, "カフ…"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
    ],
)
def test_a_cut_text_never_takes_more_columns_than_it_may(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_columns_stand_straight_below_wide_and_combining_characters() -> None:
    names = ["カフェ", "cafe", "cafe\u0301", "카페 5호점", "無線" * 30]

    lines = click.unstyle(table(["network", "dBm"], [[name, -50] for name in names])).split("\n")

    assert {columns(line) for line in lines} == {columns(lines[0])}


@pytest.mark.parametrize("width", [50, 80, 100])
def test_a_report_fits_the_terminal_and_keeps_names_and_addresses_whole(
    out: Path, report: Report, width: int
) -> None:
    lines = on_a_terminal(width, "report", out)

    assert max(columns(line) for line in lines if "--limit" not in line) <= width
    for wide, narrow in zip(report(out), lines, strict=True):
        assert re.findall("^Maple [a-zA-Z]+|(?:[0-9a-f]{2}:){5}..", narrow) == (
            re.findall("^Maple [a-zA-Z]+|(?:[0-9a-f]{2}:){5}..", wide)
        )
    assert "3c:a9:f4:23:9b:6b" in "".join(lines)


def test_a_column_that_matters_less_is_left_out_rather_than_cut_short(out: Path) -> None:
    def headers(width: int) -> list[list[str]]:
        lines = on_a_terminal(width, "report", out)
        return [line.split() for line in lines if re.match("network +b|device +|time ", line)]

    assert headers(80) == [
        ["network", "bssid", "channel", "security", "max", "dBm", "beacons", "clients"],
        ["device", "vendor", "frames", "max", "dBm", "first", "last", "probed", "for"],
        ["time", "(UTC)", "event", "device", "mean", "dBm", "stay"],
    ]
    assert headers(50) == [
        ["network", "bssid", "channel", "max", "dBm"],
        ["device", "frames", "max", "dBm", "last"],
        ["time", "(UTC)", "event", "device"],
    ]


def test_a_report_into_a_file_is_not_cut(out: Path, report: Report) -> None:
    assert max(map(columns, report(out))) > 80


@pytest.mark.parametrize("width", [30, 80])
def test_the_list_of_stages_is_wrapped(width: int) -> None:
    lines = on_a_terminal(width, "stages")

    assert max(map(columns, lines)) <= width
    assert any(re.match(r"dedupe +stage +Passes", line) for line in lines)


def test_a_column_that_is_wanted_whole_is_cut_by_no_more_than_the_terminal() -> None:
    rows = [["word " * 20, "word " * 20]]

    _, line = table(["cut", "whole"], rows, whole=["whole"]).splitlines()

    assert line == "word " * 7 + "word…  " + ("word " * 20).strip()
