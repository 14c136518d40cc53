"""`stalk run`: the whole pipeline in this process; a cut hands messages over in memory."""

from __future__ import annotations

import click

from datastalker import config as configuration
from datastalker.commands import running


@click.command("run")
@click.option(
    "-c", "--config", default="config.yaml", show_default=True, help="The configuration file."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def run_command(config: str, quiet: bool = False) -> None:
    """Run a pipeline in this process.

    Ctrl-C, or SIGTERM, finishes the batch in hand, flushes the sinks and shows the summary; a
    second one ends at once. The summary goes to standard error, so that `print` can be piped.
    """
    checked = running.load(config)
    running.run(checked, configuration.build(checked), quiet=quiet)
