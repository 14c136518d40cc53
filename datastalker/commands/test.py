"""`stalk test`: the tests of a configuration, without a broker, with time under control."""

from __future__ import annotations

import click

from datastalker import read_cases
from datastalker.commands import running
from datastalker.commands.options import config_option
from datastalker.errors import ConfigError, DataStalkerError, Problem
from datastalker.options import suggest
from datastalker.text import one_line, printable
from datastalker.trial import junit as junit_xml
from datastalker.trial.run import Failure, Result, run

_STYLES = {"wanted": "red", "got": "green"}


@click.command("test")
@config_option
@click.option("-t", "--tests", "files", multiple=True, help="A file with tests for it; repeatable.")
@click.option("--only", multiple=True, metavar="NAME", help="Tests whose name has this in it.")
@click.option("-v", "--verbose", is_flag=True, help="Show what each step did, and the log.")
@click.option("--junit", metavar="FILE", help="Write the results as JUnit XML too.")
def test_command(
    path: str, files: tuple[str, ...], only: tuple[str, ...], verbose: bool, junit: str | None
) -> None:
    """Run the tests of a configuration.

    They stand under `tests:` in the file, or in files of their own (-t). Nothing is captured, sent
    or written: messages come from the tests, topics are in memory, sinks are recorders, and time
    is what the test says. Exit code 0: all passed; 1: one failed; 2: the file is wrong.
    """
    config = running.without_log(path)
    found = list(config.cases)
    problems = list(config.test_problems)
    for file in files:
        more, wrong = read_cases.load(file, config)
        found += more
        problems += wrong
    for problem in problems:
        if problem.warning:
            click.echo(str(problem), err=True)
    if any(not problem.warning for problem in problems):
        raise ConfigError([problem for problem in problems if not problem.warning])
    if not found:
        text = "there are no tests in it; write them under 'tests:', or name a file with -t"
        raise ConfigError([Problem(path, 0, 0, text)])
    names = [case.name for case in found]
    chosen = [case for case in found if not only or any(part in case.name for part in only)]
    if not chosen:
        raise click.BadParameter(
            f"no test's name has '{only[0]}' in it{suggest(only[0], names)}", param_hint="--only"
        )
    results: list[Result] = []
    told: list[str] = []
    for case in chosen:
        result = run(config, case)
        results.append(result)
        _show(result, verbose)
        lines = _told(result, result.failure) if result.failure is not None else []
        told.append("\n".join(text for _, text in lines))
    if junit is not None:
        junit_xml.write(junit, zip(results, told, strict=True))
    failed = sum(result.failure is not None for result in results)
    seconds = sum(result.seconds for result in results)
    said = f"{len(results) - failed} passed" + (f", {failed} failed" if failed else "")
    click.secho(f"{said} in {seconds:.2f} s", fg="red" if failed else "green", bold=True)
    if failed:
        raise SystemExit(DataStalkerError.exit_code)


def _show(result: Result, verbose: bool) -> None:
    failed = result.failure is not None
    mark = click.style("FAIL" if failed else "pass", fg="red" if failed else "green", bold=failed)
    click.echo(f"{mark}  {one_line(result.case.name)}")
    if verbose:
        for said in result.steps:
            click.echo(f"      {one_line(said)}")
    if result.failure is not None:
        for style, text in _told(result, result.failure):
            click.secho(f"      {printable(text)}", fg=_STYLES.get(style))
    if verbose:
        for said in result.log:
            for line in printable(said).splitlines():
                click.echo(f"      | {line}")


def _told(result: Result, failure: Failure) -> list[tuple[str, str]]:
    """Where it failed, and how."""
    step = failure.step
    line, column = step.position if step is not None else result.case.position
    where = f"{result.case.document.file}:{line}:{column}: "
    if step is not None:
        where += f"step {step.number}, {step.action}: "
    lines = [("plain", where + one_line(failure.title)), *failure.lines]
    if failure.crash == "in_flight":
        lines.append(
            (
                "plain",
                "with the crash after the last step's messages were sent, before they were stored",
            )
        )
    elif failure.crash == "idle":
        lines.append(("plain", "with the crash after all was stored"))
    return lines
