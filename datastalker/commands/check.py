"""`stalk check`: every mistake of a configuration at once, with its place and the remedy."""

from __future__ import annotations

import click

from datastalker import config as configuration
from datastalker.commands.options import config_option
from datastalker.errors import ConfigError, Problem
from datastalker.segments import segments


@click.command("check")
@config_option
def check_command(path: str) -> None:
    """Check a configuration file without running it.

    Shows every mistake as FILE:LINE:COLUMN with what to do about it, those of its tests too.
    Exit code 0: it can run (there may be warnings); 2: there is a mistake.
    """
    config = configuration.load(path)
    problems = [*config.problems, *config.test_problems]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    for problem in problems:
        click.echo(str(problem), err=True)
    count = sum(not problem.warning for problem in problems)
    if count:
        click.echo(f"{path}: {count} mistake{'s' if count > 1 else ''}", err=True)
        raise SystemExit(2)
    try:
        configuration.build(config)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        raise SystemExit(2) from None
    for step in config.steps:
        for _, text in step.cls.warn_config(step.options) if step.cls else ():
            text = f"{step.label}: {text}"
            click.echo(str(Problem(config.file, *step.position, text, warning=True)), err=True)
    if nowhere := configuration.goes_nowhere(config):
        click.echo(str(nowhere), err=True)
    names = " → ".join(step.label for step in config.steps)
    click.echo(f"{path}: fine. {names}")
    if config.steps[0].topics is not None:
        click.echo(_reads_topic(config))


def _reads_topic(config: configuration.Config) -> str:
    """What can be done with a pipeline that begins with a topic."""
    names = ", ".join(dict.fromkeys((config.steps[0].topics or {}).values()))
    said = f"It begins with a topic: `stalk run` reads {names} in one process, without a trace"
    cut = segments(config)
    workers = [segment.name for segment in cut if segment.role == "worker"]
    sinks = [step.label for step in cut[-1].steps] if cut[-1].role == "sinks" else []
    if workers:
        said += f"; workers run {', '.join(workers)}"
    if sinks:
        said += f"; sinks: {', '.join(sinks)}"
    if cut[-1].role == "run":
        said += "; for workers, put a topic above the sinks"
    return said + "."
