"""What `stalk replay --compare` shows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from datastalker import extras
from datastalker.commands import running
from datastalker.commands.progress import Progress
from datastalker.commands.tables import cut, table, terminal_width
from datastalker.errors import ConfigError, Problem
from datastalker.message import Message
from datastalker.position import Position
from datastalker.shown import as_line
from datastalker.text import one_line

Differing = Callable[[Message, Message], Iterable[str]]


def compare_files(
    old: str, new: str, *, topic: str | None, begin: Position | None, end: Position | None
) -> None:
    """Show what differs, and end with 1 if anything does."""
    first, second = running.load(old), running.load(new)
    with extras.needs("replay --compare", "agent"):
        from datastalker.compare import comparable, compare, differ_above, differing
    cuts = [step.topics for step in first.steps if step.topics]
    topics = [topic] if topic else list(dict.fromkeys(cuts[0].values())) if cuts else []
    behind = " or ".join(topics)
    if not comparable(first, second, topics):
        text = f"behind {behind} neither file has a stage, and sinks and print are left out: "
        raise ConfigError([Problem(new, 0, 0, text + "there is nothing to compare")])
    above = [
        one_line(f"  {config.file}:{step.position[0]}: {step.label}")
        for config, step in differ_above(first, second, topics)
    ]
    progress = Progress(what="messages", lines=True)

    def told(what: str, count: int, part: tuple[int, int] | None) -> None:
        nonlocal progress
        if what != progress.what:
            progress.close()
            progress = Progress(what=what, lines=True)
        if progress.due():
            progress.show(count, part)

    try:
        found = compare(first, second, topics, begin, end, told)
    finally:
        progress.close()
    rows = [
        [kind, found.same[kind], found.changed[kind], found.only_old[kind], found.only_new[kind]]
        for kind in found.types
    ]
    said = f"{found.read:,} messages of {', '.join(topics)} through {old} and {new}"
    if found.repeated:
        said += f"; {found.repeated:,} repeated Kafka messages passed over"
    if found.unreadable:
        said += f"; {found.unreadable:,} Kafka messages can't be read"
    click.echo(said)
    if above:
        click.echo(f"above {behind} the files differ too, and that is not compared:")
        click.echo("\n".join(above))
    if not rows:
        click.echo("nothing came out of either")
        return
    click.echo(table(["type", "same", "changed", "only old", "only new"], rows))
    for (kind, key), count in found.keys.most_common():
        click.echo(one_line(f"{kind}: '{key}' differs in {count:,}"))
    width = terminal_width(sys.stdout) or 200
    for before, after in found.examples:
        for line in _example(before, after, differing):
            click.echo(cut(line, width))
    if found.any:
        raise SystemExit(1)
    click.echo(f"no difference behind {behind}")


def _example(before: Message | None, after: Message | None, differing: Differing) -> list[str]:
    if before is None or after is None:
        sign, message = ("+", after) if before is None else ("-", before)
        assert message is not None
        return [f"{sign} {as_line(message)}"]
    keys = ["timestamp", *differing(before, after)]
    lines = [one_line(f"~ {before.type} {before.get('id')}")]
    for sign, side in (("-", before), ("+", after)):
        some = Message({key: side[key] for key in keys if key in side}, type=side.type)
        lines.append(f"  {sign} {as_line(some)}")
    return lines
