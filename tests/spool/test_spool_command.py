"""`stalk spool`: looks at what waits, and sends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from capture_agent.outbox import Parcel
from capture_agent.spool import Spool
from capture_agent.spool_files import contents
from datastalker.commands.spool import spool_command
from datastalker.errors import BrokerError, ConfigError, InputError, OutputError

Call = Callable[..., Result]
_TIME = 1_772_470_800_000_000


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Calls a command of a configuration whose spool has three records."""
    spool = Spool(tmp_path / "spool", 4 << 20)
    for number in range(2):
        parcel = Parcel("frames", number, b"x" * 500, "frames", 200, None, "abc", number, _TIME)
        spool.append(parcel)
    spool.append(Parcel("events", 0, b"{}", "event", 0, b"key", "abc", -1, _TIME + 1_000_000))
    spool.close()
    path = tmp_path / "c.yaml"
    path.write_text(
        f"agent: {{spool_directory: {tmp_path}/spool}}\n"
        "kafka: {bootstrap_servers: '127.0.0.1:1'}\n"
        "pipeline: [{pcap: {path: '-'}}, {topic: frames}]\n"
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(spool_command, [*words, "-c", str(path)], catch_exceptions=False)

    return run


def test_check_says_what_waits_and_since_when(call: Call, tmp_path: Path) -> None:
    done = call("check")

    assert done.exit_code == 0
    assert f"{tmp_path}/spool: 3 batches wait (1 event, 2 frames)" in done.output
    assert "400 frames, " in done.output
    assert "made 2026-03-02 17:00:00 to 2026-03-02 17:00:01 UTC" in done.output


def test_check_names_what_is_damaged_and_fails(call: Call, tmp_path: Path) -> None:
    (path,) = (tmp_path / "spool").glob("*.spool")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)

    done = call("check")

    assert done.exit_code == 1
    assert "2 batches wait" in done.output
    assert f"{path.name}: 553 bytes are no whole record; they are left out" in done.output


def test_show_lists_the_records(call: Call) -> None:
    lines = call("show", "-n", "2").output.splitlines()

    assert lines[-3].split()[:6] == ["0000000001@16", "frames[0]", "frames", "abc", "0", "200"]
    assert lines[-2].split()[:6] == ["0000000001@569", "frames[1]", "frames", "abc", "1", "200"]
    assert lines[-1] == "and 1 more; -n 0 lists all"


@pytest.mark.parametrize("command", ["check", "show", "drain"])
def test_what_is_no_spool_is_said_and_never_called_empty(
    call: Call, tmp_path: Path, command: str
) -> None:
    spool = tmp_path / "spool"
    spool.rename(tmp_path / "away")

    with pytest.raises(InputError, match="spool isn't there: no agent has made it"):
        call(command)
    assert not spool.exists()  # one that root had made would be closed to the agent
    spool.touch()
    with pytest.raises(InputError, match="spool is no folder"):
        call(command)


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder away, so needs root")
@pytest.mark.parametrize("command", ["check", "show", "drain"])
def test_a_folder_of_somebody_else_is_a_sentence(call: Call, tmp_path: Path, command: str) -> None:
    assert call("check").exit_code == 0
    os.chown(tmp_path / "spool", 65534, 65534)
    rights = "-dac_override,-dac_read_search"
    stalk = [sys.executable, "-m", "datastalker", "spool", command, "-c", str(tmp_path / "c.yaml")]
    done = subprocess.run(
        ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *stalk],
        capture_output=True,
        text=True,
    )

    said = f"{tmp_path}/spool may not be read; run this as the user of the agent, or as root\n"
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"stalk: agent: spool_directory: {said}"


def test_show_says_what_can_not_be_read_rather_than_that_nothing_is_there(
    call: Call, tmp_path: Path
) -> None:
    (path,) = (tmp_path / "spool").glob("*.spool")
    path.write_bytes(b"x" * 2000)

    said = call("show").output

    assert said == f"{path.name}: its header is damaged; none of its records are sent\n"


def test_drain_without_a_broker_says_so_and_loses_nothing(call: Call) -> None:
    with pytest.raises(BrokerError, match="nothing listens at"):
        call("drain")

    assert "3 batches wait" in call("check").output


def test_drain_beside_an_agent_is_refused(call: Call, tmp_path: Path) -> None:
    spool: Any = Spool(tmp_path / "spool", 4 << 20)

    with pytest.raises(OutputError, match="is used by process"):
        call("drain")
    spool.close()


def test_a_configuration_without_a_spool_is_told_where_to_name_one(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("pipeline: [{pcap: {path: '-'}}, {topic: frames}]\n")

    with pytest.raises(ConfigError, match=r"agent: \{spool_directory: DIR"):
        CliRunner().invoke(spool_command, ["check", "-c", str(path)], catch_exceptions=False)


_AT_WORK = """
import os, sys, time
from pathlib import Path
from capture_agent.outbox import Parcel
from capture_agent.spool import Spool
spool, number, end = Spool(Path(sys.argv[1]), 4 << 20), 0, time.monotonic() + 120
while time.monotonic() < end:
    for _ in range(40):
        value = os.urandom(number * 997 % 60_000)
        spool.append(Parcel("t", 0, value, "frames", 1, None, "me", number, 1))
        number += 1
    while (given := spool.next()) is not None:
        spool.done(*given)
    spool.sync()
"""


def test_what_an_agent_is_writing_or_removing_just_now_is_not_called_damaged(
    tmp_path: Path,
) -> None:
    agent = subprocess.Popen([sys.executable, "-c", _AT_WORK, str(tmp_path)])
    try:
        looks, end = 0, time.monotonic() + 60
        while looks < 2000 and time.monotonic() < end:
            told = contents(tmp_path)
            assert (told.damaged, told.unreadable) == ({}, {})
            looks += bool(told.batches)
    finally:
        agent.kill()
        agent.wait()

    assert looks > 20
