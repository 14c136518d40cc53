"""A row of a CSV: the contract's columns, whatever a message holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from datastalker.errors import ConfigError
from datastalker.message import FRAME_FIELDS, PRESENCE_FIELDS, Message
from datastalker.testing import START, build, frame, run
from sinks.layout import Layout

STAMP = "20260302T170000Z"


def write(folder: Path, *messages: Message, before: tuple[Any, ...] = (), **options: Any) -> None:
    run([*before, {"csv": {"directory": str(folder), **options}}], messages)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, strict=True))


def row(folder: Path, message: Message, **options: Any) -> dict[str, str]:
    """What stands in the row of one message; empty cells left out."""
    write(folder, message, **options)
    (cells,) = read(folder / f"{message.type}-{STAMP}.csv")
    return {name: cell for name, cell in cells.items() if cell}


def test_a_file_is_rfc_4180_with_a_header(tmp_path: Path) -> None:
    write(tmp_path, frame(ssid='a "b", c'), columns=["kind", "ssid", "seq"])
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b'kind,ssid,seq\r\nDATA,"a ""b"", c",\r\n'


def test_each_message_type_has_files_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, frame(ta="00:00:00:00:00:01"), frame(), before=("presence",))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"frame-{STAMP}.csv", f"presence-{STAMP}.csv"]
    assert len(read(tmp_path / f"frame-{STAMP}.csv")) == 2


def test_columns_are_the_contract_then_what_stages_add_then_extra(tmp_path: Path) -> None:
    before = ("oui", "beacon_filter", "moving_average", "presence")
    write(tmp_path, frame(ta="00:00:00:00:00:01"), before=before)
    (seen,) = read(tmp_path / f"frame-{STAMP}.csv")
    assert list(seen)[: len(FRAME_FIELDS) + 1] == ["time", *FRAME_FIELDS]
    added = list(seen)[len(FRAME_FIELDS) + 1 :]
    assert {"ta_oui", "beacons_held_back", "signal_dbm_avg"} <= set(added)
    assert added[-1] == "extra"
    (stay,) = read(tmp_path / f"presence-{STAMP}.csv")
    assert list(stay) == ["time", *PRESENCE_FIELDS, "extra"]


def test_the_header_is_the_same_whatever_the_messages_hold(tmp_path: Path) -> None:
    for name, message in (("a", frame()), ("b", frame(ssid="x", seq=1, zebra=1))):
        write(tmp_path / name, message)
    heads = {path.read_bytes().split(b"\r\n")[0] for path in tmp_path.glob("*/*.csv")}
    assert len(heads) == 1


def test_values_are_written_as_people_and_programs_read_them(tmp_path: Path) -> None:
    message = frame(
        0.5, id="f-1", sensor="hall", labels={"site": "home", "floor": "2"}, ta="00:00:00:00:00:01",
        retry=True, protected=False, signal_dbm=-70, seq=0, ssid="café", rates_kbps=[6000, 12000],
        pairwise_ciphers=["CCMP", "TKIP"], tsf=2**63,
    )  # fmt: skip
    assert row(tmp_path, message) == {
        "time": "2026-03-02T17:00:00.500000Z", "timestamp": str(START + 500_000), "id": "f-1",
        "sensor": "hall", "labels": '{"floor":"2","site":"home"}', "kind": "DATA",
        "ta": "00:00:00:00:00:01", "retry": "true", "protected": "false", "signal_dbm": "-70",
        "seq": "0", "ssid": "café", "rates_kbps": "6000 12000", "pairwise_ciphers": "CCMP TKIP",
        "tsf": str(2**63),
    }  # fmt: skip


def test_keys_beyond_the_contract_are_json_in_extra(tmp_path: Path) -> None:
    message = frame(zebra=1.5, ape=["=1", None], raw=b"\xff", when={"b": 1, "a": 2}, nothing=None)
    assert json.loads(row(tmp_path, message)["extra"]) == {
        "ape": ["=1", None], "raw": "ff", "when": {"a": 2, "b": 1}, "zebra": 1.5,
    }  # fmt: skip


def test_a_type_of_a_plug_ins_own_has_its_time_and_the_rest_in_extra(tmp_path: Path) -> None:
    alert = Message(type="mine", timestamp=START, text="=cmd()")
    assert row(tmp_path, alert) == {
        "time": "2026-03-02T17:00:00.000000Z",
        "timestamp": str(START),
        "extra": '{"text":"=cmd()"}',
    }


def test_columns_can_be_chosen_also_a_plug_ins_own(tmp_path: Path) -> None:
    message = frame(seq=1, ssid="a", score=0.5)
    assert row(tmp_path, message, columns=["seq", "score"]) == {"seq": "1", "score": "0.5"}


def test_chosen_columns_leave_the_rest_to_extra_where_it_is_among_them(tmp_path: Path) -> None:
    cells = row(tmp_path, Message(type="frame", timestamp=START, seq=1), columns=["seq", "extra"])
    assert cells == {"seq": "1", "extra": f'{{"timestamp":{START}}}'}


def test_chosen_columns_are_those_of_frames_only(tmp_path: Path) -> None:
    write(tmp_path, frame(ta="00:00:00:00:00:01"), before=("presence",), columns=["ta"])
    assert read(tmp_path / f"presence-{STAMP}.csv")[0]["event"] == "NEW"


def test_a_column_that_stands_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="column 'ta' stands twice"):
        build([{"csv": {"columns": ["ta", "ta"]}}])


def test_a_row_of_one_empty_cell_is_a_row(tmp_path: Path) -> None:
    write(tmp_path, frame(), frame(ssid="a"), columns=["ssid"])
    assert [r["ssid"] for r in read(tmp_path / f"frame-{STAMP}.csv")] == ["", "a"]


HOSTILE: list[Any] = [
    "=1+1\n", ["=1", "\n"], {"a": {1, 2}}, {1: 2, "b": 3}, b"\n", True, 1.5, float("nan"), {(): 1},
    (1, 2), -1, 2**70, object(), "\ud800", [[[]]], [], {"=": "\r\n"}, ["a;=1"], "a;=1", "\t@x", 0,
]  # fmt: skip


@pytest.mark.parametrize("key", [*FRAME_FIELDS, "note"])
def test_a_value_of_another_type_than_its_columns_loses_no_row(tmp_path: Path, key: str) -> None:
    write(tmp_path, frame(0), *(frame(0, **{key: value}) for value in HOSTILE), rotate_seconds=None)
    (file,) = tmp_path.iterdir()
    text, rows = file.read_bytes().decode(), read(file)
    assert len(text.splitlines()) == text.count("\n") == len(rows) + 1 == len(HOSTILE) + 2
    assert not any(is_acted_on(cell) for row in rows for cell in row.values())


def is_acted_on(cell: str) -> bool:
    """Whether a spreadsheet would take a cell, or what it may take for one, for a formula."""
    parts = cell.replace("|", ";").split(";")
    return any(part.strip()[:1] in {"=", "+", "-", "@"} and not number(part) for part in parts)


def number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_a_list_whose_items_a_space_would_not_tell_apart_is_json(tmp_path: Path) -> None:
    for number, items in enumerate((["a b", "c"], ["=a", "b"], ["\x1b"], ["", "a"], ["[a]"])):
        message = Message(type="presence", timestamp=START, ssids=items)
        assert json.loads(row(tmp_path / str(number), message)["ssids"]) == items


def test_a_time_beyond_what_a_calendar_has_is_left_to_the_timestamp(tmp_path: Path) -> None:
    write(tmp_path, Message(type="frame", timestamp=2**62))
    (file,) = tmp_path.iterdir()
    assert [r["time"] for r in read(file)] == [""]
    assert [r["timestamp"] for r in read(file)] == [str(2**62)]


def test_a_row_is_the_same_however_often_its_like_was_written(tmp_path: Path) -> None:
    """Rows of keys that come often are written by a function of their own."""
    times = (-2_234_567, -1, 0, 5, 999_999, 1_000_000, START, 253_402_300_800_000_000, 10**18)
    odd: list[dict[str, Any]] = [
        {"seq": True},
        {"retry": 1},
        {"retry": "no"},
        {"ta": 7},
        {"seq": None},
    ]
    for n, keys in enumerate([*({"timestamp": time} for time in times), *odd, {"seq": 1.5}]):
        message = frame(ssid="x", seq=n, retry=True, ta="00:00:00:00:00:01", zebra=1)
        message.update(keys)
        first, often = Layout("frame", None, ()), Layout("frame", None, ())
        for _ in range(50):
            often.line(frame(ssid="y", seq=1, retry=False, ta="00:00:00:00:00:02", zebra=2))
        assert often.line(message) == first.line(message)
        assert often._lines
