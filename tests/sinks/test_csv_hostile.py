"""Anyone can send any name: a CSV holds it safely, and its very bytes come back."""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datastalker.message import Message
from datastalker.testing import frame, run

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")', "\t=1", "\r=1", " =1", "\u3000=1",
    "＝1+1", "a;=1+1", "a|@x", "a; -1", '";=1', ',=1', '"=1',
]  # fmt: skip


def heard(ssid: bytes) -> Message:
    """A beacon as the capture agent makes it of an SSID's bytes."""
    try:
        return frame(kind="BEACON", ssid=ssid.decode())
    except UnicodeDecodeError:
        return frame(kind="BEACON", ssid=ssid.decode(errors="replace"), ssid_hex=ssid.hex())


def very_bytes(row: dict[str, str]) -> bytes:
    return bytes.fromhex(row["ssid_hex"]) if row["ssid_hex"] else row["ssid"].encode()


def write(folder: Path, ssids: Iterable[bytes]) -> Path:
    run([{"csv": {"directory": str(folder)}}], map(heard, ssids))
    (file,) = folder.glob("frame-*.csv")
    return file


def read(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, strict=True))


def is_harmless(cell: str) -> bool:
    """No control, line separator or bidirectional override; nowhere a formula could begin."""
    parts = cell.replace("|", ";").split(";")
    return not any(
        unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI"}
        for c in cell
    ) and not any(part.strip().startswith(tuple("=+-@＝＋－＠")) for part in parts)


def check(folder: Path, ssids: list[bytes]) -> None:
    file = write(folder, ssids)
    rows = read(file)
    assert [very_bytes(row) for row in rows] == ssids
    content = file.read_bytes()
    assert content.count(b"\n") == len(content.decode().splitlines()) == len(ssids) + 1
    for row in rows:
        assert is_harmless(row["ssid"]), row["ssid"]


def test_every_ssid_of_up_to_two_bytes_comes_back_as_its_very_bytes(tmp_path: Path) -> None:
    two = (bytes([a, b]) for a in range(256) for b in range(256))
    check(tmp_path, [b"", *(bytes([a]) for a in range(256)), *two])


TEXT = st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ssids=st.lists(st.binary(max_size=32) | TEXT, min_size=1))
def test_any_ssid_comes_back_as_its_very_bytes(tmp_path: Path, ssids: list[bytes]) -> None:
    shutil.rmtree(tmp_path)
    check(tmp_path, ssids)


def test_twenty_thousand_made_up_ssids_come_back_as_their_very_bytes(tmp_path: Path) -> None:
    check(tmp_path, made_up(20_000))


def made_up(count: int) -> list[bytes]:
    """SSIDs of up to 32 bytes, of all bytes, of what is dangerous, of text in many scripts."""
    draw = random.Random(7)
    dangerous = [c.encode() for c in "=+-@;|,\"'\\\t\r\n\0\x1b \u202e\u2028\ufeff\u3000＝\x85é日😀"]
    ssids = []
    for number in range(count):
        if number % 3 == 0:
            ssid = draw.randbytes(draw.randrange(33))
        elif number % 3 == 1:
            ssid = b"".join(draw.choices(dangerous, k=draw.randrange(12)))
        else:
            ssid = "".join(
                map(chr, draw.choices(range(0x20, 0xD7FF), k=draw.randrange(10)))
            ).encode()
        ssids.append(ssid[:32])
    return ssids


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_shown_not_run_and_its_bytes_stand_beside_it(
    tmp_path: Path, formula: str
) -> None:
    (row,) = read(write(tmp_path, [formula.encode()]))
    assert is_harmless(row["ssid"])
    assert very_bytes(row) == formula.encode()


@pytest.mark.parametrize(
    "name", ["home", "café", "日本", "it's", "5GHz", "a=b", "C:\\x", "'=1", "a b "]
)
def test_an_ordinary_name_stands_as_it_is(tmp_path: Path, name: str) -> None:
    (row,) = read(write(tmp_path, [name.encode()]))
    assert (row["ssid"], row["ssid_hex"]) == (name, "")


def test_hidden_and_absent_differ_in_the_elements(tmp_path: Path) -> None:
    hidden, absent = frame(ssid="", elements=[0, 1]), frame(elements=[1])
    run([{"csv": {"directory": str(tmp_path)}}], [hidden, absent])
    rows = read(next(tmp_path.iterdir()))
    assert [(row["ssid"], row["elements"]) for row in rows] == [("", "0 1"), ("", "1")]


@pytest.mark.parametrize(
    "kind", ["../../x", "/etc/passwd", "a/b", "", ".", "..", "x" * 500, "\0", "n\nl", "日本", "-rf"]
)
def test_no_message_type_gets_out_of_the_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "deep" / "out"
    run([{"csv": {"directory": str(folder)}}], [Message(type=kind, timestamp=0)])
    assert [path.parent for path in tmp_path.rglob("*.csv*")] == [folder]


def test_types_whose_names_look_alike_do_not_share_a_file(tmp_path: Path) -> None:
    messages = [Message(type=kind, timestamp=0, what=kind) for kind in ("a/b", "a.b", "a/b")]
    run([{"csv": {"directory": str(tmp_path)}}], messages)
    files = sorted(path.read_text().count("\n") for path in tmp_path.glob("a_b-*.csv"))
    assert files == [2, 3]


def by_sqlite(file: Path) -> list[bytes]:
    if not shutil.which("sqlite3"):
        pytest.skip("the sqlite3 shell is not installed (apt-get install sqlite3)")
    commands = f'.mode csv\n.import "{file}" frames\n.mode list\n.headers off\n'
    commands += "select hex(cast(ssid as blob)) || '/' || ssid_hex from frames order by rowid;\n"
    out = subprocess.run(["sqlite3"], input=commands, capture_output=True, text=True, check=True)
    assert out.stderr == ""
    pairs = [line.split("/") for line in out.stdout.splitlines()]
    return [bytes.fromhex(in_hex or shown) for shown, in_hex in pairs]


def by_miller(file: Path) -> list[bytes]:
    if not shutil.which("mlr"):
        pytest.skip("Miller is not installed (apt-get install miller)")
    command = ["mlr", "--icsv", "--ojson", "-S", "cut", "-f", "ssid,ssid_hex", str(file)]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    return [very_bytes(row) for row in json.loads(out)]


@pytest.mark.parametrize("reader", [by_sqlite, by_miller])
def test_another_programs_reader_gives_the_very_bytes_too(
    tmp_path: Path, reader: Callable[[Path], list[bytes]]
) -> None:
    ssids = [*made_up(2000), *(formula.encode() for formula in FORMULAS)]
    short = chain([b""], (bytes([a]) for a in range(256)))
    ssids += short
    assert reader(write(tmp_path, ssids)) == ssids
