"""`print` shows messages on standard output."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datastalker.errors import OutputError
from datastalker.message import FRAME_FIELDS, Message
from datastalker.testing import build, frame, run_stage

HOSTILE = "\x1b[2J\r\n\u202eevil\u2028\x85\x00\ud800"


def shown(capsys: pytest.CaptureFixture[str], *messages: Message, **options: Any) -> str:
    assert run_stage("print", messages, **options) == list(messages)
    return capsys.readouterr().out


def test_text_leaves_out_what_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    message = Message(type="frame", timestamp=1, ssid="home", channel=None, my_key=[1])
    assert shown(capsys, message) == "frame timestamp=1 ssid='home' my_key=[1]\n"


def test_text_shows_what_a_terminal_would_act_on_as_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = shown(capsys, frame(ssid=HOSTILE, my_list=[HOSTILE]))
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert "\x1b" not in line


def test_json_has_every_key_of_the_contract_in_its_order_then_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = json.loads(shown(capsys, frame(zebra=1, ssid="a"), format="json"))
    assert list(line) == ["type", *FRAME_FIELDS, "zebra"]
    assert (line["ssid"], line["channel"], line["zebra"]) == ("a", None, 1)


def test_json_is_ascii_and_gives_any_text_back(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, frame(ssid=HOSTILE), format="json")
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["ssid"] == HOSTILE


def test_json_shows_bytes_as_hex_and_sets_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads(shown(capsys, frame(raw=b"\x00\xff", tags={"b", "a"}), format="json"))
    assert (line["raw"], line["tags"]) == ("00ff", ["a", "b"])


def test_each_line_has_the_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Message(type="a"), Message(type="b"), prefix="> ") == "> a\n> b\n"


def test_a_terminal_that_does_not_know_a_character_loses_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    out = run_stage("print", [Message(type="frame", ssid="日本")])
    assert (len(out), raw.getvalue()) == (1, b"frame ssid='\\u65e5\\u672c'\n")


def test_when_nobody_reads_any_more_the_run_ends_and_sinks_have_what_was_printed(
    tmp_path: Path,
) -> None:
    program = (
        "from datastalker.testing import build, frame\n"
        "frames = (frame(i, seq=i) for i in range(100_000))\n"
        f"pipeline = build(['print', {{'csv': {{'directory': {str(tmp_path)!r}}}}}], frames)\n"
        "pipeline.run()\n"
        "import sys; print(pipeline.stop_reason, file=sys.stderr)\n"
    )
    process = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -n 1', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert process.stderr == "nobody reads the output any more\n"
    assert process.returncode == 0
    (file,) = tmp_path.glob("frame-*.csv")
    assert len(file.read_text().splitlines()) > 1000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_run_and_sinks_have_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [frame(i, seq=i) for i in range(4)]
    late = {"print": {"when": {"seq": {"gte": 2}}}}
    pipeline = build([late, {"csv": {"directory": str(tmp_path)}}], frames, batch=2)

    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputError, match="standard output can't be written: No space left"):
            pipeline.run()

    (file,) = tmp_path.glob("frame-*.csv")
    assert len(file.read_text().splitlines()) == 1 + 2
