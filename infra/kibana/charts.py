"""Charts as SVG, each in a box: as plain as can be, and the same for the same rows."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from datastalker.text import one_line

Row = dict[str, Any]

COLOURS = (
    "#54b399", "#6092c0", "#d36086", "#9170b8", "#ca8eae", "#d6bf57", "#b9a888", "#da8b45",
    "#aa6556", "#e7664c",
)  # fmt: skip
_INK, _FAINT, _LINE = "#343741", "#69707d", "#d3dae6"
_WIDE, _WIDER = 0.58, 0.72  # of a letter and a capital, in sizes of the font
_LETTERS = 24


class Box(NamedTuple):
    """A place on the page."""

    x: float
    y: float
    w: float
    h: float


def text(
    x: float, y: float, said: object, size: float = 11, *, anchor: str = "start",
    colour: str = _INK, bold: bool = False, room: float = 0,
) -> str:  # fmt: skip
    """`room`: how wide it may be; 0: as it is. What comes from the air is made harmless."""
    shown = one_line(str(said))
    shown = _cut(shown, room / size) if room else shown
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"'
        f' text-anchor="{anchor}"{weight}>{html.escape(shown)}</text>'
    )


def _cut(said: str, room: float) -> str:
    """As much as there is room for, in sizes of the font."""
    used = 0.0
    for n, letter in enumerate(said):
        used += _WIDER if letter.isupper() else _WIDE
        if used > room:
            return said[: max(1, n - 1)] + "…"
    return said


def rectangle(box: Box, colour: str, *, opacity: float = 1, edge: str = "") -> str:
    stroke = f' stroke="{edge}"' if edge else ""
    seen = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{max(box.w, 0):.1f}"'
        f' height="{max(box.h, 0):.1f}" fill="{colour}"{seen}{stroke}/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{_LINE}"/>'


def shown(value: Any, kind: str = "number") -> str:
    """A value as people read it; `kind`: Kibana's type."""
    if value is None:
        return "–"
    if kind == "date":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%H:%M:%S")
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:,.0f}"
    return str(value) or "(empty)"


def metric(box: Box, value: Any) -> str:
    size = min(42, box.h / 2)
    return text(box.x + box.w / 2, box.y + box.h / 2 + size / 3, shown(value), size,
                anchor="middle", bold=True)  # fmt: skip


def table(box: Box, heads: Sequence[tuple[str, str]], rows: list[list[Any]]) -> str:
    """`heads`: title and Kibana's type of each column. What doesn't fit is counted."""
    step, out = 17.0, []
    fit = int((box.h - step) / step)
    cells = [[shown(v, kind) for v, (_, kind) in zip(r, heads, strict=True)] for r in rows[:fit]]
    widths = [
        min(_LETTERS, max(len(title), *(len(r[n]) for r in cells), 3))
        for n, (title, _) in enumerate(heads)
    ]
    unit, x = box.w / (sum(widths) + len(widths)), box.x
    for n, (title, _) in enumerate(heads):
        room = widths[n] * unit
        out.append(text(x, box.y + 12, title, 10, colour=_FAINT, bold=True, room=room))
        for at, row in enumerate(cells):
            out.append(text(x, box.y + 12 + (at + 1) * step, row[n], 10.5, room=room))
        x += room + unit
    out.append(_line(box.x, box.y + 17, box.x + box.w, box.y + 17))
    if len(rows) > fit:
        more = f"{len(rows) - fit} more"
        out.append(text(box.x + box.w, box.y - 8, more, 10, anchor="end", colour=_FAINT))
    return "".join(out)


