"""`stalk install-service` writes the unit, once; systemctl is a stand-in: no systemd runs tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from datastalker.commands import service
from datastalker.service import Service

YAML = """
kafka: {bootstrap_servers: "localhost:9092"}
agent: {spool_directory: SPOOL}
pipeline:
  - wifi_sniffer: {interface: wlan0, user: USER}
  - topic: wifi.frames
  - csv: {directory: out}
"""
SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/called"\n'


class Machine:
    """Folders for systemd's, and a systemctl that says what it was called with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.units = folder, folder / "units"
        self.units.mkdir()
        self.config = folder / "home.yaml"
        self.write("root")
        (folder / "systemctl").write_text(SYSTEMCTL)
        (folder / "systemctl").chmod(0o755)
        monkeypatch.setattr(service, "UNITS", self.units)
        monkeypatch.setattr(service, "RUNS", self.units)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(self, user: str) -> None:
        text = YAML.replace("SPOOL", str(self.folder / "spool")).replace("USER", user)
        self.config.write_text(text)

    @property
    def unit(self) -> Path:
        return self.units / "datastalker-agent.service"

    def install(self, *words: str) -> Result:
        command = service.install_service_command
        return CliRunner().invoke(command, ["-c", str(self.config), *words])

    def called(self) -> list[str]:
        file = self.folder / "called"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_it_writes_the_unit_makes_the_folders_and_says_what_is_next(machine: Machine) -> None:
    done = machine.install()

    assert done.exit_code == 0, done.output
    assert machine.unit.read_text() == machine.install("--dry-run").output
    assert (machine.folder / "spool").is_dir()
    assert "with CAP_NET_RAW CAP_NET_ADMIN" in done.output
    assert "next: systemctl enable --now datastalker-agent.service" in done.output
    assert machine.called() == ["daemon-reload"]


def test_a_second_time_changes_nothing(machine: Machine) -> None:
    machine.install()
    before = machine.unit.stat().st_mtime_ns
    done = machine.install("--enable")

    assert "is as it should be" in done.output
    assert machine.unit.stat().st_mtime_ns == before
    name = machine.unit.name
    assert machine.called() == ["daemon-reload", f"enable {name}", f"restart {name}"]


def test_uninstalled_the_unit_is_gone_and_what_was_stored_stays(machine: Machine) -> None:
    machine.install()
    done = machine.install("--uninstall")

    assert done.exit_code == 0, done.output
    assert not machine.unit.exists()
    assert (machine.folder / "spool").is_dir()
    assert f"disable --now {machine.unit.name}" in machine.called()
    assert "isn't there" in machine.install("--uninstall").output


def test_a_dry_run_writes_nothing(machine: Machine) -> None:
    assert machine.install("--dry-run").output.startswith("# Made by `stalk install-service`")
    assert not machine.unit.exists()
    assert machine.called() == []


def test_a_configuration_that_the_user_can_not_read_is_said_first(machine: Machine) -> None:
    machine.write("nobody")
    machine.config.chmod(0o600)
    done = machine.install()

    assert done.exit_code == 1
    assert "nobody can't use" in str(done.exception)
    assert not machine.unit.exists()


def test_a_folder_that_the_user_can_not_write_to_is_said_first(machine: Machine) -> None:
    machine.write("nobody")
    (machine.folder / "spool").mkdir()
    done = machine.install()

    assert "nobody can't write to" in str(done.exception)
    assert "chown -R nobody" in str(done.exception)
    assert not machine.unit.exists()


def test_a_folder_that_can_not_be_made_is_said_first(machine: Machine) -> None:
    inside = machine.unit.with_name("file") / "spool"
    inside.parent.write_text("no folder")
    text = machine.config.read_text()
    machine.config.write_text(text.replace(str(machine.folder / "spool"), str(inside)))
    done = machine.install()

    assert f"{inside} can't be made: Not a directory" in str(done.exception)
    assert not machine.unit.exists()


def test_a_user_that_is_not_there_is_said(machine: Machine) -> None:
    machine.write("nosuchuser")

    assert "there is no user 'nosuchuser' here" in str(machine.install().exception)


def test_without_a_topic_the_service_runs_all_and_says_so(machine: Machine) -> None:
    out = machine.folder / "csv"
    source = "{wifi_sniffer: {interface: wlan0, user: root}}"
    machine.config.write_text(f"pipeline: [{source}, {{csv: {{directory: {out}}}}}]")
    done = machine.install("--enable")

    assert done.exit_code == 0, done.output
    assert "datastalker run -q -c" in (machine.units / "datastalker-run.service").read_text()
    assert out.is_dir()
    assert "enable datastalker-run.service" in machine.called()


@pytest.mark.skipif(service.RUNS.is_dir(), reason="systemd runs this machine")
def test_without_systemd_it_refuses_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(YAML.replace("SPOOL", "spool").replace("USER", "root"))
    words = [sys.executable, "-m", "datastalker", "install-service", "-c", str(file)]
    done = subprocess.run(words, capture_output=True, text=True)

    assert done.returncode == 1
    assert "systemd doesn't run this machine" in done.stderr
    assert done.stderr.count("\n") == 1


def test_from_a_checkout_the_unit_finds_the_checkout() -> None:
    from datastalker import config as configuration

    text = YAML.replace("SPOOL", "spool").replace("USER", "root")
    unit = Service(configuration.parse(text, "/etc/home.yaml"), "agent").unit()

    assert f"Environment=PYTHONPATH={Path(service.__file__).parents[2]}" in unit


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--role", "agent", "--sink", "csv"], "--sink names a sink, and --role says agent"),
        (["--uninstall", "--dry-run"], "--uninstall goes without --enable and --dry-run"),
        (["--uninstall", "--enable"], "--uninstall goes without --enable and --dry-run"),
        (["--user", "x\nExecStartPre=/bin/sh"], "can't be the name of a user"),
    ],
)
def test_what_does_not_go_together_is_said_and_nothing_is_done(
    machine: Machine, words: list[str], said: str
) -> None:
    done = machine.install(*words)

    assert done.exit_code == 2
    assert said in done.output
    assert not list(machine.units.iterdir())
    assert machine.called() == []
