"""`stalk spool`: what an agent keeps on disk until the broker has it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from datastalker import extras
from datastalker.commands.options import config_option
from datastalker.commands.running import load
from datastalker.commands.tables import table
from datastalker.config import Config
from datastalker.errors import ConfigError, InputError, Problem
from datastalker.moment import utc

_REFUSED = "may not be read; run this as the user of the agent, or as root"
_TIME = "%Y-%m-%d %H:%M:%S"


def _spool(path: str) -> tuple[Config, Path]:
    from capture_agent.spooling import spool_directory

    config = load(path)
    directory = spool_directory(config)
    if directory is None:
        text = "there is no spool; give it a folder, agent: {spool_directory: DIRECTORY}"
        raise ConfigError([Problem(path, 0, 0, text)])
    named = f"agent: spool_directory: {directory}"
    try:
        os.lstat(directory)
    except PermissionError as error:
        raise InputError(f"{named} {_REFUSED}") from error
    except OSError as error:
        text = f"{named} isn't there: no agent has made it; a relative one is looked for from here"
        raise InputError(text) from error
    if not os.path.isdir(directory):
        raise InputError(f"{named} is no folder; name the one that the agent has")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise InputError(f"{named} {_REFUSED}")
    return config, directory


def _wrong(name: str, damaged: int, wrong: str) -> str:
    if wrong:
        return f"{name}: {wrong}; none of its records are sent"
    return f"{name}: {damaged:,} bytes are no whole record; they are left out"


@click.group("spool")
def spool_command() -> None:
    """See and send what an agent keeps on disk until the broker has it."""


@spool_command.command("check")
@config_option
@click.pass_context
def check_command(ctx: click.Context, path: str) -> None:
    """Read the whole spool: what waits in it, since when, and what is damaged.

    Changes nothing, and works beside a running agent. Exit code 1: something is damaged, or there is
    no spool to look at.
    """
    from capture_agent.spool_files import contents

    _, directory = _spool(path)
    told = contents(directory)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(told.batches.items()))
    click.echo(
        f"{directory}: {told.batches.total():,} batches wait" + (f" ({kinds})" * bool(kinds))
    )
    if told.batches:
        first, last = utc(told.first, _TIME), utc(told.last, _TIME)
        click.echo(f"{told.frames:,} frames, {told.bytes:,} bytes, made {first} to {last} UTC")
    for name, count in told.damaged.items():
        click.echo(_wrong(name, count, ""))
    for name, why in told.unreadable.items():
        click.echo(_wrong(name, 0, why))
    if told.damaged or told.unreadable:
        ctx.exit(1)


@spool_command.command("show")
@click.option(
    "-n", "--records", type=click.IntRange(0), default=50, show_default=True,
    help="So many at most; 0: all.",
)  # fmt: skip
@config_option
def show_command(records: int, path: str) -> None:
    """List what waits, oldest first: where to, session and sequence, frames, age."""
    from capture_agent.spool_files import look

    _, directory = _spool(path)
    rows: list[list[Any]] = []
    more = 0
    is_whole = True
    now = time.time()
    for segment, found, damaged, wrong in look(directory):
        if damaged or wrong:
            is_whole = False
            click.echo(_wrong(segment.name, damaged, wrong), err=True)
        if found is None:
            continue
        if records and len(rows) >= records:
            more += 1
            continue
        parcel = found.parcel
        rows.append(
            [
                f"{segment.stem}@{found.at}",
                f"{parcel.topic}[{parcel.partition}]",
                parcel.kind,
                parcel.session,
                parcel.sequence if parcel.sequence >= 0 else None,
                parcel.frames,
                len(parcel.value),
                f"{max(0.0, now - parcel.time / 1e6):,.0f} s",
            ]
        )
    header = ["record", "to", "kind", "session", "sequence", "frames", "bytes", "age"]
    if rows or is_whole:
        click.echo(table(header, rows) if rows else f"{directory} is empty")
    if more:
        click.echo(f"and {more:,} more; -n 0 lists all")


@spool_command.command("drain")
@config_option
def drain_command(path: str) -> None:
    """Send all that waits to the broker, now, without an agent.

    Exit code 1: the broker isn't there or took nothing for `delivery_timeout_seconds`, it was
    interrupted, or something can't be read; what the broker did not take stays.
    """
    config, directory = _spool(path)
    with extras.needs("this", "agent"):
        from capture_agent.spooling import drain
    from capture_agent.spool_files import paths

    frames, dropped = drain(config, directory)
    said = f"{frames:,} frames sent"
    if dropped:
        said += f", {dropped:,} dropped: refused by the broker, or damaged on disk"
    left = paths(directory)
    if not left:
        click.echo(f"{said}; {directory} is empty")
        return
    click.echo(f"{said}; {len(left)} files stay in {directory}: see stalk spool check")
    raise SystemExit(1)
