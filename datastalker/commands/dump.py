"""`stalk export`, `stalk import`: a range of a topic to a file and back, byte for byte."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastalker import extras
from datastalker.commands import running
from datastalker.commands.options import config_option
from datastalker.commands.ranges import range_options
from datastalker.position import Position

if TYPE_CHECKING:
    from datastalker.record import Record


@click.command("export")
@config_option
@range_options
@click.option("--topic", required=True, help="Which topic.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export_command(
    path: str,
    begin: Position | None,
    end: Position | None,
    topic: str,
    force: bool,
    file: Path,
) -> None:
    """Write a range of a topic to FILE, byte for byte: NAME.avro or NAME.jsonl, also with .gz.

    \b
    stalk export --topic wifi.frames --from yesterday --to today yesterday.avro
    stalk import --topic trial.frames yesterday.avro

    Nobody's place in the topic changes. The file is there when it is whole. What a replay put into
    the topic once more is in it once.
    """
    config = running.load(path)
    with extras.needs("export", "agent"):
        from datastalker import dump
        from datastalker.history import History
    dump.form(file)
    with History(config, [topic], begin, end) as history:
        for note in history.notes:
            click.echo(note, err=True)
        with _bar("exported", (history.progress() or (0, 0))[1]) as bar:
            copies = 0

            def records() -> Iterator[Record]:
                nonlocal copies
                for some in history.read():
                    once = [record for record in some if not history.repeats(record)]
                    copies += len(some) - len(once)
                    yield from once
                    bar.update(len(some))

            count = dump.write(file, records(), replace=force)
    said = f"{count:,} Kafka messages of {topic} in {file}"
    if copies:
        said += f"; {copies:,} copies of an earlier replay passed over"
    click.echo(said, err=True)


@click.command("import")
@config_option
@click.option("--topic", help="Into which topic; that which the file was of unless given.")
@click.option("--dry-run", is_flag=True, help="Read and count, publish nothing.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_command(path: str, topic: str | None, dry_run: bool, file: Path) -> None:
    """Publish what `stalk export` wrote to FILE: keys, bytes, headers, times and partitions as then.

    The file is read to its end before anything is published: a damaged one publishes nothing, nor
    does one whose messages are others than the topic carries.
    """
    config = running.load(path)
    with extras.needs("import", "agent"):
        from datastalker import dump
        from datastalker.wire import framing_of
    found = dump.look(file, framing_of(config.settings.get("schema_registry")))
    count, target = found.count, topic or found.topic
    if dry_run or not count:
        click.echo(f"{file} holds {count:,} Kafka messages, for {target or 'no topic'}", err=True)
        return
    if said := dump.concern(config, target, found):
        click.echo(said, err=True)
    with _bar("imported", count) as bar:
        dump.publish(config, target, dump.read(file), found.partitions, lambda: bar.update(1))
    click.echo(f"{count:,} Kafka messages of {file} published to {target}", err=True)


def _bar(label: str, length: int) -> Any:
    return click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    )
