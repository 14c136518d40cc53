"""A pipeline as an SVG that needs nothing else, readable on light and on dark."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape

from datastalker.commands.drawing.model import Box, Graph, Node, Topic
from datastalker.commands.tables import columns, cut
from datastalker.text import one_line

_WIDTH = 960
_MARGIN = 16
_CHARACTER, _LINE = 6.7, 17
"""Width of a character and height of a line, of a monospaced font of 11 px."""
_GAP = 26  # between nodes: room for an arrow
_DOWN = 30  # between rows, likewise
_LONGEST = 34  # characters of a line in a node
_MOST_BOXES = 4  # side by side
_MOST_LINES = 6  # of an option or a condition

_STYLE = """\
  text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#334}
  .b{font-weight:bold;fill:#112}
  .box{fill:#fafafc;stroke:#b9b9c4}.source{fill:#e3f0ff;stroke:#3b79b8}
  .stage{fill:#f0f0f4;stroke:#888899}.sink{fill:#e6f6e6;stroke:#3d9143}
  .topic{fill:#fff4de;stroke:#b8860b}.beside{fill:none;stroke:#b8860b;stroke-dasharray:4 3}
  .line{fill:none;stroke:#667;stroke-width:1.5}.head{fill:#667}
  @media (prefers-color-scheme:dark){
  .page{fill:#15171c}text{fill:#c8ccd6}.b{fill:#fff}.box{fill:#1d2027;stroke:#4a4f5c}
  .source{fill:#173049;stroke:#5aa0e0}.stage{fill:#2a2d36;stroke:#8a8fa0}
  .sink{fill:#17331b;stroke:#5cb865}.topic{fill:#3a2e10;stroke:#d9a520}.beside{stroke:#d9a520}
  .line{stroke:#9aa0b0}.head{fill:#9aa0b0}}"""


def draw(graph: Graph) -> str:
    """The text of the file."""
    page = _Page()
    for row in graph.rows():
        page.row(row)
    height = page.y + _MARGIN
    title = escape(one_line(f"The pipeline {graph.name}: {_said(graph)}"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" '
        f'role="img" aria-label="{title}">'
    )
    marker = (
        '<defs><marker id="h" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" '
        'markerHeight="6" orient="auto"><path class="head" d="M0 0 10 5 0 10z"/></marker></defs>'
    )
    back = f'<rect class="page" width="{_WIDTH}" height="{height:g}" fill="#fff"/>'
    style = f"<style>\n{_STYLE}\n</style>"
    return "\n".join(
        [head, f"<title>{title}</title>", style, marker, back, *page.out, "</svg>", ""]
    )


def _said(graph: Graph) -> str:
    return ", ".join(node.label for box in graph.boxes for node in box.nodes)


class _Page:
    def __init__(self) -> None:
        self.out: list[str] = []
        self.y = float(_MARGIN)
        self._open: list[tuple[float, float]] = []  # from where arrows go down

    def row(self, boxes: list[Box]) -> None:
        """Topics that these boxes read, then the boxes side by side."""
        reads = boxes[0].reads
        if reads:
            self._topics(reads)
        boxes = [box for box in boxes if box.role != "topic"]
        if not boxes:
            return
        if len(boxes) > _MOST_BOXES:
            nodes = [node for box in boxes for node in box.nodes]
            first = boxes[0]
            command = "stalk sink NAME, a process each"
            boxes = [Box("sinks", command, "sink", nodes, first.reads, [], first.beside)]
        room = (_WIDTH - 2 * _MARGIN - _GAP * (len(boxes) - 1)) / len(boxes)
        top = self.y + (_DOWN if reads or self._open else 0)
        bottom = top
        starts, self._open = self._open, []
        for number, box in enumerate(boxes):
            left = _MARGIN + number * (room + _GAP)
            for start in starts:
                self._arrow(*start, left + room / 2 if len(boxes) > 1 else start[0], top)
            end = self._box(box, left, top, room)
            if box.writes:
                self._open.append((left + room / 2, end))
            bottom = max(bottom, end)
        self.y = bottom

    def _topics(self, topics: list[Topic]) -> None:
        room = (_WIDTH - 2 * _MARGIN - _GAP * (len(topics) - 1)) / len(topics)
        top = self.y + (_DOWN if self._open else 0)
        starts, self._open = self._open, []
        for number, topic in enumerate(topics):
            lines = [topic.name, topic.carries, f"{topic.split}, {topic.kept}"]
            wide = min(room, max(columns(one_line(line)) for line in lines) * _CHARACTER + 40)
            middle = _MARGIN + number * (room + _GAP) + room / 2
            for x, y in starts:
                self._arrow(x, y, middle, top)
            self._rect("topic", middle - wide / 2, top, wide, 3 * _LINE + 10, 22)
            self._lines(lines, middle, top + 6, int((wide - 16) / _CHARACTER), middle=True)
            self._open.append((middle, top + 3 * _LINE + 10))
        self.y = top + 3 * _LINE + 10

    def _box(self, box: Box, left: float, top: float, room: float) -> float:
        """Draws it, gives where it ends."""
        at = len(self.out)
        y = top + 26
        x, high = left + 12, 0.0
        before: tuple[float, float] | None = None
        for node in box.nodes:
            lines = list(_node_lines(node))
            widest = max(columns(line) for line in lines)
            wide = min(room - 24, max(90.0, widest * _CHARACTER + 20))
            tall = len(lines) * _LINE + 12
            if x + wide > left + room - 12 and before is not None:
                x, y, high = left + 12, y + high + _GAP, 0.0
                turn = f"M{before[0]:g} {before[1]:g}h10V{y - _GAP / 2:g}H{x + 20:g}V{y - 2:g}"
                if box.role != "sink":
                    self._line(turn)
            elif before is not None and box.role != "sink":
                self._arrow(before[0], before[1], x, before[1])
            self._rect(node.kind, x, y, wide, tall, 7)
            self._lines(lines, x + 10, y + 7, int((wide - 16) / _CHARACTER))
            before = x + wide, y + 18
            high = max(high, tall)
            x += wide + _GAP
        y += high + 12
        for what, topic in box.beside:
            text = cut(one_line(f"{what}: {topic.name}"), int((room - 40) / _CHARACTER))
            self._rect("beside", left + 12, y, columns(text) * _CHARACTER + 20, 20, 10)
            self._text(text, left + 22, y + 14)
            y += 26
        head = cut(one_line(f"{box.title}: {box.command}"), int((room - 24) / _CHARACTER))
        self.out.insert(at, _rect("box", left, top, room, y - top, 10))
        self._text(head, left + 12, top + 17, bold=True)
        return y

    def _lines(
        self, lines: list[str], x: float, top: float, most: int, *, middle: bool = False
    ) -> None:
        for number, line in enumerate(lines):
            text = cut(one_line(line), most)
            self._text(text, x, top + 11 + number * _LINE, bold=number == 0, middle=middle)

    def _text(
        self, text: str, x: float, y: float, *, bold: bool = False, middle: bool = False
    ) -> None:
        kind = ' class="b"' if bold else ""
        anchor = ' text-anchor="middle"' if middle else ""
        self.out.append(f'<text x="{x:g}" y="{y:g}"{kind}{anchor}>{escape(text)}</text>')

    def _rect(self, kind: str, x: float, y: float, wide: float, high: float, round_: int) -> None:
        self.out.append(_rect(kind, x, y, wide, high, round_))

    def _arrow(self, x: float, y: float, to_x: float, to_y: float) -> None:
        if y == to_y or x == to_x:
            path = f"M{x:g} {y:g}L{to_x - (2 if y == to_y else 0):g} {to_y - (y != to_y) * 2:g}"
        else:
            half = (y + to_y) / 2
            path = f"M{x:g} {y:g}C{x:g} {half:g} {to_x:g} {half:g} {to_x:g} {to_y - 2:g}"
        self._line(path)

    def _line(self, path: str) -> None:
        self.out.append(f'<path class="line" d="{path}" marker-end="url(#h)"/>')


def _rect(kind: str, x: float, y: float, wide: float, high: float, round_: int) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="{round_}"/>'


def _node_lines(node: Node) -> Iterator[str]:
    yield cut(one_line(node.label), _LONGEST)
    for part in (*node.options, *([node.when] if node.when else [])):
        lines = textwrap.wrap(one_line(part), _LONGEST, subsequent_indent="  ") or [""]
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES - 1 :] = [lines[_MOST_LINES - 1][: _LONGEST - 1] + "…"]
        yield from (cut(line, _LONGEST) for line in lines)
