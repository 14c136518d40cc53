"""`stalk dlq`: the dead letters, messages that nobody could handle."""

from __future__ import annotations

from typing import Any

import click

from datastalker import extras
from datastalker.commands.options import config_option
from datastalker.commands.running import load
from datastalker.commands.tables import table
from datastalker.errors import InputError
from datastalker.moment import utc
from datastalker.text import one_line, printable

_SHOWN = 2048  # bytes of a message


def _letters(path: str) -> Any:
    with extras.needs("dlq", "agent"):
        from sinks.letters import Letters
    return Letters(load(path))


@click.group("dlq")
def dlq_command() -> None:
    """See and settle dead letters: messages that nobody could handle."""


@dlq_command.command("ls")
@config_option
def ls_command(path: str) -> None:
    """List the dead letters: where each lies, where it came from, why it is here."""
    letters = _letters(path)
    rows = [
        [
            letter.place,
            utc(letter.said.get("time"), "%Y-%m-%d %H:%M:%S"),
            letter.origin,
            letter.said.get("who", ""),
            len(letter.record.value() or b""),
            one_line(letter.said.get("reason", ""))[:200],
        ]
        for letter in letters.read(letters.ends())
    ]
    header = ["letter", "time (UTC)", "from", "who", "bytes", "reason"]
    said = table(header, rows, whole=["letter", "reason"]) if rows else f"{letters.topic} is empty"
    click.echo(said)


@dlq_command.command("show")
@click.argument("letter")
@config_option
def show_command(letter: str, path: str) -> None:
    """Show one dead LETTER, named as `ls` does: its headers and the first bytes."""
    letters = _letters(path)
    for found in letters.read(letters.ends()):
        if found.place == letter:
            for name, value in found.said.items():
                said = printable(value) if name == "traceback" else one_line(value)
                click.echo(f"{one_line(name)}: {said}")
            value = found.record.value() or b""
            for at in range(0, min(len(value), _SHOWN), 16):
                line = value[at : at + 16]
                text = "".join(chr(b) if 32 <= b < 127 else "." for b in line)
                click.echo(f"{at:06x}  {line.hex(' '):47}  {text}")
            return
    raise InputError(f"there is no dead letter {letter}; `stalk dlq ls -c {path}` names them")


@dlq_command.command("retry")
@click.argument("letter", required=False)
@click.option(
    "--all", "every", is_flag=True, help="All there are; once sent they are dead letters no more."
)
@config_option
def retry_command(letter: str | None, every: bool, path: str) -> None:
    """Send a LETTER, named as `ls` does, or all, again to the topic it came from.

    A single one stays among the dead letters, until all are dropped. Every reader of that topic
    gets it again; Elasticsearch knows documents that it has.
    """
    if (letter is None) != every:
        raise click.UsageError("name one letter, or give --all")
    letters = _letters(path)
    ends = letters.ends()
    sent = letters.retry(ends, letter)
    if letter is not None and not sent:
        raise InputError(f"there is no dead letter {letter}; `stalk dlq ls -c {path}` names them")
    if every:
        letters.drop(ends)
    click.echo(f"{sent} sent again" + ("" if every else "; it stays here too, until dropped"))


@dlq_command.command("drop")
@click.option("--all", "every", is_flag=True, required=True, help="Yes, all there are.")
@config_option
def drop_command(every: bool, path: str) -> None:
    """Throw all dead letters away."""
    letters = _letters(path)
    click.echo(f"{letters.drop(letters.ends())} dropped")
