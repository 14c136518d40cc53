"""What `stalk doctor` says, how it says it, and what needs no server: files, folders, clock, packages."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datastalker import config as configuration
from datastalker import topic_keys
from datastalker.cli import cli
from datastalker.commands import doctor_checks
from datastalker.commands.doctor import line
from datastalker.finding import Check, Finding, failed, of_error, ok, run
from datastalker.topic_changes import Change

NOBODY = "127.0.0.1:1"
"""Where no broker listens."""


def test_where_nothing_is_wrong_nothing_failed(doctor: Any, capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    said = doctor.look(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": str(out)}})
    )

    assert said.code == 0
    assert said.one("pcap", "ok")["found"] == "1 capture file, 0.0 MiB"
    assert said.one("csv", "ok")["found"].startswith(f"{out}, will be made: can be written, ")
    assert said.one("configuration", "ok")["found"] == f"{doctor.file}: pcap → csv"
    assert not out.parent.exists()


def test_the_folder_of_a_log_is_not_made_so_it_has_to_be_there(
    doctor: Any, capture: Path, tmp_path: Path
) -> None:
    def whole(log: str) -> Any:
        return doctor.whole({"pcap": {"path": str(capture)}}, "print", log_file=log)

    folder = tmp_path / "logs"
    said = doctor.look(whole(f"{folder}/x.log"))
    assert said.one("log", "failed")["found"] == f"{folder} is not there"
    command = [sys.executable, "-m", "datastalker", "run", "-c", str(doctor.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"log_file: {folder}/x.log can't be written: No such file or direc" in done.stderr

    folder.mkdir()
    assert doctor.look(whole(f"{folder}/x.log")).one("log", "ok")
    found = doctor.look(whole("~/no/x.log")).one("log", "failed")["found"]
    assert found == f"{Path.home()}/no is not there"


def test_it_is_one_line_a_finding_and_a_sum(doctor: Any, capture: Path) -> None:
    done = doctor.run(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": "/proc/x"}})
    )

    *lines, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert all(each.startswith(("ok       ", "warning  ", "failed   ")) for each in lines)
    (told,) = [each for each in lines if each.startswith("failed")]
    assert told.startswith("failed   csv: /proc/x can't be written. Cause: /proc: ")
    assert ". Remedy: " in told
    assert "csv: directory" in told
    assert last.startswith(f"{doctor.file}: ")
    assert last.endswith(" 1 failed")


def test_hostile_text_is_defused(doctor: Any, capture: Path) -> None:
    hostile = "/proc/\x1b[2Jx\nok       broker: fine\u202e"
    done = doctor.run(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": hostile}})
    )

    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert not any(each.startswith("ok       broker") for each in done.stdout.splitlines())
    assert "/proc/\\x1b[2Jx\\nok       broker: fine\\u{202e} can't be written" in done.stdout


@pytest.mark.parametrize("colours", [True, False])
def test_colours_are_for_terminals(doctor: Any, capture: Path, colours: bool) -> None:
    doctor.run(doctor.whole({"pcap": {"path": str(capture)}}))

    said = CliRunner().invoke(cli, ["-c", str(doctor.file), "doctor"], color=colours)

    assert ("\x1b[32mok     \x1b[0m" in said.output) is colours
    assert ("\x1b" in said.output) is colours


def test_mistakes_of_the_file_are_findings(doctor: Any) -> None:
    said = doctor.look("pipeline:\n  - pcap: {path: a.pcap}\n  - dedupe: {windwo_seconds: 2}\n")

    found = said.one("configuration", "failed")
    assert found["found"] == f"{doctor.file}:3:14"
    assert found["cause"] == "dedupe: unknown option 'windwo_seconds'"
    assert found["remedy"] == "write 'window_seconds' in line 3, if that is what you mean"


@pytest.mark.parametrize(
    ("stages", "cause", "remedy"),
    [
        ("topic: x, dedupe", "'dedupe' stands below the last topic, where only sinks run",
            "put a topic below 'dedupe', in place of that one or beside it, such as - topic: "
            "{frame: x.out}"),
        ("csv: {dir: x}", "csv: unknown option 'dir'", "in line 1 use one of directory, columns, "
            "rotate_seconds, rotate_mb, finish_seconds, or take it out"),
        ("pcap", "pcap: option 'path' is missing", "add path to line 1: a capture file, several, a "
            "glob, a folder, or '-' for standard input"),
        ("print: {format: yaml}", "print: option 'format' must be one of text, json, not the text "
            "'yaml'", "write one of text, json in line 1"),
        ("limit: {messages: 0}", "limit: option 'messages' must be at least 1, not 0",
            "write at least 1 in line 1"),
        ("strip", "strip: give 'keys', 'keys_startswith' or both", "change line 1 of FILE accordingly"),
        ("{csv: , print: }", "one stage an entry, not 2",
            "put a '- ' before each, or indent the others further, if they are options of 'csv'"),
        ("oui\ncsv: 1 #", "no valid YAML: while parsing a flow sequence expected ',' or ']', but got ':'",
            "look at line 2 and the one before: is the '[' of line 1 closed?"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_mistake_is_said_apart_from_it(
    doctor: Any, stages: str, cause: str, remedy: str
) -> None:
    said = doctor.look(f"pipeline: [pcap: {{path: x}}, {stages}]\n")

    found = next(each for each in said.findings if each["cause"] == cause)
    assert found["remedy"].replace(str(doctor.file), "FILE") == remedy


@pytest.mark.parametrize("text", ["pipeline: [", "- 1", ""])
def test_what_is_no_configuration_is_a_finding(doctor: Any, text: str) -> None:
    assert doctor.look(text).failed == {"configuration"}


def test_a_file_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["doctor", "-c", str(tmp_path / "none.yaml")])

    assert said.exit_code == 1
    assert "there is no such file" in said.output
    assert (
        "Remedy: give the file of this machine, one that this user may read: -c FILE" in said.output
    )


@pytest.mark.skipif(os.getuid() != 0, reason="becomes somebody else, so needs root")
def test_a_file_in_a_folder_that_is_closed_to_us_is_a_finding(doctor: Any) -> None:
    doctor.command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    doctor.folder.chmod(0o700)

    found = doctor.look({"pipeline": []}).one("configuration", "failed")

    assert "Permission denied" in found["cause"]
    assert "this user may read" in found["remedy"]


def test_a_plug_in_that_can_not_be_imported_is_named(doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nosuchmodule\n")
    said = doctor.look(doctor.whole({"pcap": {"path": "x"}}, plugins=["mine.py"]))

    assert "plug-in 'mine.py'" in said.one("configuration", "failed")["cause"]


def test_a_capture_that_is_not_there(doctor: Any) -> None:
    said = doctor.look(doctor.whole({"pcap": {"path": "/nowhere/a.pcap"}}))

    found = said.one("pcap", "failed")
    assert found["cause"] == "can't read /nowhere/a.pcap: there is no such file"
    assert "pcap: path" in found["remedy"]


def test_a_full_disk_is_told(doctor: Any, capture: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    fill = (
        f"mount -t tmpfs -o size=1m tmpfs {full}; head -c 2000000 /dev/zero >{full}/x 2>/dev/null; "
    )
    doctor.command = ["unshare", "-m", "sh", "-c", f'{fill} exec "$@"', "sh"]
    said = doctor.look(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": str(full)}})
    )

    found = said.one("csv", "failed")
    assert "No space left on device" in found["cause"]
    assert "make room there" in found["remedy"]


def test_a_disk_with_less_room_than_it_may_take_is_a_warning(
    doctor: Any, capture: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=20m tmpfs {small}; exec "$@"'
    doctor.command = ["unshare", "-m", "sh", "-c", mount, "sh"]
    said = doctor.look(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": str(small)}})
    )

    assert said.code == 0
    found = said.one("csv", "warning")
    assert found["found"] == f"{small}: 20 MiB free"
    assert "csv: directory may take 256 MiB more" in found["cause"]


def test_a_read_only_file_system_is_told(doctor: Any, capture: Path, tmp_path: Path) -> None:
    still = tmp_path / "still"
    still.mkdir()
    mount = f'mount -t tmpfs -o ro tmpfs {still}; exec "$@"'
    doctor.command = ["unshare", "-m", "sh", "-c", mount, "sh"]
    said = doctor.look(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": f"{still}/out"}})
    )

    assert "Read-only file system" in said.one("csv", "failed")["cause"]


def test_a_file_where_a_folder_should_be(doctor: Any, capture: Path) -> None:
    said = doctor.look(
        doctor.whole({"pcap": {"path": str(capture)}}, {"csv": {"directory": f"{capture}/out"}})
    )

    found = said.one("csv", "failed")
    assert f"{capture} is a file" in found["cause"]
    assert "csv: directory" in found["remedy"]


def test_a_clock_that_was_never_set(doctor: Any, capture: Path, tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text("import time\ntime.time = lambda: 86_400.0\n")
    said = doctor.look(doctor.whole({"pcap": {"path": str(capture)}}, plugins=["early.py"]))

    found = said.one("clock", "failed")
    assert "never set" in found["cause"]
    assert "timedatectl set-ntp true" in found["remedy"]


def test_packages_that_are_missing_or_too_old(
    doctor: Any, capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "orjson":
            raise doctor_checks.importlib.metadata.PackageNotFoundError(name)
        return "7.17.9"

    doctor.file.write_text(f"pipeline: [pcap: {{path: {capture}}}, elasticsearch]")
    monkeypatch.setattr(doctor_checks.importlib.metadata, "version", version)
    said = CliRunner().invoke(cli, ["doctor", "-c", str(doctor.file)])

    assert "elasticsearch 7.17.9 is older than 8.15, orjson is not installed" in said.output
    assert "setup EXTRAS=elasticsearch" in said.output


def cut(**settings: Any) -> dict[str, Any]:
    """A file over Kafka, with a broker that isn't there and an interface that isn't there."""
    pipeline = [
        {"wifi_sniffer": {"interface": "nosuch0"}},
        {"topic": "wifi.frames"},
        "dedupe",
        {"topic": "wifi.decorated"},
        {"csv": {"directory": "/proc/x"}},
    ]
    return {"kafka": {"bootstrap_servers": NOBODY}, **settings, "pipeline": pipeline}


def test_a_broker_that_is_away_hides_nothing_else(doctor: Any) -> None:
    begin = time.monotonic()
    said = doctor.look(cut())

    assert time.monotonic() - begin < 30
    assert said.failed == {"broker", "csv", "interface nosuch0"}
    found = said.one("broker", "failed")
    assert "kafka: bootstrap_servers: nothing listens at 127.0.0.1:1" in found["cause"]
    assert found["remedy"] == "start the broker, or correct the address"
    assert said.one("clock and broker", "warning")["remedy"] == "see `broker`"


@pytest.mark.parametrize(
    ("role", "looked_at"),
    [("agent", "interface nosuch0"), ("worker", "worker"), ("sink", "csv")],
)
def test_a_role_looks_at_its_own(doctor: Any, role: str, looked_at: str) -> None:
    said = doctor.look(cut(), "--role", role)

    places = {"interface nosuch0", "spool", "rights", "worker", "csv"}
    found = {finding["about"] for finding in said.findings} & places
    assert looked_at in found
    assert ("csv" in found) is (role == "sink")
    assert ("rights" in found) is (role == "agent")
    assert "broker" in said.failed


@pytest.mark.parametrize("topics", [True, False])
def test_a_run_takes_source_and_sinks_and_no_broker(doctor: Any, topics: bool) -> None:
    document = cut()
    document["pipeline"] = [e for e in document["pipeline"] if topics or "topic" not in e]
    said = doctor.look(document, "--role", "run")

    assert said.failed == {"interface nosuch0", "csv"}
    found = {finding["about"] for finding in said.findings}
    assert "clock" in found
    assert not found & {"spool", "worker", "broker", "clock and broker"}


def test_a_role_that_the_file_does_not_have(doctor: Any, capture: Path) -> None:
    said = doctor.look(doctor.whole({"pcap": {"path": str(capture)}}), "--role", "worker")

    assert "nothing in its pipeline is for a worker" in said.one("configuration", "failed")["cause"]
    assert {finding["about"] for finding in said.findings} == {"configuration"}


def test_where_no_sink_is_configured_nothing_is_asked_for_one(doctor: Any) -> None:
    document = cut()
    document["pipeline"] = document["pipeline"][:2]

    found = {finding["about"] for finding in doctor.look(document).findings}

    assert "packages for agent" in found
    assert "packages for sinks" not in found
    said = doctor.look(document, "--role", "sink")
    assert "nothing in its pipeline is for a sink" in said.one("configuration", "failed")["cause"]
    assert {finding["about"] for finding in said.findings} == {"configuration"}


@pytest.mark.parametrize(
    ("setting", "role", "about"),
    [("workers", "worker", "worker"), ("agent", "agent", "agent"), ("sinks", "sink", "csv")],
)
def test_a_port_that_somebody_has_is_a_warning(
    doctor: Any, setting: str, role: str, about: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = doctor.look(cut(**{setting: {"http_port": port}}), "--role", role)

    found = said.one(about, "warning")
    assert "Address already in use" in found["cause"]
    assert f"{setting}: http_port" in found["remedy"]


def test_the_port_of_a_run_without_topics_is_looked_at_too(doctor: Any, capture: Path) -> None:
    document = doctor.whole({"pcap": {"path": str(capture)}}) | {"agent": {"http_port": 1}}

    with socket.create_server(("127.0.0.1", 0)) as taken:
        document["agent"]["http_port"] = taken.getsockname()[1]
        found = doctor.look(document).one("run", "warning")

    assert "agent: http_port" in found["remedy"]


def test_a_live_agent_without_a_spool_is_warned_of(doctor: Any) -> None:
    found = doctor.look(cut(), "--role", "agent").one("spool", "warning")

    assert "32 MiB of memory" in found["cause"]
    assert "agent: {spool_directory: " in found["remedy"]


def test_what_waits_in_a_spool_and_what_was_set_aside(doctor: Any, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "0000000001.spool").write_bytes(bytes(3 << 20))
    (spool / "damaged").touch()
    said = doctor.look(cut(agent={"spool_directory": str(spool)}), "--role", "agent")

    waits = f"3 MiB of earlier runs wait in {spool}: stalk spool check"
    assert waits in [finding["found"] for finding in said["spool"]]
    assert f"remove {spool}/damaged" in said.one("spool", "warning")["remedy"]


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder away, so needs root")
def test_a_spool_of_somebody_else_is_one_finding(doctor: Any, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    os.chown(spool, 65534, 65534)
    rights = "-dac_override,-dac_read_search"
    doctor.command = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    said = doctor.look(cut(agent={"spool_directory": str(spool)}), "--role", "agent")

    assert "Permission denied" in said.one("spool", "failed")["cause"]


@pytest.mark.skipif(os.getuid() != 0, reason="looks for another user, so needs root")
def test_segments_that_root_has_left_are_none_for_the_user_of_the_agent(
    doctor: Any, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "0000000001.spool").touch(mode=0o600)
    document = cut(agent={"spool_directory": str(spool)})
    document["pipeline"][0]["wifi_sniffer"]["user"] = "nobody"
    said = doctor.look(document, "--role", "agent")

    found = [finding for finding in said["spool"] if "can't be read" in finding["found"]]
    assert [finding["remedy"] for finding in found] == [f"chown -R nobody '{spool}'"]


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("make", "nobody has made it"),
        ("note key", "nobody has noted by which key it is partitioned"),
    ],
)
def test_a_topic_that_is_missing_is_not_said_to_have_other_settings(act: Any, cause: str) -> None:
    plan = topic_keys.plan(configuration.parse("pipeline: [print]", "c.yaml").kafka)
    change = Change(plan, act, "missing", "1 partition, compacted", "make it")
    config = configuration.parse("pipeline: [{pcap: {path: x}}, {topic: t}]", "c.yaml")

    (found,) = doctor_checks._topics(config, [change])

    assert (found.level, found.cause) == ("warning", cause)


def test_a_check_that_hangs_or_fails_holds_up_and_hides_no_other() -> None:
    def hangs() -> list[Finding]:
        time.sleep(5)
        return []

    def fails() -> list[Finding]:
        raise ZeroDivisionError("by nought")

    checks = [
        Check("slow", hangs, "wait less", 0.2),
        Check("broken", fails, "mend it"),
        Check("good", lambda: [ok("good", "fine")], ""),
    ]
    begin = time.monotonic()
    found = list(run(checks))

    assert time.monotonic() - begin < 3
    assert found == [
        failed("slow", "no answer within 0.2 s", "it hangs, or is very slow", "wait less"),
        failed("broken", "can't be looked at", "ZeroDivisionError: by nought", "mend it"),
        ok("good", "fine"),
    ]


def test_a_sentence_is_cut_into_cause_and_remedy() -> None:
    found = of_error("x", "can't", ValueError("it is (so; or so) gone; bring it; back"), "")

    assert (found.cause, found.remedy) == ("it is (so; or so) gone", "bring it; back")
    assert of_error("x", "can't", ValueError("gone"), "look").remedy == "look"
    assert line(ok("x", "a\nb\x1b")).endswith("x: a\\nb\\x1b")
