"""The parts of the local stack, without servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local import Stack, StackError, java, maven
from infra.local.errors import PortTakenError, explain
from infra.local.loopback import free_ports
from infra.local.process import Process
from infra.local.state import Record, State


def quiet(text: str) -> None:
    """Says nothing."""


def sleeper(log: Path, code: str = "") -> Process:
    script = f"import signal, time; {code}\nprint('ready', flush=True); time.sleep(60)"
    process = Process.spawn([sys.executable, "-c", script], log)
    while "ready" not in log.read_text():
        assert process.alive()
    return process


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty PATH, to put programs on; gives the folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "JVMS", tmp_path / "jvms")
    return programs


def program(file: Path, script: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_without_java_and_maven_it_says_what_to_install(bare: Path) -> None:
    with pytest.raises(
        StackError, match=r"java and mvn not found.*\n.*apt-get install .*jdk.* maven"
    ):
        java.need_java(quiet)


def test_an_old_java_is_named_with_what_to_install(bare: Path, tmp_path: Path) -> None:
    program(bare / "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    program(bare / "mvn", "exit 0")
    with pytest.raises(StackError, match=r"java not found \(.*bin/java is Java 11\)"):
        Stack(tmp_path / "stack").start(["kafka"])


def test_a_java_without_its_compiler_is_not_enough(bare: Path) -> None:
    program(bare / "java", "echo 'openjdk version \"21\"' >&2")
    program(bare / "mvn", "exit 0")
    with pytest.raises(StackError, match="is a runtime without javac"):
        java.need_java(quiet)


def test_a_newer_java_is_found_where_debian_puts_it(bare: Path, tmp_path: Path) -> None:
    program(bare / "java", "echo 'openjdk version \"1.8.0_402\"' >&2")
    program(bare / "mvn", "exit 0")
    program(tmp_path / "jvms/java-21/bin/java", "echo 'openjdk version \"21.0.2\"' >&2")
    program(tmp_path / "jvms/java-21/bin/javac", "exit 0")
    assert java.need_java(quiet) == tmp_path / "jvms/java-21/bin/java"


def test_what_is_missing_is_installed_through_apt_where_one_may(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    asked = tmp_path / "asked"
    new = tmp_path / "jvms/java-17/bin"
    program(
        bare / "apt-get",
        f"""PATH=/usr/bin:/bin; echo "$@" >> {asked}
        case "$*" in *-y*)
          mkdir -p {new}; echo '#!/bin/sh\necho version \\"17\\"' > {new}/java; touch {new}/javac
          cp {new}/java {bare}/mvn; chmod +x {new}/java {bare}/mvn
        esac""",
    )
    said: list[str] = []
    assert java.need_java(said.append) == new / "java"
    assert said[-1] == "installs the Debian packages maven and openjdk-17-jdk-headless"
    assert asked.read_text().splitlines()[0] == "-qq update"


def test_nothing_is_installed_where_that_was_forbidden(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program(bare / "apt-get", "exit 0")
    with pytest.raises(StackError, match="not found"):
        java.need_java(quiet, install=False)


def test_a_failed_download_says_why_and_leaves_nothing(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program(bare / "mvn", "echo '[ERROR] no route to host'; exit 1")
    artifact = maven.Artifact("group", "name", "1.0")
    with pytest.raises(StackError, match=r"no route to host\nIs the network there"):
        maven.fetch("some", [artifact], quiet)
    assert list(maven.cache_directory().iterdir()) == []


def test_a_download_is_done_once_and_again_for_another_version(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program(
        bare / "mvn",
        """PATH=/usr/bin:/bin; for a in "$@"; do case $a in -DoutputDirectory=*)
        mkdir -p "${a#*=}"; touch "${a#*=}/a.jar"; esac; done""",
    )
    said: list[str] = []
    folders = [
        maven.fetch("some", [maven.Artifact("group", "name", version)], said.append)
        for version in ("1.0", "1.0", "2.0")
    ]
    assert folders[0] == folders[1] != folders[2]
    assert [(folder / "lib/a.jar").exists() for folder in folders] == [True] * 3
    assert [line.split()[1] for line in said] == ["group:name:1.0:jar", "group:name:2.0:jar"]


def test_a_wanted_port_is_taken_where_it_is_free_and_another_where_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert port not in free_ports([port, None])
    assert free_ports([port]) == [port]


def test_ports_are_all_different() -> None:
    assert len(set(free_ports([None] * 200))) == 200


def test_a_pid_that_is_another_process_now_is_not_ours(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "log")
    try:
        assert process.alive()
        stale = Process(process.pid, f"{process.born}0")
        assert not stale.alive()
        stale.signal(signal.SIGKILL)
        assert process.alive()
    finally:
        process.kill()
    assert not process.alive()


def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = sleeper(tmp_path / "log", ignore)
    assert process.stop(0.2) is False
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_stopped_process_ends_in_order(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "log")
    process.signal(signal.SIGSTOP)
    assert process.stop(10) is True


def test_only_the_process_itself_listens_on_its_port(tmp_path: Path) -> None:
    process = sleeper(tmp_path / "log", "import socket; s = socket.create_server(('127.0.0.1', 0))")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert not process.listens(ours.getsockname()[1])
        assert Process.of(os.getpid()).listens(ours.getsockname()[1])
    process.kill()


def test_what_is_known_is_shared_and_goes_with_the_last(tmp_path: Path) -> None:
    record = Record(Process(1, "boot/1"), {"http": 8081})
    State(tmp_path).put("registry", record)
    assert State(tmp_path).get("registry") == record
    assert State(tmp_path).get("kafka") is None
    State(tmp_path).remove("registry")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_shows_the_end_of_the_log_and_the_remedy(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_text("first\n" * 30 + "java.io.IOException: No space left on device\n")
    said = str(explain("kafka ended", log, {}))
    assert said.startswith(f"kafka ended. The last lines of {log}:\n  | first\n")
    assert said.endswith("The disk is full: make room, or name another folder with --directory.")


@pytest.mark.parametrize(
    "line",
    [
        "java.net.BindException: Address already in use",
        "Port 8081 seems to be in use by another process",
    ],
)
def test_a_taken_port_is_recognised(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(line)
    assert isinstance(explain("it ended", log, {"http": 8081}), PortTakenError)


def test_a_start_that_finds_its_ports_taken_tries_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(tmp_path)
    tried: list[dict[str, int]] = []

    def launch(ports: dict[str, int]) -> None:
        tried.append(ports)
        if len(tried) < 3:
            raise PortTakenError("in use")

    monkeypatch.setattr(stack.kafka, "_launch", launch)
    stack.kafka.start()
    assert len({ports["broker"] for ports in tried}) == 3


def test_stopping_what_never_ran_makes_no_folder(tmp_path: Path) -> None:
    assert Stack(tmp_path / "none").stop(wipe=True) == []
    assert list(tmp_path.iterdir()) == []


def test_an_address_before_the_first_start_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="kafka has not been started: `make stack`"):
        _ = Stack(tmp_path).kafka.bootstrap_servers


def test_who_watches_kills_what_it_saw_when_the_folder_is_gone_too(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    server, owner = sleeper(tmp_path / "server.log"), sleeper(tmp_path / "owner.log")
    State(folder).put("kafka", Record(server, {}))
    command = [sys.executable, "-m", "infra.local", "watch", "--owner", str(owner.pid)]
    watcher = Process.spawn([*command, "--directory", str(folder)], tmp_path / "watcher.log")
    time.sleep(2)  # it has looked

    shutil.rmtree(folder)
    owner.kill()

    assert watcher.wait(30)
    assert not server.alive()


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "infra.local", "status", "--directory", str(tmp_path)]
    try:
        done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writes)

    assert (done.returncode, done.stderr) == (3, b"")