def donut(box: Box, slices: list[tuple[str, float]]) -> str:
    whole = sum(value for _, value in slices) or 1
    r = min(box.h, box.w / 2) / 2 - 4
    cx, cy, turn, out = box.x + r + 4, box.y + box.h / 2, -math.pi / 2, []
    for n, (name, value) in enumerate(slices):
        colour, share = COLOURS[n % len(COLOURS)], value / whole
        end = turn + min(share, 0.9999) * 2 * math.pi
        large = int(share > 0.5)
        points = [(cx + q * math.cos(a), cy + q * math.sin(a))
                  for q, a in ((r, turn), (r, end), (r * 0.55, end), (r * 0.55, turn))]  # fmt: skip
        (ax, ay), (bx, by), (px, py), (qx, qy) = points
        out.append(
            f'<path d="M{ax:.1f} {ay:.1f}A{r:.1f} {r:.1f} 0 {large} 1 {bx:.1f} {by:.1f}'
            f"L{px:.1f} {py:.1f}A{r * 0.55:.1f} {r * 0.55:.1f} 0 {large} 0 {qx:.1f} {qy:.1f}Z"
            f'" fill="{colour}" stroke="#fff"/>'
        )
        turn = end
        x, y = cx + r + 14, box.y + 14 + n * 15
        if y < box.y + box.h:
            out.append(rectangle(Box(x, y - 8, 9, 9), colour))
            label = f"{share:.0%} {name}"
            out.append(text(x + 14, y, label, 10.5, room=box.x + box.w - x - 14))
    return "".join(out)


def heatmap(box: Box, cells: list[tuple[float, str, float]], since: float, until: float,
            step: float) -> str:  # fmt: skip
    """`cells`: time, name, value."""
    names = list(dict.fromkeys(name for _, name, _ in cells))
    inner = Box(box.x + 118, box.y, box.w - 118, box.h - 16)
    high = max((value for *_, value in cells), default=1) or 1
    scale, row = inner.w / (until - since), inner.h / max(1, len(names))
    out = [text(inner.x - 5, inner.y + (n + 0.75) * row, name, min(10, row), anchor="end", room=113)
           for n, name in enumerate(names)]  # fmt: skip
    for x, name, value in cells:
        if value:
            place = Box(inner.x + (x - since) * scale, inner.y + names.index(name) * row,
                        step * scale - 0.5, row - 0.5)  # fmt: skip
            out.append(rectangle(place, COLOURS[0], opacity=0.25 + 0.75 * value / high))
    return "".join(out) + times(inner, since, until)


def timeline(box: Box, bars: list[tuple[str, float, float]], since: float, until: float) -> str:
    """`bars`: whose, from, to."""
    names = list(dict.fromkeys(name for name, *_ in bars))
    inner = Box(box.x + 105, box.y, box.w - 105, box.h - 16)
    scale, row = inner.w / (until - since), inner.h / max(1, len(names))
    out = [text(inner.x - 5, inner.y + (n + 0.7) * row, name, min(10.5, row), anchor="end",
                room=100) for n, name in enumerate(names)]  # fmt: skip
    for name, begin, end in bars:
        place = Box(inner.x + (begin - since) * scale, inner.y + (names.index(name) + 0.15) * row,
                    max(1.5, (end - begin) * scale), row * 0.7)  # fmt: skip
        out.append(rectangle(place, COLOURS[0]))
    return "".join(out) + times(inner, since, until)


def times(inner: Box, since: float, until: float) -> str:
    """The axis below a chart over time."""
    shape = "%H:%M" if until - since > 600_000 else "%H:%M:%S"
    out = [_line(inner.x, inner.y + inner.h, inner.x + inner.w, inner.y + inner.h)]
    for n in range(5):
        moment = since + (until - since) * n / 4
        said = datetime.fromtimestamp(round(moment / 1000), UTC).strftime(shape)
        anchor = "start" if n == 0 else "end" if n == 4 else "middle"
        x = inner.x + inner.w * n / 4
        out.append(text(x, inner.y + inner.h + 12, said, 10, anchor=anchor, colour=_FAINT))
    return "".join(out)


Series = dict[str, list[tuple[Any, float | None]]]
"""By name: points from left to right."""


