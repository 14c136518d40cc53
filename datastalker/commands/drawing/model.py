"""What a drawing of a pipeline shows: who runs which stages, and the topics between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from datastalker.config import Config
from datastalker.options import Option, options_of
from datastalker.segments import (
    Segment,
    changelog_topic,
    dead_letters_topic,
    segments,
    sensors_topic,
)
from datastalker.settings import Step
from datastalker.stage import Sink, SourceStage
from datastalker.topics import TopicPlan

_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_SECRET = re.compile(
    r"pass(word|phrase)?$|secret|token|api[_-]?key|credential|^authori[sz]ation$", re.I
)
"""Names of options that plug-ins may have forgotten to declare as secret, and of what stands in
mappings of theirs, such as headers."""
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Node:
    """A source, stage or sink. `options`: those that are written; `when`: its condition."""

    label: str
    kind: str
    options: tuple[str, ...] = ()
    when: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, and in words what it carries, how it is split and how long it is kept."""

    name: str
    carries: str
    split: str
    kept: str


@dataclass(slots=True)
class Box:
    """What one kind of process runs. `reads`, `writes`: the topics of the cuts around it; `beside`:
    what else it writes, as (what, topic)."""

    title: str
    command: str
    role: str
    nodes: list[Node] = field(default_factory=list)
    reads: list[Topic] = field(default_factory=list)
    writes: list[Topic] = field(default_factory=list)
    beside: list[tuple[str, Topic]] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """A pipeline. Boxes that share what they read stand side by side: sinks."""

    name: str
    boxes: list[Box]

    def rows(self) -> Iterator[list[Box]]:
        """Boxes from top to bottom, sinks in one row."""
        above = [box for box in self.boxes if box.role != "sink"]
        yield from ([box] for box in above)
        sinks = [box for box in self.boxes if box.role == "sink"]
        if sinks:
            yield sinks


def graph(config: Config) -> Graph:
    """The drawing of a checked configuration."""
    found = segments(config)
    name = str(config.settings["name"])
    if len(found) == 1:
        return Graph(name, [Box("one process", "stalk run", "all", _nodes(found[0].steps))])
    return Graph(name, [box for segment in found for box in _boxes(config, segment)])


def _boxes(config: Config, segment: Segment) -> Iterator[Box]:
    reads, writes = _topics(segment.source), _topics(segment.target)
    letters = ("dead letters", _topic(dead_letters_topic(config)))
    if segment.role == "elsewhere":
        yield Box("", "", "topic", [], [], writes)
    elif segment.role == "run":
        yield Box("one process", "stalk run", "all", _nodes(segment.steps), reads)
    elif segment.role == "capture":
        beside = [("status", _topic(sensors_topic(config)))]
        beside = [each for each in beside if each[1] not in writes]
        nodes = _nodes(segment.steps)
        yield Box("capture agent", "stalk capture", "agent", nodes, [], writes, beside)
    elif segment.role == "worker":
        state = ("state", _topic(changelog_topic(config, segment)))
        command = "faust -A processors worker"
        title, nodes = f"workers {segment.name}", _nodes(segment.steps)
        yield Box(title, command, "worker", nodes, reads, writes, [state, letters])
    else:
        for step in segment.steps:
            nodes = _nodes([step])
            yield Box("sink", f"stalk sink {step.label}", "sink", nodes, reads, [], [letters])


def _nodes(steps: Iterable[Step]) -> list[Node]:
    return [_node(step) for step in steps if step.topics is None]


def _node(step: Step) -> Node:
    assert step.cls is not None
    source, sink = issubclass(step.cls, SourceStage), issubclass(step.cls, Sink)
    kind = "source" if source else "sink" if sink else "stage"
    when = f"when {_conditions(step.condition)}" if step.condition is not None else ""
    declared = options_of(step.cls)
    if declared is None:  # it reads them itself: which of them are secret, nobody knows
        options = tuple(f"{key}: …" for key in step.options)
    else:
        values = {name: step.options[name] for name in step.given if name in step.options}
        options = tuple(_given(declared, values))
    return Node(step.label, kind, options, when)


def _given(declared: Mapping[str, Option], options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        opt = declared.get(name)
        if opt is None:
            continue
        if opt.secret:
            shown = "(secret)"
        elif opt.nested is not None and isinstance(value, Mapping):
            within = options_of(opt.nested) or {}
            inner = _given(within, {k: v for k, v in value.items() if v != within[k].default})
            shown = "{" + ", ".join(inner) + "}"
        else:
            shown = _named(name, value)
        yield f"{name}: {shown}"


def _conditions(condition: Any) -> str:
    if not isinstance(condition, Mapping):
        return _shown(condition)
    return ", ".join(f"{field}: {_shown(wanted)}" for field, wanted in condition.items())


def _named(name: Any, value: Any) -> str:
    """What is named like a secret is one: text, digits, or several of them."""
    is_one = value is not None and not isinstance(value, bool) and _SECRET.search(str(name))
    return "(secret)" if is_one else _shown(value)


def _shown(value: Any) -> str:
    """A value as YAML would have it; of a URL not who logs in."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_named(key, item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return _CREDENTIALS.sub("//…@", str(value))


def _topics(plans: Mapping[str, TopicPlan]) -> list[Topic]:
    return list({plan.name: _topic(plan) for plan in plans.values()}.values())


def _topic(plan: TopicPlan) -> Topic:
    parts = f"{plan.partitions} partition{'s' if plan.partitions != 1 else ''}"
    split = f"{parts} by {plan.key}" if plan.frames and plan.partitions > 1 else parts
    if plan.partitions > 1 and not plan.frames and plan.types != ("state",):
        split = f"{parts} by key"
    kept = "compacted" if plan.compact else f"kept {_period(plan.retention_ms)}"
    return Topic(plan.name, ", ".join(plan.types), split, kept)


def _period(milliseconds: int) -> str:
    days = milliseconds / _DAY
    if days >= 2:
        return f"{days:g} days"
    return f"{milliseconds / 3_600_000:g} h"
