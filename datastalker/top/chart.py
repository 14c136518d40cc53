"""A chart of characters: values over time as bars, with gaps where there was nothing."""

from __future__ import annotations

from collections.abc import Sequence

EIGHTHS = " ▁▂▃▄▅▆▇█"
HALVES = " ▄█"
"""For the Linux console, whose font has no eighths."""


def chart(
    values: Sequence[int | None],
    width: int,
    height: int,
    *,
    low: int = -100,
    high: int = -20,
    glyphs: str = EIGHTHS,
) -> list[str]:
    """`height` lines of `width` characters, the newest value right; of several that share a
    column the greatest is shown. What lies outside of `low` to `high` is drawn at the edge."""
    columns = _columns(values, width)
    steps = len(glyphs) - 1
    full = height * steps
    tops = [
        0 if v is None else max(1, min(full, round((v - low) / (high - low) * full)))
        for v in columns
    ]
    lines = []
    for row in range(height):
        floor = (height - 1 - row) * steps
        lines.append("".join(glyphs[max(0, min(steps, top - floor))] for top in tops))
    return lines


def _columns(values: Sequence[int | None], width: int) -> list[int | None]:
    found: list[int | None] = []
    count = len(values)
    for column in range(width):
        begin = column * count // width
        end = max((column + 1) * count // width, begin + 1)
        part = [v for v in values[begin:end] if v is not None]
        found.append(max(part, default=None))
    return found
