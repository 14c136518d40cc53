"""`stalk graph`: a drawing of the pipeline, for a terminal, for GitHub, for a page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from datastalker.commands import running
from datastalker.commands.drawing import mermaid, svg, text
from datastalker.commands.drawing.model import graph
from datastalker.commands.options import config_option
from datastalker.commands.tables import terminal_width
from datastalker.errors import OutputError

_WIDTH = 80
_SUFFIXES = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".txt": "text", "": "text"}


@click.command("graph")
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "svg"]),
    help="text for a terminal, mermaid for GitHub, svg for a page; else by the end of -o's name (.svg, "
    ".mmd, .mermaid, .txt or none), else text.",
)
@click.option("-o", "--output", metavar="FILE", help="Write it there, not to standard output.")
def graph_command(path: str, form: str | None, output: str | None) -> None:
    """Draw a pipeline: its stages with their options, topics, and who runs what.

    Dead letters, the agents' status and the workers' state are in it. Secrets are not.
    """
    form = form or (_form(output) if output else "text")
    drawn = graph(running.without_log(path))
    if form == "text":
        encoding = "utf-8" if output else sys.stdout.encoding or "ascii"
        width = min(terminal_width(sys.stdout) or _WIDTH, 120) if output is None else _WIDTH
        said = text.draw(drawn, width, encoding) + "\n"
    else:
        said = (mermaid.draw if form == "mermaid" else svg.draw)(drawn)
    if output is None:
        click.echo(said, nl=False)
        return
    try:
        Path(output).write_text(said, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"-o: {output} can't be written: {error.strerror}") from error


def _form(output: str) -> str:
    form = _SUFFIXES.get(Path(output).suffix.lower())
    if form is None:
        known = ", ".join(filter(None, _SUFFIXES))
        raise click.UsageError(f"-o: {output} must end with one of {known}; else name its --format")
    return form
