"""From a checked configuration to what runs: a pipeline, one segment of it, or one sink alone."""

from __future__ import annotations

import difflib
import traceback
from pathlib import Path as FilePath
from typing import Any

from datastalker.errors import ConfigError, InputError, Problem
from datastalker.message import Field, Message
from datastalker.pipeline import Entry, Pipeline
from datastalker.segments import Segment
from datastalker.settings import CUT, Config, Step
from datastalker.stage import Component, Sink, SourceStage, Stage
from datastalker.state import State
from datastalker.stats import Stats
from datastalker.text import a_or_an


def build(config: Config) -> Pipeline:
    """The whole list in one process: a cut hands messages over in memory.

    Raises ConfigError if the configuration has mistakes.
    """
    return _pipeline(config, config.steps)


def build_segment(config: Config, segment: Segment) -> Pipeline:
    """What stands between two cuts, for the process that runs it; a source only in the first.

    Raises ConfigError if the configuration has mistakes.
    """
    return _pipeline(config, segment.steps)


def _pipeline(config: Config, steps: list[Step]) -> Pipeline:
    if config.errors:
        raise ConfigError(config.errors)
    stats = Stats()
    source: SourceStage | None = None
    entries: list[Entry] = []
    added: list[Field] = []
    for step in steps:
        if step.topics is not None and step is config.steps[0]:
            from datastalker.topic_source import TopicSource  # loads what Kafka needs

            source = TopicSource(stats, config=config, step=step)
            continue
        if step.topics is not None:
            entries.append(Entry(_bind(_Cut(stats, topics=step.topics), step, config, stats)))
            continue
        component = make(step, config, stats)
        _bind(component, step, config, stats)
        if isinstance(component, SourceStage):
            source = component
        else:
            assert isinstance(component, (Stage, Sink))
            if isinstance(component, Sink):
                component.added = tuple(added)
            added += component.adds()
            entries.append(Entry(component, step.label, step.when))
    return Pipeline(entries, source, stats)


def build_sink(config: Config, step: Step, stats: Stats) -> Sink:
    """One sink alone, for a process of its own. Raises ConfigError."""
    added: list[Field] = []
    for before in config.steps[: config.steps.index(step)]:
        if before.cls is not None and not issubclass(before.cls, SourceStage):
            added += make(before, config, stats).adds()
    sink = _bind(make(step, config, stats), step, config, stats)
    assert isinstance(sink, Sink)
    sink.added = tuple(added)
    return sink


def make(step: Step, config: Config, stats: Stats) -> Component:
    """The component of a step; what its constructor raises is a mistake at the step's place."""
    assert step.cls is not None
    try:
        component: Component = step.cls.from_config(dict(step.options), stats)
        text = _lacks(component)
        if text is None:
            return component
    except ConfigError:
        raise
    except (ValueError, InputError) as error:
        text = str(error)
    except Exception as error:  # a mistake in the code of a plug-in: say where
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{FilePath(at.filename).name}, line {at.lineno}"
        text = f"can't be built: {type(error).__name__}: {error} ({where})"
    raise ConfigError([Problem(config.file, *step.position, f"{step.label}: {text}")])


def _lacks(component: object) -> str | None:
    """Why it is none that can run: of what its base only declares, it must have one."""
    kinds = {Stage: ("handle", "handle_bulk"), SourceStage: ("run",), Sink: ("write", "partition")}
    for base, names in kinds.items():
        if isinstance(component, base):
            own = type(component)
            if any(getattr(own, n) is not getattr(base, n) or n in vars(component) for n in names):
                return None
            mistyped = (difflib.get_close_matches(name, vars(own), 1, 0.6) for name in names)
            close = [f"; is '{found[0]}' meant?" for found in mistyped if found]
            return f"{own.__name__} has no '{names[0]}'{''.join(close[:1])}"
    return f"from_config gave {a_or_an(type(component).__name__)}, not a stage"


class _Cut(Stage):
    """A topic in an embedded run: hands on in memory what the topic would have carried."""

    name = CUT
    topics: dict[str, str]

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        return [message for message in messages if message.type in self.topics]

    def on_upstream(self, message: Message) -> None:
        """As over Kafka, nothing goes up through a topic."""
        self.stats.incr("topic/stopped_going_up")


def _bind(component: Any, step: Step, config: Config, stats: Stats) -> Any:
    component.stats = stats
    component.state = State(config.settings["state_max_entries"])
    labels = labels_of(config)
    for name, value in (("sensor_name", config.sensor), ("labels", labels)):
        if name not in step.options:
            setattr(component, name, value)
    return component


def labels_of(config: Config) -> dict[str, str]:
    """The labels of this sensor, as its frames carry them."""
    return {key: _label(value) for key, value in config.settings["labels"].items()}


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
