"""What runs and is probably not meant: settings of what isn't there, one folder for two sinks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from datastalker import catalog
from datastalker.annotation import Path
from datastalker.condition import misspelt, misspelt_types
from datastalker.message import FIELDS, FRAME_FIELDS
from datastalker.options import suggest
from datastalker.segments import dead_letters_topic, segments, sensors_topic, topic_plans
from datastalker.settings import CUT, Config, Step
from datastalker.topics import FRAME

Doubt = tuple[Path, str]


def look(config: Config, added: Callable[[int], set[str]]) -> Iterator[Doubt]:
    """Where something stands, and what is odd about it. `added`: the keys that stages above the
    step of a number set."""
    yield from _types(config)
    yield from _topics(config)
    yield from _keys(config, added)
    yield from _workers(config)
    yield from _folders(config)


def _types(config: Config) -> Iterator[Doubt]:
    known = {*FIELDS, "message"}
    for step in config.steps:
        known.update(getattr(step.cls, "emits", ()))
    for step in config.steps:
        for kind in step.topics or {}:
            for said in misspelt_types(kind, known):
                yield (*step.path, CUT, kind), said


def _topics(config: Config) -> Iterator[Doubt]:
    names = [plan.name for plan in topic_plans(config)]
    for step in config.steps[:1]:
        names += (step.topics or {}).values()
    always = (sensors_topic(config).name, dead_letters_topic(config).name)
    for name in config.settings["topics"]:
        if name not in names and name not in always:
            yield ("topics", name), f"the pipeline has no topic '{name}'{suggest(name, names)}"


def _keys(config: Config, added: Callable[[int], set[str]]) -> Iterator[Doubt]:
    """A frame without the key goes to the first partition: they all would."""
    foreign = any(_by_plug_in(step) for step in config.steps) or config.steps[0].topics is not None
    for index, step in enumerate(config.steps):
        name = (step.topics or {}).get(FRAME)
        if name is None or "key" not in config.settings["topics"].get(name, {}):
            continue
        key, known = config.topic(name)["key"], {"type", *FRAME_FIELDS, *added(index)}
        close = misspelt(key, sorted(known), 0.7)
        if key not in known and (close or not foreign):
            text = (
                f"all frames would go to one partition: no field of them is called '{key}'{close}"
            )
            yield ("topics", name, "key"), text


def _by_plug_in(step: Step) -> bool:
    return step.topics is None and step.name not in catalog.BUILTIN


def _workers(config: Config) -> Iterator[Doubt]:
    names = [segment.name for segment in segments(config) if segment.role == "worker"]
    for index, name in enumerate(config.workers["segments"]):
        if name not in names:
            said = f"no worker runs a segment '{name}'{suggest(name, names)}"
            yield ("workers", "segments", index), said


def _folders(config: Config) -> Iterator[Doubt]:
    sinks = [step for step in config.steps if step.name == "csv"]
    for index, step in enumerate(sinks):
        for other in sinks[:index]:
            types, others = _types_of(step.condition), _types_of(other.condition)
            if _folder(step) != _folder(other) or (types and others and not types & others):
                continue
            text = f"writes the same files as '{other.label}' of line {other.position[0]}"
            at = (*step.path, step.name, "directory")
            yield at, f"{step.label}: {text}; give each a directory of its own"
            break


def _folder(step: Step) -> str:
    return os.path.realpath(os.path.expanduser(str(step.options["directory"])))


def _types_of(condition: Any) -> set[str]:
    """The types of messages that a condition lets through; empty: any."""
    types = condition.get("type") if isinstance(condition, Mapping) else None
    return {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
