"""`stalk sink`: one sink as a process and consumer group of its own."""

from __future__ import annotations

import sys

import click

from datastalker import extras, pages
from datastalker.commands.options import config_option
from datastalker.commands.running import load, stop_on_signals
from datastalker.commands.tables import table


@click.command("sink")
@click.argument("name", required=False)
@config_option
@click.option(
    "--instance",
    help="A name that this process has again when it is restarted, and no other process has: it "
    "then gets its partitions back at once.",
)
@click.option("--drain", is_flag=True, help="End when all that is in the topics now is stored.")
def sink_command(name: str | None, path: str, instance: str | None, drain: bool) -> None:
    """Run the sink NAME of the configuration: what stands below the last topic.

    NAME may be left out where there is only one. Ctrl-C or SIGTERM: what was read is stored and
    committed first. Start up to as many as the topic has partitions; they share the work.
    """
    config = load(path)
    with extras.needs("a sink", "agent"):
        from sinks.consume import SinkRunner, find_sink
    step = find_sink(config, name)
    runner = SinkRunner(config, step, instance)
    stop_on_signals(runner.stop)
    click.echo(
        f"{step.label}: group {runner.group.group} reads {', '.join(runner.topics)} at "
        f"{config.kafka['bootstrap_servers']}; Ctrl-C ends",
        err=True,
    )
    where = pages.of_sink(config, step.label)
    if where.port is not None:
        from sinks.page import page_of

        where.serve(page_of(runner, config.settings["name"]))
    try:
        runner.run(drain)
    finally:
        counts = [[key, f"{value:,.0f}"] for key, value in runner.stats.get_stats().items()]
        click.echo(table(["counter", "value"], counts, stream=sys.stderr), err=True)
    if said := runner.sink.result():
        click.echo(f"{step.label}: {said}", err=True)
    click.echo(f"stopped: {runner.stop_reason}", err=True)
