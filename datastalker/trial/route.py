"""Which part of a pipeline a test runs, cut into who runs it; sinks become recorders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from datastalker.cases import Case
from datastalker.message import Message
from datastalker.segments import Segment, segments
from datastalker.settings import Config, Step
from datastalker.stage import Sink, SourceStage, Stage
from datastalker.stats import Stats
from datastalker.topics import FRAME, TopicPlan

END_LABEL = "(end)"
"""Of the recorder behind the last stage, where there is no topic."""
UP_LABEL = "(source)"
"""Of the one before the first."""


class Recorder(Stage):
    """Stands for a sink, or for `print`: keeps what it was given, and passes it on."""

    name = "recorder"

    def __init__(self, stats: Stats, label: str) -> None:
        self.label = label
        self.kept: list[Message] = []

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        self.kept += [message.copy() for message in messages]
        return messages

    def restored(self) -> None:
        """What came before is done again, or is stored."""
        self.kept.clear()


class Above(Recorder):
    """Stands for the source: keeps what stages send up to it."""

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        return messages

    def on_upstream(self, message: Message) -> None:
        self.kept.append(message.copy())


class Every(dict[str, TopicPlan]):
    """A cut that carries any type: where a test puts messages in."""

    def __init__(self, name: str, partitions: int = 1, key: str = "ta") -> None:
        self._name, self._partitions = name, partitions
        super().__init__({FRAME: TopicPlan(name, (FRAME,), partitions, 1, key, False, -1)})

    def __contains__(self, kind: object) -> bool:
        return True

    def __missing__(self, kind: str) -> TopicPlan:
        plan = TopicPlan(f"{self._name}.{kind}", (kind,), self._partitions, 1, "", False, -1)
        self[kind] = plan
        return plan

    @classmethod
    def like(cls, source: dict[str, TopicPlan]) -> Every:
        """With the partitions and keys of the topics that a segment reads."""
        frames = source.get(FRAME)
        most = max(plan.partitions for plan in source.values())
        every = cls("given", most, frames.key if frames else "ta")
        for kind, plan in source.items():
            every[kind] = replace(plan, name=f"given.{kind}")
        return every


@dataclass
class Route:
    """`agent`: what runs before anything is published; `workers`: segments, the first reads what
    the agent publishes to; `sinks`: read what comes out at the end."""

    agent: Segment
    workers: list[Segment] = field(default_factory=list)
    sinks: list[Step] = field(default_factory=list)

    def stages(self) -> list[Step]:
        """Those of the pipeline, in its order."""
        steps = [step for segment in (self.agent, *self.workers) for step in segment.steps]
        return [
            step for step in steps if step.cls is not None and not issubclass(step.cls, Recorder)
        ]


def route(config: Config, case: Case) -> Route:
    """What of the pipeline a test runs."""
    cut = segments(config)
    if len(cut) == 1 or case.stages is not None:
        steps = [step for segment in cut for step in segment.steps if not _is_source(step)]
        if case.stages is not None:
            steps = [step for step in steps if step.label in case.stages]
        if case.from_ is not None:
            steps = _behind(steps, case.from_)
        given, name = Every("given"), config.settings["name"]
        end = Step("recorder", END_LABEL, Recorder, {"label": END_LABEL}, None, ())
        worker = Segment(1, name, [_above(), *_quiet(steps), end], given)
        return Route(Segment(0, name, [], target=given), [worker])
    first, last = cut[0], cut[-1]
    agent = Segment(0, first.name, _quiet(s for s in first.steps if not _is_source(s)))
    agent.target = first.target
    workers = [replace(segment, steps=_quiet(segment.steps)) for segment in cut[1:-1]]
    if case.from_ is not None:
        _begin(case.from_, agent, workers, last)
    agent.steps = [_above(), *agent.steps]
    return Route(agent, workers, last.steps)


def _begin(place: str, agent: Segment, workers: list[Segment], last: Segment) -> None:
    """Leave out what stands above `place`, a stage's label or a topic."""
    if any(step.label == place for step in agent.steps):
        agent.steps = _behind(agent.steps, place)
        return
    agent.steps = []
    for index, segment in enumerate(workers):
        if any(step.label == place for step in segment.steps):
            given = Every.like(segment.source)
            workers[: index + 1] = [
                replace(segment, steps=_behind(segment.steps, place), source=given)
            ]
            agent.target = given
            return
        if any(plan.name == place for plan in segment.source.values()):
            del workers[:index]
            agent.target = segment.source
            return
    workers.clear()
    agent.target = last.source


def _behind(steps: list[Step], label: str) -> list[Step]:
    at = next(index for index, step in enumerate(steps) if step.label == label)
    return steps[at:]


def _above() -> Step:
    return Step("recorder", UP_LABEL, Above, {"label": UP_LABEL}, None, ())


def _is_source(step: Step) -> bool:
    return step.cls is not None and issubclass(step.cls, SourceStage)


def _quiet(steps: Iterable[Step]) -> list[Step]:
    """With recorders where something would be written, sent or shown."""
    out = []
    for step in steps:
        if step.name == "print" or (step.cls is not None and issubclass(step.cls, Sink)):
            options: dict[str, Any] = {"label": step.label}
            step = replace(step, cls=Recorder, options=options)
        out.append(step)
    return out
