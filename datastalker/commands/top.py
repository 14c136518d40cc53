"""`stalk top`: who is in the air, live in a terminal; or one table, for scripts."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import click
import yaml

from datastalker import config as configuration
from datastalker import extras
from datastalker.commands import running
from datastalker.commands.tables import table
from datastalker.errors import InputError
from datastalker.options import closest
from datastalker.text import counted
from datastalker.top.air import Air
from datastalker.top.embedded import EmbeddedFeed
from datastalker.top.feed import Feed, Live, LogToEvents
from datastalker.top.search import compile_filter
from datastalker.top.tables import VIEWS
from datastalker.top.views import Query, View, cell_text, select

_WAIT_SECONDS = 5.0
_NAMES = [view.name for view in VIEWS]


@click.command("top")
@click.option("-i", "--interface", multiple=True, help="Hear live on this interface.")
@click.option(
    "-c", "--config", "path", help="Run this file's source and stages; nothing is stored."
)
@click.option("--topics", is_flag=True, help="With -c: what comes to its topics, from now on.")
@click.option("--read", "capture", metavar="FILE", help="Show a capture file as if it were live.")
@click.option(
    "--url", help="Look at a process that runs and has a port (http_port): http://HOST:PORT."
)
@click.option(
    "--speed", help="With --read: times its own pace, or max.  [default: 1; max with --once]"
)
@click.option(
    "--view", "name", type=click.Choice(_NAMES), default=_NAMES[0], show_default=True,
    help="The table to begin with.",
)  # fmt: skip
@click.option("--sort", metavar="COLUMN", help="Order rows by this; -COLUMN: the greatest first.")
@click.option("--filter", "typed", metavar="TEXT", help="Rows with this text, or a condition.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True,
              help="With --once: rows; 0: all.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print one table and end; so where no terminal is.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), help="With --once: how long to look.  "
    "[default: 5; a capture file to its end]",
)  # fmt: skip
@click.option("--refresh", type=click.FloatRange(0.2, 60), default=1.0, show_default=True,
              help="Seconds between two pictures.")  # fmt: skip
def top_command(
    interface: tuple[str, ...],
    path: str | None,
    topics: bool,
    capture: str | None,
    url: str | None,
    speed: str | None,
    name: str,
    sort: str | None,
    typed: str | None,
    limit: int,
    once: bool,
    seconds: float | None,
    refresh: float,
) -> None:
    """Watch networks, devices, sensors and stages, live.

    Nothing is stored and nothing is sent. In it, ? shows the keys. Over ssh it needs a terminal
    with UTF-8. Names from the air are shown with their control characters escaped.

    \b
    Examples:
      sudo stalk top -i wlan0mon
      stalk top --read capture.pcap --speed 10
      stalk top --url http://localhost:6065
      stalk top --read capture.pcap --once --view devices --filter 'ta_randomized: true'
    """
    once = once or not _is_terminal()
    view = next(view for view in VIEWS if view.name == name)
    query = _query(view, sort, typed)
    if sum(map(bool, (interface, path, capture, url))) != 1:
        raise click.UsageError("name one of: -i INTERFACE, -c FILE, --read FILE, --url URL")
    if topics and not path:
        raise click.UsageError("--topics goes with -c FILE")
    if seconds is not None and not once:
        raise click.UsageError("--seconds goes with --once; the screen stays until q is pressed")
    if capture == "-" and not once:
        raise InputError("--read -: keys come from standard input here; add --once, or name a file")
    if capture:
        speed = speed or ("max" if once else "1")
        feed = _feed({"pcap": {"path": capture, "speed": _speed(speed)}}, capture)
    elif speed:
        raise click.UsageError("--speed goes with --read; a configuration has it in its source")
    elif url:
        from datastalker.top.process import ProcessFeed  # urllib brings OpenSSL

        feed = ProcessFeed(url)
    elif interface:
        feed = _feed({"wifi_sniffer": {"interface": list(interface)}}, ", ".join(interface))
    else:
        assert path is not None
        config = running.load(path)
        feed = _of_topics(config) if topics else EmbeddedFeed(config, path)
    live = Live(feed)
    if once:
        to_the_end = capture is not None and seconds is None
        _print(live, view, query, None if to_the_end else seconds or _WAIT_SECONDS, limit)
    else:
        _show(live, view, query, refresh, typed or "")
    if live.error is not None:
        raise live.error


def _feed(source: dict[str, Any], title: str) -> Feed:
    text = yaml.safe_dump({"pipeline": [source, "presence"]})
    config = configuration.parse(text, "stalk top")
    if config.errors:
        raise InputError("; ".join(problem.text for problem in config.errors))
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    return EmbeddedFeed(config, title)


def _of_topics(config: configuration.Config) -> Feed:
    with extras.needs("top --topics", "agent"):
        from datastalker.top.topics import TopicsFeed
    return TopicsFeed(config)


def _speed(text: str) -> float | str:
    try:
        return text if text == "max" else float(text.removesuffix("x"))
    except ValueError:
        raise click.UsageError(f"--speed is a number, or max, not '{text}'") from None


def _query(view: View, sort: str | None, typed: str | None) -> Query:
    """Raises InputError for a column that isn't there, or a condition that is none."""
    query = Query(view.sort, view.reverse, compile_filter(typed or ""))
    if sort:
        wanted = sort.removeprefix("-")
        known = {word: c.key for c in view.columns for word in (c.title, c.key)}
        if wanted not in known:
            there = ", ".join(column.title for column in view.columns)
            near = closest(wanted, known) or f" (there is: {there})"
            raise InputError(f"--sort: {view.name} have no column '{wanted}'{near}")
        query.sort, query.reverse = known[wanted], sort.startswith("-")
    return query


