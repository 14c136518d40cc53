"""Where a process shows itself: the same settings under `agent:`, `workers:` and `sinks:`."""

from __future__ import annotations

from dataclasses import replace

from datastalker.options import Option, option, options_of


class PageSettings:
    """Of the page that `datastalker.page` serves."""

    http_host: str = option("127.0.0.1", "where /livez, /readyz, /metrics and /tap are served")
    http_port: int | None = option(
        None, "and on which port; 0: any that is free; null: nowhere", minimum=0, maximum=65535
    )
    tap_remote: bool = option(
        False,
        "other machines may read messages there too (/tap): they tell who is near, and nobody asks "
        "for a password",
    )


def page_options(port: int | None = None, about: str = "") -> dict[str, Option]:
    """The settings, with another port as the default; `about` is added to what is said of it."""
    found = options_of(PageSettings) or {}
    given = found["http_port"]
    return {**found, "http_port": replace(given, default=port, help=given.help + about)}


SINKS: dict[str, Option] = page_options(
    about="; of several sinks the first has this one, the next the one above it, and so on"
)
"""`sinks:` in the configuration: of processes of `stalk sink`."""
