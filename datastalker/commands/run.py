"""`stalk run`: the whole pipeline in this process; a cut hands messages over in memory.

Where a topic is the first entry, what was published there is read, without a trace.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from datastalker import config as configuration
from datastalker.commands import running
from datastalker.commands.options import config_option
from datastalker.commands.ranges import range_options
from datastalker.errors import ConfigError, Problem
from datastalker.position import Position

if TYPE_CHECKING:
    from datastalker.page import Page


@click.command("run")
@config_option
@range_options
@click.option("--follow", is_flag=True, help="Go on with what is published from now on.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def run_command(
    path: str,
    begin: Position | None = None,
    end: Position | None = None,
    follow: bool = False,
    quiet: bool = False,
) -> None:
    """Run a pipeline in this process.

    Ctrl-C, or SIGTERM, finishes the batch in hand, flushes the sinks and shows the summary; a
    second one ends at once. The summary goes to standard error, so that `print` can be piped.

    Where the first entry is a topic, what it holds is read and nothing else happens to it: no
    consumer group, no commit. --from, --to and --follow say what of it.
    """
    checked = running.load(path)
    if nowhere := configuration.goes_nowhere(checked):
        click.echo(str(nowhere), err=True)
    pipeline, name = configuration.build(checked), checked.settings["name"]
    if checked.steps[0].topics is not None:
        from datastalker.topic_source import TopicSource

        assert isinstance(pipeline.source, TopicSource)
        if follow and end is not None:
            raise click.UsageError("--to says where it ends, and --follow that it doesn't")
        source = pipeline.source
        source.begin, source.end, source.follow = begin, end, follow
    elif begin or end or follow:
        text = "--from, --to and --follow are of a pipeline whose first entry is a topic"
        raise ConfigError([Problem(path, 0, 0, text)])

    def page() -> Page:
        from datastalker.metrics import stage_samples
        from datastalker.page import Page
        from datastalker.tapping import places_of

        samples, places = partial(stage_samples, name, [pipeline]), partial(places_of, [pipeline])
        return Page("run", name, checked.sensor, samples, places=places)

    running.run(checked, pipeline, page=page, quiet=quiet)
