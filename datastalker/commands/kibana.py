"""`stalk kibana`: the dashboards, into a Kibana."""

from __future__ import annotations

from typing import Any

import click

from datastalker.commands.running import load
from datastalker.commands.tables import table
from datastalker.config import Config
from datastalker.errors import OutputError
from datastalker.kibana_settings import KIBANA, wrong_together
from datastalker.options import complete, options_of
from datastalker.text import one_line

_INDEX = "datastalker"


@click.group("kibana")
def kibana_command() -> None:
    """See what is stored: dashboards for Kibana."""


@kibana_command.command("install", short_help="Import dashboards and what they are made of.")
@click.option("-c", "--config", "path", help="The configuration file, for its `kibana:`.")
@click.option("--url", help="Where Kibana is.  [default: http://localhost:5601]")
@click.option("--space", help="Identifier of the space to install into.  [default: default]")
@click.option("--username", help="User name; the password is asked for.")
@click.option("--password", envvar="KIBANA_PASSWORD", help="Better in KIBANA_PASSWORD.")
@click.option("--api-key", envvar="KIBANA_API_KEY", help="Better in KIBANA_API_KEY.")
@click.option("--ca", help="File with the certificates of who signs Kibana's.")
@click.option("--index", help="What the names of the indices begin with.  [default: datastalker]")
@click.option(
    "--overwrite/--no-overwrite",
    default=True,
    show_default=True,
    help="Replace what is there already, or change nothing and say so.",
)
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a Kibana that is not ready yet.",
)
def install_command(
    path: str | None,
    index: str | None,
    overwrite: bool,
    seconds: float,
    **given: str | None,
) -> None:
    """Import the data views, searches, panels and dashboards, six of them.

    Their ids are fixed: installing again replaces them, and leaves all else alone. What is given here
    goes before `kibana:` of the configuration. Exit code 1: Kibana refused something.
    """
    from sinks.kibana import Kibana, read, shipped

    settings, index = _settings(path, index, given)
    kibana = Kibana(**settings)
    try:
        version = kibana.wait(seconds, lambda text: click.echo(text, err=True))
        outcome = kibana.install(read(shipped(), index), overwrite=overwrite)
    finally:
        kibana.close()
    rows: list[list[Any]] = [[kind, title, done] for kind, _, title, done in outcome.installed]
    if rows:
        click.echo(table(["object", "title", ""], rows))
    for warning in outcome.warnings:
        click.echo(f"warning: {one_line(warning)}", err=True)
    for kind, name, _, why in outcome.refused:
        click.echo(one_line(f"{kind} {name}: {why}"), err=True)
    at = f"{kibana.url}, space {kibana.space}" + (f", Kibana {version}" if version else "")
    if outcome.refused:
        raise OutputError(f"kibana: {len(outcome.refused)} objects were refused; {at}")
    click.echo(f"\n{len(rows)} objects are in {at}; see Dashboards, [DataStalker] Overview")


def _settings(
    path: str | None, index: str | None, given: dict[str, str | None]
) -> tuple[dict[str, Any], str]:
    """What `kibana:` and the command line say together, and what indices' names begin with."""
    from sinks.elasticsearch import Elasticsearch

    settings: dict[str, Any] = complete(KIBANA, {}, ("kibana",), _never)
    if path is not None or not given["url"]:
        config = load(path or "config.yaml")
        settings = config.kibana
        index = index or _index(config)
    if given["username"] or given["api_key"]:
        settings.update(username=None, password=None, api_key=None)
    for name, value in given.items():
        if value is not None and (name != "password" or settings["username"] or given["username"]):
            settings[name] = value
    if settings["username"] and not settings["password"]:
        settings["password"] = click.prompt("Password", hide_input=True)
    if (wrong := wrong_together(settings)) is not None:
        raise click.UsageError(wrong[1])
    index = _INDEX if index is None else index
    for option, value in (
        (KIBANA["url"], settings["url"]),
        (KIBANA["space"], settings["space"]),
        ((options_of(Elasticsearch) or {})["index"], index),
    ):
        if option.check is not None and (text := option.check(value)):
            raise click.BadParameter(text, param_hint=f"--{option.name}")
    return settings, index


def _index(config: Config) -> str | None:
    """Of the first sink that stores to Elasticsearch."""
    options = [s.options for s in config.steps if s.name == "elasticsearch" and s.options]
    return str(options[0]["index"]) if options else None


def _never(path: Any, text: str) -> None:
    """The defaults are right."""
