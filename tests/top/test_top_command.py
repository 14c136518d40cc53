"""`stalk top`, as a user calls it: on a terminal, in a pipe, on a live interface."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastalker.text import printable

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., Any]


def once(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of `stalk top` in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "datastalker", "top", *arguments], cwd=ROOT, text=True, timeout=60,
        capture_output=True, stdin=subprocess.DEVNULL, env={**os.environ, **env},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_in_a_pipe_it_is_one_plain_table(captures: Path) -> None:
    code, out, err = once("--read", f"{captures}/sensor-hall.pcap")

    lines = out.splitlines()
    assert (code, err, lines[0]) == (0, "", "4 networks")
    assert lines[1].split()[:3] == ["network", "bssid", "ch"]
    assert [line[:11] for line in lines[2:]] == ["Maple House", "Maple Guest", "(hidden: ma", "Café No. 5 "]  # fmt: skip # noqa: E501
    assert printable(out) == out


def test_its_rows_are_ordered_filtered_and_limited_as_asked(captures: Path) -> None:
    code, out, _ = once(
        "--read", f"{captures}/sensor-hall.pcap", "--view", "devices", "--sort", "-dBm",
        "--filter", "ta_randomized: true", "--limit", "3",
    )  # fmt: skip

    lines = out.splitlines()
    assert code == 0
    assert lines[0].endswith(" devices (the first 3; --limit 0 shows all)")
    signals = [int(line[line.index("-") :].split()[0]) for line in lines[2:]]
    assert len(signals) == 3
    assert signals == sorted(signals, reverse=True)


def test_a_configurations_source_and_stages_run_and_nothing_is_stored_or_printed(
    captures: Path, tmp_path: Path
) -> None:
    (tmp_path / "home.yaml").write_text(
        f"pipeline:\n- pcap: {{path: '{captures}/sensor-*.pcap'}}\n- dedupe\n- print\n"
        "- topic: wifi.frames\n- presence\n- topic: {frame: wifi.all, presence: wifi.who}\n"
        f"- csv: {{directory: {tmp_path}/out}}\n"
    )

    code, out, _ = once("-c", f"{tmp_path}/home.yaml", "--view", "stages")

    lines = [line.split() for line in out.splitlines()]
    assert (code, [line[0] for line in lines[2:]]) == (
        0,
        ["pcap", "dedupe", "topic", "presence", "topic"],
    )
    assert not (tmp_path / "out").exists()


def test_behind_pseudonymise_no_address_is_shown(captures: Path, tmp_path: Path) -> None:
    with (captures / "truth-devices.csv").open() as file:
        addresses = {a for row in csv.DictReader(file) for a in row["addresses"].split()}
    (tmp_path / "home.yaml").write_text(
        f"pipeline:\n- pcap: {{path: '{captures}/sensor-*.pcap'}}\n"
        "- pseudonymise: {key: 0123456789abcdef, keep_ssids: true}\n"
    )

    said = [once("-c", f"{tmp_path}/home.yaml", "--view", v)[1] for v in ("devices", "networks")]

    assert said[0].count("\n") > 3
    assert {address for address in addresses if address in "".join(said)} == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one of: -i INTERFACE, -c FILE, --read FILE, --url URL"),
        (("--read", "x", "-i", "y"), "name one of"),
        (("--read", "nowhere.pcap"), "nowhere.pcap"),
        (("--read", "x", "--sort", "foo"), "have no column 'foo' (there is: network, bssid, ch"),
        (("--read", "x", "--sort", "netwerk"), "no column 'netwerk', did you mean 'network'?\n"),
        (("--read", "x", "--filter", "a: {b: 1}"), "unknown comparison 'b'"),
        (("--read", "x", "--speed", "fast"), "--speed is a number, or max, not 'fast'"),
        (("-i", "x", "--speed", "2"), "--speed goes with --read"),
        (("-i", "a/b"), "'a/b' can't be an interface's name"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = once(*arguments)

    assert code in (1, 2)
    assert out == ""
    assert said in err
    assert err.count("bssid") < 2  # columns are listed once, if at all
    assert "Traceback" not in err


def test_on_a_terminal_keys_work_it_follows_its_size_and_leaves_it_as_it_was(
    captures: Path, terminal: Start
) -> None:
    seen = terminal("--read", f"{captures}/sensor-*.pcap", "--speed", "100")
    lines = seen.wait("Maple House")
    assert lines[0].startswith(" 1 networks  2 devices")

    seen.press("2")
    seen.wait("device            vendor")
    seen.press("\r")
    seen.wait("kinds: ")
    seen.press("\x1b")
    seen.wait("device            vendor")
    seen.resize(40, 12)
    seen.press("1")
    lines = seen.wait("network")
    assert max(map(len, lines)) <= 40
    seen.press("/maple/quit\r")
    seen.wait("filter: maple/quit")
    seen.press("q")

    assert seen.end() == 0
    assert b"\x1b[?1049h" in seen.raw
    assert seen.raw.rindex(b"\x1b[?1049l") > seen.raw.rindex(b"\x1b[?1049h")
    assert b"\x1b[?25h" in seen.raw[seen.raw.rindex(b"\x1b[?1049l") - 200 :]


def test_a_filter_that_was_given_is_shown_and_holds_in_each_table(
    captures: Path, terminal: Start
) -> None:
    given = ("--speed", "100", "--filter", "maple")
    seen = terminal("--read", f"{captures}/sensor-hall.pcap", *given, columns=100)
    seen.wait("Maple House")
    seen.press("2")
    lines = seen.wait("device            vendor")
    assert "filter: maple" in lines[-2]
    seen.press("1")
    lines = seen.wait(" bssid ")
    assert all("maple" in line.lower() for line in lines[2:-2] if line), lines
    seen.press("q")
    assert seen.end() == 0


def test_what_is_of_the_plain_table_alone_is_refused_on_a_screen(terminal: Start) -> None:
    seen = terminal("--read", "x.pcap", "--seconds", "2")

    assert seen.end() == 2
    assert "--seconds goes with --once" in " ".join(seen.seen)


def test_sigterm_a_lost_connection_and_ctrl_c_leave_the_terminal_as_it_was(
    captures: Path, terminal: Start
) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, None):
        seen = terminal("--read", f"{captures}/sensor-hall.pcap")
        seen.wait("frames/s")
        seen.process.send_signal(number) if number else seen.press("\x03")

        assert seen.end() == 0
        assert b"\x1b[?1049l" in seen.raw


def test_without_colour_there_is_none(captures: Path, terminal: Start) -> None:
    seen = terminal("--read", f"{captures}/sensor-hall.pcap", "--speed", "max", NO_COLOR="1")
    seen.wait("Maple House")
    seen.press("q")
    seen.end()

    assert {c.fg for row in seen.screen.buffer.values() for c in row.values()} <= {"default"}


def test_a_dumb_terminal_gets_the_plain_table(captures: Path, terminal: Start) -> None:
    seen = terminal("--read", f"{captures}/sensor-hall.pcap", columns=80, TERM="dumb")

    assert seen.end() == 0
    assert "4 networks" in seen.seen
    assert b"\x1b[?1049h" not in seen.raw


@pytest.mark.parametrize("columns", [80, 50])
@pytest.mark.parametrize("view", ["networks", "devices"])
def test_a_narrow_terminal_cuts_no_name_and_no_address(
    captures: Path, terminal: Start, view: str, columns: int
) -> None:
    read = ("--read", f"{captures}/sensor-hall.pcap", "--view", view)
    seen = terminal(*read, "--once", columns=columns)
    assert seen.end() == 0
    _, out, _ = once(*read)

    names = re.compile(
        r"(?:(?:Maple \w+|Café No\. 5|\(hidden.*\)) +)?(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
    )
    whole = [found[0] for found in map(names.match, out.splitlines()) if found]
    shown = [found[0] for found in map(names.match, seen.seen) if found]
    assert shown == whole
    assert len(whole) > 3


def test_the_log_does_not_run_into_the_picture(tmp_path: Path, terminal: Start) -> None:
    (tmp_path / "ether.pcap").write_bytes(
        bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
        + bytes.fromhex("00000000000000000e0000000e000000")
        + bytes(14)
    )
    seen = terminal("--read", f"{tmp_path}/ether.pcap", "--view", "events", columns=300)
    lines = seen.wait("ether.pcap holds")

    row = next(line for line in lines if "ether.pcap holds" in line)
    assert row.split()[1:3] == ["warning", "stage.pcap"]


def test_what_a_live_interface_hears_is_seen_while_it_comes(
    make_radio: Start, make_sniffer: Start, terminal: Start
) -> None:
    radio = make_radio()
    seen = terminal("-i", radio.name, "--refresh", "0.2")
    seen.wait("networks")
    end = threading.Event()

    def talk() -> None:
        number = 0
        while not end.is_set():
            hostile = make_sniffer.beacon(number, ssid=b"\x1b[31mred")
            radio.send([make_sniffer.radiotap(hostile)] * 4, rate=40)
            number += 1

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        row = next(line for line in seen.wait("\\x1b[31mred") if "\\x1b" in line)
        assert row.split()[1:4] == ["02:00:00:00:00:01", "6", "OPEN"]
        seen.press("3")
        seen.wait(os.uname().nodename[:12])
        seen.press("5")
        seen.wait("listening")
    finally:
        end.set()
        talker.join()
    seen.press("q")
    assert seen.end() == 0


def test_with_once_a_live_interface_is_heard_for_so_many_seconds(
    make_radio: Start, make_sniffer: Start
) -> None:
    radio = make_radio()
    end = threading.Event()

    def talk() -> None:
        while not end.is_set():
            radio.send([make_sniffer.radiotap(make_sniffer.beacon(1))], rate=50)
            end.wait(0.01)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        code, out, _ = once("-i", radio.name, "--once", "--seconds", "1")
    finally:
        end.set()
        talker.join()

    assert code == 0
    assert out.splitlines()[2].split()[0] == "house"


def test_with_once_an_interface_that_is_not_there_is_an_error(make_radio: Start) -> None:
    make_radio()  # or this process may hear none
    code, out, err = once("-i", "nosuch0", "--once", "--seconds", "2")

    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "stalk: nothing was heard: nosuch0: there is no interface of that name"
    )


def test_help_and_the_plain_table_need_no_library_for_screens(captures: Path) -> None:
    script = (
        "import sys; sys.modules['textual'] = sys.modules['rich'] = None\n"
        "from datastalker.cli import main\n"
        f"main(['top', '--once', '--read', '{captures}/sensor-hall.pcap'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "4 networks")
    assert json.dumps(done.stderr) == '""'
