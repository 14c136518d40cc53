"""What the commands share that run a pipeline: loading, signals, progress, the summary."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from datastalker import config as configuration
from datastalker import pages, standard_output
from datastalker.collector import spare_the_collector
from datastalker.commands.progress import Progress
from datastalker.commands.tables import table
from datastalker.errors import ConfigError, DataStalkerError, Problem
from datastalker.pipeline import Pipeline
from datastalker.stage import Sink

if TYPE_CHECKING:
    from datastalker.page import Page


def load(path: str) -> configuration.Config:
    """A configuration that can run, with its log set up; its warnings are shown.

    Raises ConfigError with every mistake.
    """
    config = without_log(path)
    _set_up_logging(config)
    return config


def without_log(path: str) -> configuration.Config:
    """As `load`, for a command that writes no log. Raises ConfigError with every mistake."""
    config = configuration.load(path)
    for problem in config.problems:
        if problem.warning:
            click.echo(str(problem), err=True)
    if config.errors:
        raise ConfigError(config.errors)
    return config


def run(
    config: configuration.Config,
    pipeline: Pipeline,
    on_batch: Callable[[], None] | None = None,
    *,
    page: Callable[[], Page] | None = None,
    quiet: bool = False,
) -> None:
    """Run a pipeline to its end or a signal, with progress and, at the end, a summary.

    `on_batch` is called after each batch. `page` is served meanwhile, if the configuration says
    where. Raises DataStalkerError, also where a stage lost every
    message that it got.
    """
    stop_on_signals(pipeline.stop)
    spare_the_collector()
    where = pages.of_agent(config)
    if page is not None and where.port is not None:
        assert pipeline.source is not None
        pipeline.source.open()  # it gives rights away, before there are threads
        where.serve(page())
    progress = Progress(show=not quiet and _may_show_progress(config))

    def after_batch() -> None:
        if on_batch is not None:
            on_batch()
        if standard_output.reader_is_gone():
            pipeline.stop("nobody reads the output any more")
        if progress.due():
            assert pipeline.source is not None
            progress.show(pipeline.source_stats.sent, pipeline.source.progress())

    ended = False
    try:
        pipeline.run(after_batch)
        ended = True
    finally:
        progress.close()
        if not quiet and (ended or pipeline.source_stats.sent):
            click.echo(_summary(pipeline, progress.seconds), err=True)
        gc.freeze()  # or Python looks through all that was remembered before it ends
    for stats in pipeline.all_stats():
        if 0 < stats.received <= stats.errors and not stats.sent + stats.dropped:
            text = f"stage '{stats.name}' failed on every message that it got, {stats.received:,}"
            raise DataStalkerError(f"{text}: the log has the exception")


def _set_up_logging(config: configuration.Config) -> None:
    settings = config.settings
    try:
        logging.basicConfig(
            filename=settings["log_file"] and os.path.expanduser(settings["log_file"]),
            level=settings["log_level"].upper(),
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
    except OSError as error:
        text = f"log_file: {settings['log_file']} can't be written: {error.strerror}"
        raise ConfigError([Problem(config.file, 0, 0, text)]) from error
    if settings["logging"]:
        from logging.config import dictConfig  # 1.0 MiB

        ours = {"version": 1, "disable_existing_loggers": False}
        try:
            dictConfig({**ours, **settings["logging"]})
        except Exception as error:  # it raises anything at all for what it can't read
            text = f"logging: {error}" + (f": {error.__cause__}" if error.__cause__ else "")
            raise ConfigError([Problem(config.file, 0, 0, text)]) from error


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Call `stop` with the signal's name on Ctrl-C and SIGTERM; a second one ends at once."""

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one, of either, is meant
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop(signal.Signals(number).name)

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _may_show_progress(config: configuration.Config) -> bool:
    """Not where it would be mixed with what `print` writes to the same terminal."""
    prints = any(step.name == "print" for step in config.steps)
    return sys.stderr.isatty() and not (prints and sys.stdout.isatty())


def _summary(pipeline: Pipeline, seconds: float) -> str:
    frames = pipeline.source_stats.sent
    rows: list[list[Any]] = []
    for stats in pipeline.all_stats():
        handled = stats.received or stats.sent
        rows.append(
            [
                stats.name,
                stats.received
                if stats.received or stats.name != pipeline.source_stats.name
                else None,
                stats.sent,
                stats.dropped,
                stats.errors,
                stats.seconds * 1e6 / handled if handled else 0.0,
            ]
        )
    lines = [
        "",
        table(["stage", "in", "out", "dropped", "errors", "µs each"], rows, stream=sys.stderr),
    ]
    counters = pipeline.stats.get_stats()
    if counters:
        values = [[name, _number(value)] for name, value in counters.items()]
        lines += ["", table(["counter", "value"], values, stream=sys.stderr)]
    for name, count in pipeline.evicted().items():
        lines.append(
            f"{name}: {count:,} state entries evicted; raise state_max_entries to keep more"
        )
    lines.append("")
    for entry in pipeline.entries:
        if isinstance(entry.component, Sink) and (said := entry.component.result()):
            lines.append(f"{entry.stats.name}: {said}")
    ended = f"stopped: {pipeline.stop_reason}; " if pipeline.stop_reason else ""
    rate = f"{frames / seconds:,.0f}/s" if seconds else ""
    lines.append(f"{ended}{frames:,} messages in {seconds:.1f} s, {rate}")
    return "\n".join(lines)


def _number(value: Any) -> Any:
    """A whole float as int; whatever else a stage has set is shown as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
