"""`stalk capture`: a capture agent; what stands above the first topic, published to Kafka."""

from __future__ import annotations

import click

from datastalker import extras
from datastalker.commands import running
from datastalker.commands.options import config_option


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
    agent = Agent(checked)
    running.run(checked, agent.pipeline, agent.turn, page=agent.page, quiet=quiet)
