"""`stalk run`: the whole pipeline in this process; a cut hands messages over in memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from datastalker import config as configuration
from datastalker.commands import running

if TYPE_CHECKING:
    from datastalker.page import Page


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
    pipeline, name = configuration.build(checked), checked.settings["name"]

    def page() -> Page:
        from datastalker.metrics import stage_samples
        from datastalker.page import Page
        from datastalker.tapping import places_of

        samples, places = partial(stage_samples, name, [pipeline]), partial(places_of, [pipeline])
        return Page("run", name, checked.sensor, samples, places=places)

    running.run(checked, pipeline, page=page, quiet=quiet)
