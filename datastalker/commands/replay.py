"""`stalk replay`: a range of a topic once more, or through two configurations to see what differs."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import click

from datastalker import config as configuration
from datastalker import extras
from datastalker.commands import running
from datastalker.commands.filters import FILTER, Filter
from datastalker.commands.options import config_option
from datastalker.commands.progress import Progress
from datastalker.commands.ranges import range_options
from datastalker.errors import BrokerError, ConfigError, Problem
from datastalker.position import Position, show_time

if TYPE_CHECKING:
    from datastalker.replay import Replay


class _Speed(click.ParamType):
    name = "1x|10x|max"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value.lower() == "max":
            return "max"
        try:
            speed = float(value.lower().removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < 1e6:
            self.fail(f"'{value}' is neither max nor a pace such as 1x, 10x, 0.5x", param, ctx)
        return speed


@click.command("replay")
@config_option
@range_options
@click.option(
    "--speed",
    type=_Speed(),
    default="max",
    show_default=True,
    help="As fast as it was published then (1x), so many times as fast, or without waiting.",
)
@click.option("--topic", help="Which topic; the first of the pipeline unless given.")
@click.option(
    "--to-topic", help="Where to; the same topic unless given. One that isn't there is made."
)
@click.option(
    "--filter",
    "wanted",
    type=FILTER,
    help="Only what meets this, written as under when: '{kind: BEACON}'.",
)
@click.option("--dry-run", is_flag=True, help="Read and count, publish nothing.")
@click.option("--resume", is_flag=True, help="Go on where the same command was ended.")
@click.option(
    "--compare",
    nargs=2,
    metavar="OLD NEW",
    type=click.Path(exists=True, dir_okay=False),
    help="Run two configurations over the range, in this process: what differs?",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def replay_command(
    path: str,
    begin: Position | None,
    end: Position | None,
    speed: float | str,
    topic: str | None,
    to_topic: str | None,
    wanted: Filter | None,
    dry_run: bool,
    resume: bool,
    compare: tuple[str, str] | None,
    quiet: bool,
) -> None:
    """Publish what a topic holds once more, or see what a change to a configuration would change.

    \b
    stalk replay --from yesterday --to today --speed 10x --to-topic trial.frames
    stalk replay --from -2h --compare config.yaml new.yaml

    Nobody's place in a topic changes. Bytes stay as they are, so whoever has had a message knows it:
    into the topic it came from, Elasticsearch gets no document and the CSV sink no row twice.

    Ctrl-C ends it; the same command with --resume goes on. --compare publishes nothing, stores
    nothing, and ends with 1 where something differs.
    """
    if compare is not None:
        if to_topic or dry_run or resume or wanted or speed != "max":
            text = "--compare publishes nothing: it goes with --from, --to and --topic alone"
            raise click.UsageError(text)
        from datastalker.commands.comparing import compare_files

        compare_files(*compare, topic=topic, begin=begin, end=end)
        return
    config = running.load(path)
    source = topic or _first_topic(config)
    target = to_topic or source
    with extras.needs("replay", "agent"):
        from datastalker.replay import Replay
    said = f"{source}>{target} {begin and begin.text}..{end and end.text} {wanted and wanted.when}"
    group = f"{config.settings['name']}-replay-{zlib.crc32(said.encode()):08x}"
    with Replay(
        config,
        source,
        target,
        begin,
        end,
        speed=None if speed == "max" else float(speed),
        meets=wanted.meets if wanted else None,
        group=group,
        dry=dry_run,
    ) as replay:
        if resume and not replay.go_on():
            text = f"there is nothing to go on with: no replay of {source} to {target} with the "
            text += "same --from, --to and --filter was ended before its end"
            raise BrokerError(text, retriable=False)
        for note in replay.history.notes:
            click.echo(note, err=True)
        progress = Progress(show=not quiet, what="messages")

        def after_batch() -> None:
            if progress.due():
                left = replay.seconds_left(progress.seconds)
                progress.show(replay.totals.sent, replay.progress(), left)

        def stop(signal: str) -> None:
            replay.stopped = True

        running.stop_on_signals(stop)
        try:
            replay.run(after_batch)
        finally:
            progress.close()
        if not quiet:
            click.echo(_summary(replay), err=True)


def _first_topic(config: configuration.Config) -> str:
    for step in config.steps:
        if step.topics:
            return next(iter(step.topics.values()))
    text = "there is no topic in the pipeline; name one with --topic"
    raise ConfigError([Problem(config.file, 0, 0, text)])


def _summary(replay: Replay) -> str:
    totals = replay.totals
    dry, source, target = replay.dry, replay.topic, replay.target
    if totals.first is None and replay.resumed:
        return f"nothing is left of that range of {source}"
    if totals.first is None:
        said = f"nothing of {source} lies in that range"
        if replay.history.notes:  # they say what there is
            return said
        there = "; ".join(
            f"[{number}] {low:,} to {high:,}"
            for (_, number), (low, high) in sorted(replay.history.there.items())
        )
        return f"{said}; it has offsets {there}"
    begin, end = show_time(totals.first * 1000), show_time((totals.last or 0) * 1000)
    verb = "would be published" if dry else "published"
    said = f"{totals.sent:,} Kafka messages {verb} to {target}; they came from {begin} to {end} UTC"
    if dry or totals.filtered:
        said += f"; {totals.messages:,} messages in them, {totals.filtered:,} filtered out"
    if totals.copies:
        said += f"; {totals.copies:,} copies of an earlier replay passed over"
    if totals.unreadable:
        said += f"; {totals.unreadable:,} can't be read"
    if dry:
        said += f"; at 1x it takes {totals.seconds:,.0f} s"
    if replay.stopped:
        said += "; stopped, go on with --resume"
    return said
