"""`stalk capture`: a capture agent; what stands above the first topic, published to Kafka."""

from __future__ import annotations

from typing import NoReturn

import click

from datastalker import extras
from datastalker.commands import running
from datastalker.commands.options import config_option
from datastalker.errors import StopPipeline


@click.command("capture")
@config_option
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def capture_command(path: str, quiet: bool = False) -> None:
    """Capture, and publish to Kafka.

    Runs the source and the stages above the first topic. Ctrl-C, or SIGTERM, delivers what was
    read and shows the summary; a second one ends at once. Exit code 1: Kafka is not there or lacks
    a topic, or frames of a capture file could not be delivered.
    """
    checked = running.load(path)
    with extras.needs("an agent", "agent"):
        from capture_agent.agent import Agent
    running.stop_on_signals(_end_the_start)
    try:
        agent = Agent(checked)
    except StopPipeline as stop:
        click.echo(f"stopped: {stop.reason}, before anything was captured", err=True)
        return
    running.run(checked, agent.pipeline, agent.turn, page=agent.page, quiet=quiet)


def _end_the_start(reason: str) -> NoReturn:
    """The broker may be waited for, and an interface in monitor mode is there already."""
    raise StopPipeline(reason)
