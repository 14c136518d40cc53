"""A pipeline as a Mermaid flowchart, which GitHub and many others draw."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datastalker.commands.drawing.model import Box, Graph, Node, Topic
from datastalker.text import one_line

_UNSAFE = re.compile(r"[^A-Za-z0-9 .,:_/()+=\-]")
_LONGEST = 200
_CLASSES = """\
  classDef source fill:#e3f0ff,stroke:#3b79b8,color:#123
  classDef stage fill:#f4f4f6,stroke:#888899,color:#123
  classDef sink fill:#e6f6e6,stroke:#3d9143,color:#123
  classDef topic fill:#fff4de,stroke:#b8860b,color:#123
  classDef beside fill:#fffaf0,stroke:#b8860b,color:#123,stroke-dasharray:4 4"""


def draw(graph: Graph) -> str:
    """The text of the chart, without the fence around it."""
    return "\n".join(["flowchart TB", *_lines(graph), _CLASSES, ""])


def _lines(graph: Graph) -> Iterator[str]:
    topics: dict[str, str] = {}  # a node's id, by the topic's name
    number = 0
    for index, box in enumerate(graph.boxes):
        ids = [f"n{number + n}" for n in range(len(box.nodes))]
        number += len(ids)
        if box.nodes:
            yield f'  subgraph s{index}["{_text(f"{box.title}: {box.command}")}"]'
            for name, node in zip(ids, box.nodes, strict=True):
                yield f'    {name}["{_node(node)}"]:::{node.kind}'
            if len(ids) > 1:
                yield "    " + " --> ".join(ids)
            yield "  end"
        for topic in [*box.reads, *box.writes, *(t for _, t in box.beside)]:
            if topic.name not in topics:
                topics[topic.name] = f"t{len(topics)}"
                beside = topic not in [*box.reads, *box.writes]
                kind = "beside" if beside else "topic"
                yield f'  {topics[topic.name]}[("{_topic(topic)}")]:::{kind}'
        if ids:
            yield from _edges(box, index, ids, topics)


def _edges(box: Box, index: int, ids: list[str], topics: dict[str, str]) -> Iterator[str]:
    for topic in box.reads:
        yield f"  {topics[topic.name]} --> {ids[0]}"
    for topic in box.writes:
        yield f"  {ids[-1]} --> {topics[topic.name]}"
    for what, topic in box.beside:
        yield f'  s{index} -.->|"{_text(what)}"| {topics[topic.name]}'


def _node(node: Node) -> str:
    parts = [node.label, *node.options, *([node.when] if node.when else [])]
    return "<br/>".join(map(_text, parts))


def _topic(topic: Topic) -> str:
    return "<br/>".join(map(_text, (topic.name, topic.carries, f"{topic.split}, {topic.kept}")))


def _text(text: str) -> str:
    """Text in a label: whatever Mermaid or HTML could take for their own is written as a number."""
    shown = one_line(text)
    shown = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
    shown = shown.replace("\\n", "↵")  # it would break the line there
    return _UNSAFE.sub(lambda match: f"#{ord(match[0])};", shown)
