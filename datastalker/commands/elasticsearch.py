"""`stalk elasticsearch setup`: index templates with an explicit mapping for each message type."""

from __future__ import annotations

import json
from typing import Any

import click

from datastalker.commands.options import config_option
from datastalker.commands.running import load
from datastalker.commands.tables import table
from datastalker.config import build_sink
from datastalker.errors import ConfigError, Problem
from datastalker.stats import Stats


@click.group("elasticsearch")
def elasticsearch_command() -> None:
    """Prepare Elasticsearch for the pipeline's messages."""


@elasticsearch_command.command("setup")
@config_option
@click.option("--show", is_flag=True, help="Print the templates as JSON, and change nothing.")
def setup_command(path: str, show: bool) -> None:
    """Make the index templates that the `elasticsearch` sinks of a configuration need.

    A template that is there as it should be is left alone; run it as often as you like. Indices
    that exist keep the mapping they were made with.
    """
    config = load(path)
    steps = [step for step in config.steps if step.name == "elasticsearch"]
    if not steps:
        text = "there is no elasticsearch in the pipeline to set up"
        raise ConfigError([Problem(path, 0, 0, text)])
    rows: list[list[Any]] = []
    for step in steps:
        sink: Any = build_sink(config, step, Stats())
        if show:
            click.echo(json.dumps(sink.templates(), indent=2))
            continue
        try:
            rows += [[step.label, name, done] for name, done in sink.set_up().items()]
        finally:
            sink.close()
    if rows:
        click.echo(table(["sink", "index template", ""], rows))
