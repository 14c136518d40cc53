"""`--from`, `--to`: which part of a topic, the same for every command that reads one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from datastalker.position import Position, parse_position


class _PositionType(click.ParamType):
    name = "TIME|OFFSET"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Position:
        if isinstance(value, Position):
            return value
        try:
            return parse_position(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


POSITION = _PositionType()


def range_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--from` and `--to`, given to the command as `begin` and `end`."""
    command = click.option(
        "--to", "end", type=POSITION, help="Up to here; as --from. Else what is there at the start."
    )(command)
    return click.option(
        "--from",
        "begin",
        type=POSITION,
        help="From here: -2h, yesterday, 'yesterday 17:30', 2026-03-02T17:00 (UTC, when it was "
        "published), an offset, or by partition 0:1200,1:880. Else from the beginning.",
    )(command)
