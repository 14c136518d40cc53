"""A pipeline on a terminal: boxes from top to bottom, topics between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from datastalker.commands.drawing.model import Box, Graph, Node, Topic
from datastalker.commands.tables import columns, cut
from datastalker.text import one_line

_ASCII = str.maketrans("┌┐└┘─│├┬▼…·", "++++-|++v.-")
_NARROWEST = 40


def draw(graph: Graph, width: int = 80, encoding: str = "utf-8") -> str:
    """Lines of at most `width` columns (40 at least); without box drawing where `encoding` has none."""
    width = max(_NARROWEST, width)
    lines: list[str] = []
    for row in graph.rows():
        for topic in row[0].reads:
            lines.append(_topic(topic, width))
        if len(row) > 1:
            lines += _beside(row, width)
        elif row[0].role != "topic":
            lines += _box(row[0], width)
    if all(box.role == "topic" for box in graph.boxes):
        lines += [_topic(topic, width) for box in graph.boxes for topic in box.writes]
    text = "\n".join(lines)
    try:
        text.encode(encoding)
        return text
    except (UnicodeEncodeError, LookupError):
        plain = text.translate(_ASCII)
        return plain.encode("ascii", "backslashreplace").decode("ascii")


def _beside(row: list[Box], width: int) -> Iterator[str]:
    """Boxes that read the same, one below the other, with a rail at their left."""
    for box in row:
        last = box is row[-1]
        for number, line in enumerate(_box(box, width - 3)):
            rail = "├─" if not last else "└─"
            if number:
                rail = "│ " if not last else "  "
            yield f" {rail}{line}"


def _box(box: Box, width: int) -> Iterator[str]:
    head = f" {one_line(box.title)}: {one_line(box.command)} "
    head = cut(head, width - 4)
    yield f"┌─{head}{'─' * (width - 3 - columns(head))}┐"
    name = min(24, max((columns(one_line(node.label)) for node in box.nodes), default=0))
    for node in box.nodes:
        for line in _node(node, name, width - 4):
            yield f"│ {line}{' ' * (width - 4 - columns(line))} │"
    for what, topic in box.beside:
        line = cut(f"· {what} in {one_line(topic.name)}, {topic.split}, {topic.kept}", width - 4)
        yield f"│ {line}{' ' * (width - 4 - columns(line))} │"
    yield f"└{'┬' if box.writes else '─'}{'─' * (width - 3)}┘"


def _node(node: Node, name: int, width: int) -> Iterator[str]:
    """The name, and beside it what is configured, over as many lines as it needs."""
    label = cut(one_line(node.label), name)
    label += " " * (name - columns(label))
    room = width - name - 2
    parts = [one_line(option) for option in node.options]
    said = list(_filled(parts, room))
    if node.when:
        said += _filled([one_line(node.when)], room)
    for number, line in enumerate(said or [""]):
        yield f"{label if not number else ' ' * name}  {line}".rstrip()


def _filled(parts: Iterable[str], room: int) -> Iterator[str]:
    """Parts with commas between, broken where a part ends; one that is too long is cut."""
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if line and columns(longer) > room:
            yield line + ","
            line = part
        else:
            line = longer
        if columns(line) > room - 1:
            line = cut(line, room - 1)
    if line:
        yield line


def _topic(topic: Topic, width: int) -> str:
    said = f" ▼ {one_line(topic.name)}  {topic.carries}, {topic.split}, {topic.kept}"
    return cut(said, width)
