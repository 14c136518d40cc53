"""`--from`, `--to`: which part of a topic, the same for every command that reads one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from datastalker.position import Position, is_before, parse_position


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
    """Adds `--from` and `--to`, given to the command as `begin` and `end`; a range that ends
    before it begins is refused."""

    @functools.wraps(command)
    def checked(
        *args: Any, begin: Position | None = None, end: Position | None = None, **rest: Any
    ) -> Any:
        if begin is not None and end is not None and is_before(end, begin):
            raise click.UsageError(f"--to {end.text} is before --from {begin.text}")
        return command(*args, begin=begin, end=end, **rest)

    with_end = click.option(
        "--to", "end", type=POSITION, help="Up to here; as --from. Else what is there at the start."
    )(checked)
    return click.option(
        "--from",
        "begin",
        type=POSITION,
        help="From here: -2h, yesterday, 'yesterday 17:30', 2026-03-02T17:00 (UTC, when it was "
        "published), an offset, or by partition 0:1200,1:880. Else from the beginning.",
    )(with_end)
