"""`stalk topics`: what the configuration needs on the broker beside what is there; and make it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from datastalker.broker import Broker, connect
from datastalker.commands.options import config_option
from datastalker.commands.running import without_log
from datastalker.commands.tables import table
from datastalker.config import Config
from datastalker.segments import segments, topic_plans
from datastalker.topic_changes import Change, apply, compare, verify
from datastalker.topics import TopicPlan


@click.group("topics", context_settings={"help_option_names": ["-h", "--help"]})
def topics_command() -> None:
    """Show, and make, the topics that a configuration needs.

    Exit code 0: all is as wanted, or was made so; 1: something can't be done (it says what to do
    instead); 2: the configuration is wrong.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option(
        "--allow-repartition",
        is_flag=True,
        help="Add partitions to topics in use, though keys then go to others than before.",
    )(command)
    return config_option(command)


@topics_command.command("plan")
@_options
def plan_command(path: str, allow_repartition: bool) -> None:
    """Show what `apply` would do, and do nothing."""
    config, plans = _load(path)
    if plans:
        with connect(config) as broker:
            _show(broker, config, plans, allow_repartition)


@topics_command.command("apply", short_help="Make what is missing, change what differs.")
@_options
def apply_command(path: str, allow_repartition: bool) -> None:
    """Make topics that are missing and change those that differ; all, or nothing.

    What was applied already is left alone, so it can be run at every start.
    """
    config, plans = _load(path)
    if not plans:
        return
    with connect(config) as broker:
        todo = [c for c in _show(broker, config, plans, allow_repartition) if c.act != "none"]
        if not todo:
            return
        apply(broker, todo)
        left = verify(broker, plans)
    for change in left:
        click.echo(f"topic '{change.plan.name}': still to do: {change.todo}", err=True)
    if left:
        raise SystemExit(1)
    click.echo(f"done: {len({c.plan.name for c in todo})} topics made or changed")


def _load(path: str) -> tuple[Config, list[TopicPlan]]:
    config = without_log(path)
    plans = topic_plans(config)
    if not plans:
        click.echo(f"{path}: needs no topics: there is no 'topic' in its pipeline")
    return config, plans


def _show(
    broker: Broker, config: Config, plans: list[TopicPlan], allow_repartition: bool
) -> list[Change]:
    """The table, then what is to be known of it; ends the command if `apply` could not do it all."""
    read = {p.name for s in segments(config) if s.role == "worker" for p in s.source.values()}
    changes = compare(broker, plans, frozenset(read))
    blocked = [c for c in changes if c.act == "refuse" or (c.moves_keys and not allow_repartition)]
    rows: list[list[Any]] = [[c.plan.name, c.there, c.wanted, c.todo] for c in changes]
    click.echo(table(["topic", "is", "wanted", "to do"], rows))
    for change in changes:
        if change.about and change not in blocked:
            click.echo(f"topic '{change.plan.name}': {change.todo}: {change.about}")
    for change in blocked:
        click.echo(f"stalk: topic '{change.plan.name}': {change.todo}: {change.about}", err=True)
    if blocked:
        click.echo("stalk: so nothing is changed, of other topics neither", err=True)
        raise SystemExit(1)
    return changes
