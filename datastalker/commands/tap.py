"""`stalk tap`: shows messages while they pass a stage of a running process, or come to a topic."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from datastalker import config as configuration
from datastalker import standard_output
from datastalker.commands.filters import FILTER, Filter
from datastalker.commands.options import config_option
from datastalker.commands.ranges import POSITION
from datastalker.commands.tables import cut, table, terminal_width
from datastalker.commands.tap_process import find, running
from datastalker.errors import ConfigError, InputError
from datastalker.message import Message
from datastalker.position import Position
from datastalker.segments import sensors_topic, topic_plans
from datastalker.shown import as_json, as_line
from datastalker.tapped import Counts, read
from datastalker.tapping import SOURCE
from datastalker.text import counted
from datastalker.topics import TopicPlan


@dataclass
class _Shown:
    """What was shown, and what wasn't."""

    shown: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        seen = self.counts.get("seen", 0)
        text = f"{counted(seen, 'messages')} looked at, {self.shown:,} shown"
        for name, said in (
            ("passed_by", "passed too fast to be looked at"),
            ("lost", "were lost: they came faster than they were read"),
            ("unreadable", "Kafka messages are none of ours"),
        ):
            if count := self.counts.get(name):
                text += f"; {count:,} {said}"
        return text


@click.command("tap")
@click.argument("name", metavar="STAGE|TOPIC", required=False)
@config_option
@click.option(
    "--url", help="Where the process listens, http://HOST:PORT, instead of what the file says."
)
@click.option(
    "--from", "begin", type=POSITION, help="Of a topic: from here, such as -10m; else from now."
)
@click.option(
    "--filter",
    "wanted",
    type=FILTER,
    help="Only what meets this, written as under when: '{kind: BEACON}'.",
)
@click.option("--limit", type=click.IntRange(1), help="End after so many messages.")
@click.option(
    "--at",
    type=click.Choice(["in", "out"]),
    help="Before the stage, or behind it; behind unless given, before of a sink.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    help="Text for people, JSON lines for programs; text on a terminal, else JSON.",
)
@click.option("--list", "listing", is_flag=True, help="Show what can be tapped.")
def tap_command(
    name: str | None,
    path: str,
    url: str | None,
    begin: Position | None,
    wanted: Filter | None,
    limit: int | None,
    at: str | None,
    style: str | None,
    listing: bool,
) -> None:
    """Show messages while they pass, and change nothing.

    STAGE: of an agent, worker, sink or `stalk run` that is running and has a port (http_port, under
    agent:, workers: or sinks:; `stalk run` takes agent:); `source` is what comes into it. The process
    goes on at its speed: what passes too fast is not shown, and counted. TOPIC: what is published
    from now on (--from: also what was); no group is joined.

    \b
    Example:
      stalk tap dedupe --filter '{kind: PROBE_REQ, retry: false}' --limit 20
    """
    config = None if url else _load(path)
    if listing:
        _list(config, url)
        return
    if name is None:
        raise click.UsageError("name a stage or a topic; --list shows what there is")
    plans = {} if config is None else _topics(config)
    if config is not None and name in plans:
        if at is not None:
            raise click.UsageError("--at is of a stage; what is in a topic is what came to it")
        from datastalker.commands.tap_topic import follow

        source = follow(config, plans[name], begin)
        click.echo(f"{name} at {config.kafka['bootstrap_servers']}; Ctrl-C ends", err=True)
    else:
        if begin is not None:
            raise click.UsageError("--from is of a topic; a stage shows what passes now")
        tapped = find(config, url, name, list(plans))
        source = read(tapped.url, name, at, wanted.when if wanted else {})
        click.echo(f"{name} at {tapped.url}; Ctrl-C ends", err=True)
    _show(source, wanted, limit, style or ("text" if sys.stdout.isatty() else "json"))


def _show(
    source: Iterator[Message | Counts], wanted: Filter | None, limit: int | None, style: str
) -> None:
    said = _Shown()
    width = terminal_width(sys.stdout)
    try:
        for one in source:
            if not isinstance(one, Message):
                said.counts.update(one)
                continue
            if wanted is not None and not wanted.meets(one):
                continue
            line = as_json(one) if style == "json" else as_line(one)
            click.echo(cut(line, width) if width and style == "text" else line)
            said.shown += 1
            if said.shown == limit or standard_output.reader_is_gone():
                break
    except KeyboardInterrupt:
        pass
    finally:
        source.close()  # type: ignore[attr-defined]
        said.counts["seen"] = max(said.counts.get("seen", 0), said.shown)
        click.echo(str(said), err=True)


def _load(path: str) -> configuration.Config:
    config = configuration.load(path)
    if config.errors:
        raise ConfigError(config.errors)
    return config


def _topics(config: configuration.Config) -> dict[str, TopicPlan]:
    """Those that carry messages; not state, not dead letters."""
    if not any(step.topics for step in config.steps):
        return {}
    named = {name for step in config.steps for name in (step.topics or {}).values()}
    named.add(sensors_topic(config).name)
    return {plan.name: plan for plan in topic_plans(config) if plan.name in named}


def _list(config: configuration.Config | None, url: str | None) -> None:
    rows: list[list[Any]] = []
    for plan in (_topics(config) if config is not None else {}).values():
        rows.append([plan.name, "topic", ", ".join(plan.types)])
    answering, silent = running(config, url)
    for tapped in answering:
        for stage, where in tapped.stages.items():
            what = "what comes in" if stage == SOURCE else ", ".join(where)
            rows.append([stage, tapped.url, what])
    if not rows:
        raise InputError("\n  ".join(["nothing can be tapped now:", *silent]))
    click.echo(table(["stage or topic", "where", "what"], rows, stream=sys.stdout))
    for text in silent:
        click.echo(text, err=True)
