"""How far something is, on standard error: how much, how fast, how long still."""

from __future__ import annotations

import sys
from time import monotonic

import click

from datastalker.commands.tables import columns, cut, terminal_width

_DRAWN_SECONDS = 0.2
_WRITTEN_SECONDS = 5.0
_WRITTEN_WIDTH = 78


class Progress:
    """On a terminal one line, drawn anew; with `lines`, where none is, one every few seconds.

    if progress.due():
        progress.show(count, (done, all))
    """

    def __init__(self, *, show: bool = True, what: str = "frames", lines: bool = False) -> None:
        self.what = what
        self.drawn = show and sys.stderr.isatty()
        self.written = show and lines and not self.drawn
        self.every = _DRAWN_SECONDS if self.drawn else _WRITTEN_SECONDS
        self.started = self.shown = monotonic()

    @property
    def seconds(self) -> float:
        return monotonic() - self.started

    def due(self) -> bool:
        """Whether somebody looks, and has waited long enough."""
        return (self.drawn or self.written) and monotonic() - self.shown >= self.every

    def show(self, count: int, part: tuple[int, int] | None, left: float | None = None) -> None:
        """`part`: what is done, of what. `left`: seconds; unless given, by what was done so far."""
        self.shown = monotonic()
        width = (terminal_width(sys.stderr) or 80) - 1  # the last column would wrap on some
        line = progress_line(
            width if self.drawn else _WRITTEN_WIDTH, count, self.seconds, part,
            what=self.what, left=left, bar=self.drawn,
        )  # fmt: skip
        click.echo(f"\r\x1b[2K{line}" if self.drawn else line, err=True, nl=self.written)

    def close(self) -> None:
        if self.drawn:
            click.echo("\r\x1b[2K", err=True, nl=False)


def progress_line(
    width: int,
    count: int,
    seconds: float,
    progress: tuple[int, int] | None,
    *,
    what: str = "frames",
    left: float | None = None,
    bar: bool = True,
) -> str:
    """In at most `width` columns; where that is little, first the bar goes, then the count.
    `left`: seconds; unless given, by what was done so far."""
    parts = [f"{count:,} {what}", f"{count / seconds:,.0f}/s"]
    share = None
    if progress and progress[1]:
        share = min(1.0, progress[0] / progress[1])
        if left is None:
            left = seconds / share - seconds if share else 0
        parts = [f"{share:.0%}", *parts, f"{left:.0f} s left"]
        if columns("  ".join(parts)) > width:
            del parts[1]
    line = "  ".join(parts)
    size = min(30, width - columns(line) - 3)
    if bar and share is not None and size >= 5:
        filled = round(share * size)
        line = f"[{'█' * filled}{'·' * (size - filled)}] {line}"
    return cut(line, width)