def legend(box: Box, names: Sequence[str]) -> str:
    out = []
    for n, name in enumerate(names):
        y = box.y + 10 + n * 14
        if y < box.y + box.h:
            out.append(rectangle(Box(box.x, y - 8, 9, 9), COLOURS[n % len(COLOURS)]))
            out.append(text(box.x + 13, y, name, 10, room=box.w - 13))
    return "".join(out)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around what is shown."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(first, last + 1)]


def scale(inner: Box, ticks: list[float]) -> str:
    """The axis left of a chart."""
    out, low, high = [], ticks[0], ticks[-1]
    for value in ticks:
        y = inner.y + inner.h * (1 - (value - low) / (high - low))
        out.append(_line(inner.x, y, inner.x + inner.w, y))
        said = f"{value / 1e6:g} M" if abs(value) >= 1e6 else f"{value:,g}"
        out.append(text(inner.x - 4, y + 3, said, 9.5, anchor="end", colour=_FAINT))
    return "".join(out)


def xy(box: Box, kind: str, series: Series, since: float, until: float, step: float) -> str:
    """`kind`: line, area, bar, bar_stacked. Times are milliseconds; other things stand in order."""
    over_time = step > 0
    room = 130 if len(series) > 1 else 0
    inner = Box(box.x + 42, box.y + 4, box.w - 42 - room, box.h - 22)
    values = [v for points in series.values() for _, v in points if v is not None]
    places = list(dict.fromkeys(x for points in series.values() for x, _ in points))
    totals: dict[Any, float] = {}
    for points in series.values():
        for x, value in points:
            totals[x] = totals.get(x, 0) + (value or 0)
    stacked = kind == "bar_stacked"
    high = max(totals.values() if stacked else values, default=1)
    low = min(values, default=0.0) if kind == "line" else 0.0
    low = min(low, 0.0) if high >= 0 else low
    ticks = _ticks(low, high if high > low else low + 1)
    low, high = ticks[0], ticks[-1]
    out = [scale(inner, ticks)]
    width = inner.w * step / (until - since) if over_time else inner.w / max(1, len(places))

    def at(x: Any) -> float:
        if over_time:
            return inner.x + inner.w * (float(x) - since) / (until - since)
        return inner.x + places.index(x) * width

    def up(value: float) -> float:
        return inner.y + inner.h * (1 - (value - low) / (high - low))

    below: dict[Any, float] = {}
    for n, points in enumerate(series.values()):
        colour = COLOURS[n % len(COLOURS)]
        there = [(x, value) for x, value in points if value is not None]
        if kind in ("line", "area"):
            path = "L".join(f"{at(x) + width / 2:.1f} {up(value):.1f}" for x, value in there)
            fill, closed = "none", ""
            if kind == "area" and there:
                fill = colour
                ends = [at(there[-1][0]), at(there[0][0])]
                closed = "".join(f"L{x + width / 2:.1f} {up(low):.1f}" for x in ends)
            opacity = ' fill-opacity="0.3"' if kind == "area" else ""
            out.append(f'<path d="M{path}{closed}" fill="{fill}"{opacity} stroke="{colour}"'
                       ' stroke-width="1.5"/>' if path else "")  # fmt: skip
            continue
        for x, value in there:
            base = below.get(x, 0.0) if stacked else 0.0
            below[x] = base + value
            if value:
                thin = min(width * 0.85, 40)
                top, bottom = up(base + value), up(base)
                place = Box(at(x) + (width - thin) / 2, top, thin, bottom - top)
                out.append(rectangle(place, colour))
    if over_time:
        out.append(times(inner, since, until))
    else:
        out += [text(at(x) + width / 2, inner.y + inner.h + 12, shown(x), 10, anchor="middle",
                     colour=_FAINT) for x in places]  # fmt: skip
    if room:
        out.append(legend(Box(box.x + box.w - room + 10, box.y, room - 10, box.h), [*series]))
    return "".join(out)
