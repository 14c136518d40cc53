"""`stalk simulate`, as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from datastalker.commands.simulate import simulate_command
from datastalker.errors import OutputError


def call(*arguments: str):
    return CliRunner().invoke(simulate_command, arguments, catch_exceptions=False)


def test_it_says_what_it_wrote(tmp_path: Path):
    result = call("--out", str(tmp_path / "air"), "--minutes", "1", "--sensors", "2", "--seed", "7")
    assert result.exit_code == 0
    assert "sensor-hall.pcap" in result.stdout
    assert "sensor-study.pcap" in result.stdout
    assert {path.name for path in (tmp_path / "air").iterdir()} == {
        "README.txt",
        "sensor-hall.pcap",
        "sensor-study.pcap",
        "truth-devices.csv",
        "truth-presence.csv",
        "truth-transmissions.csv.gz",
    }
    assert "seed 7, 1 minutes" in (tmp_path / "air" / "README.txt").read_text()


def test_no_progress_is_shown_where_nobody_looks(tmp_path: Path):
    assert call("--out", str(tmp_path), "--minutes", "1").stderr == ""


def test_the_start_can_be_chosen(tmp_path: Path):
    call("--out", str(tmp_path), "--minutes", "1", "--start", "2020-01-01")
    assert "2020-01-01T00:00:00+00:00" in (tmp_path / "README.txt").read_text()
    capture = (tmp_path / "sensor-hall.pcap").read_bytes()
    assert int.from_bytes(capture[24:28], "little") // 60 in (26297280 - 1, 26297280)


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["--sensors", "9"], ["--density", "0"]])
def test_what_is_out_of_range_is_refused(tmp_path: Path, wrong: list[str]):
    result = call("--out", str(tmp_path), *wrong)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_other_peoples_files_are_refused_in_a_sentence(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="name a new or an empty directory"):
        call("--out", str(tmp_path))
