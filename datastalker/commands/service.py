"""`stalk install-service`: a process of a configuration as a systemd service of this machine."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import click

from datastalker import config as configuration
from datastalker.commands.options import config_option
from datastalker.errors import ConfigError, DataStalkerError, InputError, OutputError
from datastalker.service import ENVIRONMENT, USER, Service, role_of

UNITS = Path("/etc/systemd/system")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}")
"""Of a user, as systemd allows it: it goes into the unit."""
RUNS = Path("/run/systemd/system")
"""Is there where systemd has started the machine."""


class _User(click.ParamType):
    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _NAME.fullmatch(value):
            self.fail(f"{value!r} can't be the name of a user", param, ctx)
        return value


@click.command("install-service")
@config_option
@click.option(
    "--role",
    type=click.Choice(["agent", "worker", "sink", "run"]),
    help="What is to run on this machine.  [default: agent; run, all of it in one process, where "
    "the file has no topic]",
)
@click.option("--sink", metavar="NAME", help="Which sink, where there are several.")
@click.option(
    "--user", type=_User(), metavar="NAME", help=f"Who it runs as; {USER}, made if not there."
)
@click.option("--enable", is_flag=True, help="Start it now, and at each start of the machine.")
@click.option(
    "--uninstall", is_flag=True, help="Stop it and remove the unit; what it stored stays."
)
@click.option("--dry-run", is_flag=True, help="Only print the unit.")
def install_service_command(
    path: str,
    role: str | None,
    sink: str | None,
    user: str | None,
    enable: bool,
    uninstall: bool,
    dry_run: bool,
) -> None:
    """Make a systemd service of an agent, a worker or a sink of the configuration, or of all of it.

    The unit gives it an ordinary user, the rights and folders that the file asks for, and no others.
    Run it again after a change of these, or after DataStalker has moved. Needs root.
    """
    if sink is not None and role not in (None, "sink"):
        raise click.UsageError(f"--sink names a sink, and --role says {role}")
    if uninstall and (enable or dry_run):
        raise click.UsageError("--uninstall goes without --enable and --dry-run")
    _read_environment()
    config = configuration.load(path)
    if config.errors:
        raise ConfigError(config.errors)
    service = Service(config, role or ("sink" if sink else role_of(config)), sink, user)
    if dry_run:
        click.echo(service.unit(), nl=False)
        return
    _check_machine()
    if uninstall:
        _uninstall(service)
        return
    _prepare(service)
    _check_readable(service)
    _write(service)
    if enable:
        _systemctl("enable", service.name)
        _systemctl("restart", service.name)
        click.echo(f"started, now and with the machine; its log: journalctl -fu {service.name}")
    else:
        click.echo(f"next: systemctl enable --now {service.name}")


def _read_environment() -> None:
    """What the service will have in its environment, where it isn't in ours."""
    try:
        lines = ENVIRONMENT.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            os.environ.setdefault(name.strip(), value.strip().strip("\"'"))


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise OutputError("install-service: only root can; use sudo, or --dry-run to see the unit")
    if shutil.which("systemctl") is None or not RUNS.is_dir():
        raise OutputError(
            "install-service: systemd doesn't run this machine; start `stalk capture` (or run, "
            "sink, or the worker) with what does, --dry-run shows how"
        )


def _prepare(service: Service) -> None:
    """The user and the folders outside its own that it writes to."""
    name = str(service.user)
    try:
        owner = pwd.getpwnam(name)
    except KeyError:
        if name != USER:
            raise InputError(
                f"install-service: there is no user '{name}' here; `useradd --system {name}`"
            ) from None
        _call("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name)
        owner = pwd.getpwnam(name)
        click.echo(f"made the user {name}")
    for folder in service.folders:
        if not folder.exists():
            try:
                folder.mkdir(parents=True, mode=0o750)
                os.chown(folder, owner.pw_uid, owner.pw_gid)
            except OSError as error:
                raise OutputError(
                    f"install-service: {folder} can't be made: {error.strerror}; another folder in "
                    "the configuration, or make it yourself"
                ) from None
            click.echo(f"made {folder}, of {name}")
        elif _as(owner, ["test", "-w", folder]).returncode:
            raise OutputError(
                f"install-service: {name} can't write to {folder}: chown -R {name} {folder}, or "
                "another folder in the configuration"
            )


def _check_readable(service: Service) -> None:
    """As that user: DataStalker, the configuration, its plug-ins and secrets."""
    owner = pwd.getpwnam(str(service.user))
    file = Path(service.config.file).absolute()
    try:
        command: list[str | Path] = [service.python, "-P", "-m", "datastalker", "check", "-c", file]
        done = _as(owner, command, service.checkout)
        if done.returncode == 0:
            return
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except OSError as error:
        said = str(error)
    raise InputError(
        f"install-service: {service.user} can't use {file} with {service.python}: {said}; keep the "
        "file in /etc/datastalker and DataStalker in /opt, readable for that user"
    )


def _as(
    owner: pwd.struct_passwd, command: list[str | Path], checkout: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd="/",
        env=os.environ | ({"PYTHONPATH": str(checkout)} if checkout else {}),
        user=owner.pw_uid,
        group=owner.pw_gid,
        extra_groups=os.getgrouplist(owner.pw_name, owner.pw_gid),
        capture_output=True,
        text=True,
    )


def _write(service: Service) -> None:
    unit, text = UNITS / service.name, service.unit()
    try:
        if unit.is_file() and unit.read_text() == text:
            click.echo(f"{unit} is as it should be")
            return
        made = unit.with_suffix(".new")
        made.write_text(text)
        made.replace(unit)
    except OSError as error:
        raise OutputError(f"install-service: {unit} can't be written: {error.strerror}") from error
    click.echo(f"wrote {unit}: {_rights(service)}")
    _systemctl("daemon-reload")


def _rights(service: Service) -> str:
    return f"as {service.user}, with {service.capabilities or 'no capability'}"


def _uninstall(service: Service) -> None:
    unit = UNITS / service.name
    if not unit.exists():
        click.echo(f"{unit} isn't there")
        return
    _systemctl("disable", "--now", service.name)
    unit.unlink()
    _systemctl("daemon-reload")
    click.echo(f"removed {unit}; the user and what it stored stay")


def _systemctl(*words: str) -> None:
    _call("systemctl", *words)


def _call(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError as error:
        raise DataStalkerError(
            f"install-service: {words[0]} can't be run: {error.strerror}"
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DataStalkerError(f"install-service: `{' '.join(words)}`: {said}")
