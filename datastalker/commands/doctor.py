"""`stalk doctor`: is all there that a configuration needs, and if not, why and what to do."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterator

import click

from datastalker import config as configuration
from datastalker.commands.doctor_checks import ROLES, checks
from datastalker.commands.doctor_mistakes import mistakes
from datastalker.commands.options import config_option
from datastalker.errors import ConfigError
from datastalker.finding import Finding, run
from datastalker.text import one_line

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command("doctor")
@config_option
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    help="What runs on this machine; all that the file has, if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor_command(path: str, role: str | None, as_json: bool) -> None:
    """Look at all that a configuration needs, and say what is wrong, why, and what to do.

    The interfaces, rights, clock, broker, topics, disks, registry, Elasticsearch, packages: as this
    user, on this machine. Changes nothing (to measure the clock it sends a few tombstones to the topic
    NAME.sensors) and ends within half a minute. Exit code 0: nothing failed; 1: something did.
    """
    quiet = logging.NullHandler()  # or Python shows the libraries' warnings between the lines
    logging.getLogger().addHandler(quiet)
    try:
        findings = []
        for finding in _findings(path, role):
            findings.append(finding)
            if not as_json:
                click.echo(line(finding))
    finally:
        logging.getLogger().removeHandler(quiet)
    levels = Counter(finding.level for finding in findings)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        said = f"{levels['ok']} ok, {levels['warning']} to look at, {levels['failed']} failed"
        click.echo(f"{path}: {said}")
    if levels["failed"]:
        raise SystemExit(1)


def _findings(path: str, role: str | None) -> Iterator[Finding]:
    try:
        config = configuration.load(path)
    except ConfigError as error:
        yield from mistakes(error.problems)
        return
    yield from run(checks(config, role))


def line(finding: Finding) -> str:
    """A finding in one line, whatever is in it."""
    text = f"{finding.about}: {finding.found}"
    if finding.cause:
        text += f". Cause: {finding.cause}"
    if finding.remedy:
        text += f". Remedy: {finding.remedy}"
    level = click.style(f"{finding.level:<7}", fg=_COLOURS[finding.level])
    return f"{level}  {one_line(text)}"