def _is_terminal() -> bool:
    """Something on which a picture can be drawn anew."""
    # The picture is written to standard error, keys come from standard input.
    all_three = all(each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr))
    return all_three and os.environ.get("TERM", "dumb") not in ("dumb", "")


def _print(live: Live, view: View, query: Query, seconds: float | None, limit: int) -> None:
    running.stop_on_signals(live.feed.stop)
    live.start()
    live.wait(seconds)
    live.stop()
    with live.look() as (air, stages):
        rows = select(view, query, air, stages)
        now = air.now
        deaf = "" if air.devices or air.networks else _deaf(air)
    if deaf and isinstance(live.feed, EmbeddedFeed):
        raise InputError(f"nothing was heard: {deaf}")
    if live.error is not None and not rows:
        return
    shown = rows[:limit] if limit else rows
    cells = [
        [
            _whole(value) if column.kind == "number" else cell_text(column, value, now)
            for column, value in zip(view.columns, row.cells, strict=True)
        ]
        for row in shown
    ]
    more = f" (the first {limit}; --limit 0 shows all)" if len(shown) < len(rows) else ""
    click.echo(f"{counted(len(rows), view.name)}{more}")
    whole = [column.title for column in view.columns if column.names]
    by_rank = sorted(enumerate(view.columns), key=lambda each: (each[1].rank, each[0]))
    least = [column.title for _, column in reversed(by_rank) if not column.names]
    click.echo(table([c.title for c in view.columns], cells, whole=whole, least=least))


def _deaf(air: Air) -> str:
    """How the interfaces are, where none was listened to; else, or where there are none, nothing."""
    states = [each for s in air.sensors.values() for each in s.status.get("interfaces") or ()]
    if any(each.endswith(": listening") for each in states):
        return ""
    return "; ".join(each.removesuffix("; waits for it") for each in states)


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value


def _show(live: Live, view: View, query: Query, refresh: float, typed: str) -> None:
    with extras.needs("the screen of stalk top", "ui"):
        from datastalker.top.app import TopApp
    root = logging.getLogger()
    kept = list(root.handlers)
    for handler in kept:  # a line of the log would be written into the picture
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    root.addHandler(LogToEvents(live))
    live.start()
    try:
        app = TopApp(live, view, query, refresh, typed)
        app.run()
    finally:
        live.stop()
        root.handlers[:] = kept
    if app.return_code:  # it has said why
        sys.exit(app.return_code)
