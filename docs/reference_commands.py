"""Writes docs/commands.md: what every command says with --help, in the order of `stalk --help`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from datastalker.cli import cli

WIDTH = 100


def commands() -> str:
    """The text of docs/commands.md."""
    lines = [
        "# Commands",
        "",
        "Made by `make reference` from the code: what each says with `--help`.",
        "",
        "Exit codes: 0 done (also after Ctrl-C), 1 something could not be read, written or done, 2 the",
        "configuration or the command line is wrong. Where who reads has had enough (`| head`), it ends",
        "as it would have, quietly and with its own exit code; `run` and `tap` stop then, with 0.",
        "",
    ]
    for title, text in helps():
        lines += [
            f"{'##' if title.count(' ') < 2 else '###'} {title}",
            "",
            "```text",
            text,
            "```",
            "",
        ]
    return "\n".join(lines)


def helps() -> Iterator[tuple[str, str]]:
    """Each command as it is called, and its help."""
    with click.Context(cli, info_name="stalk", **cli.context_settings, **_SIZE) as context:
        yield from _below(context)


_SIZE = {"terminal_width": WIDTH, "max_content_width": WIDTH}


def _below(context: click.Context) -> Iterator[tuple[str, str]]:
    command = context.command
    yield context.command_path, command.get_help(context)
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        if not below.hidden:
            yield from _below(click.Context(below, info_name=name, parent=context, **_SIZE))
