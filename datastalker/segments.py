"""Segments: what stands between two cuts, who runs it, and which topics it reads and writes.

The first segment runs in capture agents, every middle one in workers, and each sink of the last in
a process of its own. A file without a cut is one segment, for one process.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from datastalker import dead_letter
from datastalker.options import Report
from datastalker.stage import Sink, Stage
from datastalker.topics import FRAME, SENSOR, TopicPlan, plan_topic

if TYPE_CHECKING:
    from datastalker.config import Config, Step

_TOPIC_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")


@dataclass
class Segment:
    """Steps between two cuts. `source` and `target` are the cuts' topics, by message type."""

    number: int
    name: str
    steps: list[Step] = field(default_factory=list)
    source: dict[str, TopicPlan] = field(default_factory=dict)
    target: dict[str, TopicPlan] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """capture, worker or sinks; all: there is no cut.

        Where a topic is the first entry: elsewhere, what stands above it is of another file; run,
        there are stages below the only topic, so one process reads it and runs all.
        """
        if not self.source:
            return ("capture" if self.steps else "elsewhere") if self.target else "all"
        if self.target:
            return "worker"
        stages = any(step.cls is not None and issubclass(step.cls, Stage) for step in self.steps)
        return "run" if stages else "sinks"

    @property
    def frames_in(self) -> TopicPlan | None:
        return self.source.get(FRAME)


def segments(config: Config) -> list[Segment]:
    """The pipeline of a checked configuration, cut at its topics."""
    found = [Segment(0, config.settings["name"])]
    for step in config.steps:
        if step.topics is None:
            found[-1].steps.append(step)
            continue
        plans = _plans(config, step.topics)
        if len(found) == 1 and found[0].steps:
            plans = {kind: _by_the_brokers_clock(plan) for kind, plan in plans.items()}
        found[-1].target = plans
        number = len(found)
        found.append(Segment(number, f"{config.settings['name']}-{number}", source=plans))
    return found


def sensors_topic(config: Config) -> TopicPlan:
    """Where agents publish their own status. The broker's time on it tells how wrong a clock is.

    A cut may name it, and what stands below then gets their status: `sensor: NAME.sensors`.
    """
    return _by_the_brokers_clock(_plan(config, _sensors(config), (SENSOR,)))


def _by_the_brokers_clock(plan: TopicPlan) -> TopicPlan:
    """A topic that agents write to, whose clocks may be wrong: by the sender's time Kafka refuses what
    is more than an hour ahead, and a message of 1970 is older than any retention."""
    return replace(plan, settings={"message.timestamp.type": "LogAppendTime"})


def _sensors(config: Config) -> str:
    return f"{config.settings['name']}.sensors"


def dead_letters_topic(config: Config) -> TopicPlan:
    """Where messages go that nobody can handle, with their bytes and the reason."""
    plan = _plan(config, f"{config.settings['name']}.dead-letters", ("dead_letter",))
    return replace(plan, settings={"max.message.bytes": str(dead_letter.MOST_BYTES)})


def changelog_topic(config: Config, segment: Segment) -> TopicPlan:
    """Where Faust keeps the state of a worker's stages: its own name for the table `state`.

    It has as many partitions as what the worker reads: Faust refuses any other number.
    """
    plan = _plan(config, f"{segment.name}-state-changelog", ("state",))
    partitions = max(source.partitions for source in segment.source.values())
    # Only a segment that is full is compacted, and a worker that starts reads what is there
    settings = {"segment.bytes": str(32 << 20)}
    return replace(plan, partitions=partitions, compact=True, retention_ms=-1, settings=settings)


def segment_topics(config: Config, segment: Segment) -> list[TopicPlan]:
    """The topics without which a segment can't start, each once."""
    plans = [*segment.source.values(), *segment.target.values()]
    if segment.role == "capture":
        plans.append(sensors_topic(config))
    if segment.role in ("worker", "sinks"):
        plans.append(dead_letters_topic(config))
    if segment.role == "worker":
        plans.append(changelog_topic(config, segment))
    return list({plan.name: plan for plan in plans}.values())


def topic_plans(config: Config) -> list[TopicPlan]:
    """Every topic that the configuration needs, each once, in the order of the pipeline."""
    plans: dict[str, TopicPlan] = {}
    cut = segments(config)
    for segment in cut:
        for plan in segment.target.values():
            plans.setdefault(plan.name, plan)
    for segment in cut:
        if segment.source or segment.target:
            for plan in segment_topics(config, segment):
                plans.setdefault(plan.name, plan)
    return list(plans.values())


def _plans(config: Config, topics: Mapping[str, str]) -> dict[str, TopicPlan]:
    by_name: dict[str, list[str]] = {}
    for kind, name in topics.items():
        by_name.setdefault(name, []).append(kind)
    plans = {name: _plan(config, name, tuple(kinds)) for name, kinds in by_name.items()}
    if _sensors(config) in plans:
        plans[_sensors(config)] = sensors_topic(config)
    return {kind: plans[name] for kind, name in topics.items()}


def _plan(config: Config, name: str, kinds: tuple[str, ...]) -> TopicPlan:
    return plan_topic(name, kinds, config.kafka, config.topic(name))


def check(config: Config, report: Report) -> None:
    """What would be wrong in production: reported with its place and the remedy."""
    cuts = [step for step in config.steps if step.topics is not None]
    if not cuts:
        return
    for step in cuts:
        _check_cut(step, report)
    _check_names(config, cuts, report)
    for segment in segments(config):
        emitted: dict[str, str] = {}
        for step in segment.steps:
            if step.cls is not None and issubclass(step.cls, Stage):
                emitted.update(dict.fromkeys(step.cls.emits, step.label))
        _check_types(segment, emitted, cuts, report)
        _check_status(config, segment, emitted, cuts, report)
        if segment.role == "worker":
            _check_worker(segment, report)
        if segment.role == "capture":
            _check_no_sinks(segment, report)
        if segment.role == "run" and (segment.number > 1 or cuts[0] is not config.steps[0]):
            _check_sinks(segment, emitted, report)


def _check_cut(step: Step, report: Report) -> None:
    assert step.topics is not None
    for kind, name in step.topics.items():
        if len({k for k, n in step.topics.items() if n == name}) > 1 and kind == FRAME:
            report(
                step.path, f"topic '{name}' can't carry frames and other types: give each its own"
            )
        if not _TOPIC_NAME.fullmatch(name):
            report(
                step.path, f"'{name}' can't be a topic's name: letters, digits, '.', '_' and '-'"
            )


def _check_names(config: Config, cuts: list[Step], report: Report) -> None:
    name = config.settings["name"]
    if not _TOPIC_NAME.fullmatch(name):
        report(
            ("name",),
            f"'{name}' can't begin the names of topics ('{name}.dead-letters') and consumer groups: "
            "letters, digits, '.', '_' and '-'",
        )
    carried: dict[str, Step] = {}
    for step in cuts:
        for kind, topic in (step.topics or {}).items():
            if carried.setdefault(topic, step) is not step:
                report(
                    step.path,
                    f"topic '{topic}' stands higher up already: messages would go round for ever; "
                    "give this cut one of its own",
                )
            if kind == FRAME and config.topic(topic)["compact"]:
                report(
                    ("topics", topic, "compact"),
                    f"topic '{topic}' carries frames, and a compacted topic would keep only the last "
                    "of each key; remove 'compact', or set retention_hours",
                )


def _check_types(
    segment: Segment, emitted: dict[str, str], cuts: list[Step], report: Report
) -> None:
    lost = {kind: label for kind, label in emitted.items() if kind not in segment.target}
    if not segment.target or not lost:
        return
    topics = {kind: plan.name for kind, plan in segment.target.items()}
    for kind in lost:
        # A type that nobody makes, and spelt nearly so
        odd = [k for k in topics if k not in emitted and k not in segment.source and k != FRAME]
        for typo in difflib.get_close_matches(kind, odd, 1, 0.7):
            topics[kind] = topics.pop(typo)
        topics.setdefault(kind, "NAME")
    makes = " and ".join(
        f"'{label}' makes messages of type '{kind}'" for kind, label in lost.items()
    )
    text = f"{makes}, and no topic here carries them; write topic: {_mapping(topics)}"
    report(cuts[segment.number].path, text)


def _check_status(
    config: Config, segment: Segment, emitted: dict[str, str], cuts: list[Step], report: Report
) -> None:
    """Status comes from agents, and they know one topic."""
    plan, topic = segment.target.get(SENSOR), _sensors(config)
    if plan is None or plan.name == topic or SENSOR in emitted or SENSOR in segment.source:
        return
    report(
        cuts[segment.number].path,
        f"nobody writes messages of type 'sensor' to '{plan.name}': agents write their status to "
        f"'{topic}'; write {{{SENSOR}: {topic}}}",
    )


def _check_worker(segment: Segment, report: Report) -> None:
    frames = segment.frames_in
    astray: dict[str, list[Step]] = {}
    for step in segment.steps:
        if step.cls is None:
            continue
        if issubclass(step.cls, Sink):
            report(
                step.path,
                f"'{step.label}' is a sink: it stands below the last topic, where it is a process "
                "of its own; move it to the end",
            )
        keys = step.cls.state_key(step.options) if step.options is not None else []
        if frames is not None and keys and frames.key not in keys:
            astray.setdefault(keys[0], []).append(step)
    for key, steps in astray.items():
        assert frames is not None
        keeps = "keeps its state" if len(steps) == 1 else "keep their state"
        report(
            steps[0].path,
            f"{_labels(steps)} {keeps} by '{key}', but topic '{frames.name}' above is partitioned by "
            f"'{frames.key}', so no worker sees all of one '{key}'; put a topic before "
            f"{'it' if len(steps) == 1 else 'the first'}, keyed so: - topic: NAME, and topics: "
            f"{{NAME: {{key: {key}}}}}",
        )


def _check_no_sinks(segment: Segment, report: Report) -> None:
    for step in segment.steps:
        if step.cls is not None and issubclass(step.cls, Sink):
            report(
                step.path,
                f"'{step.label}' is a sink and stands above a topic: nobody would run it; move it "
                "below the last topic",
            )


def _check_sinks(segment: Segment, emitted: dict[str, str], report: Report) -> None:
    """Of all the stages there: one topic is what they lack."""
    stages = [step for step in segment.steps if step.cls and issubclass(step.cls, Stage)]
    if not stages:
        return
    name = (segment.frames_in or next(iter(segment.source.values()))).name
    topics = {kind: f"{plan.name}.out" for kind, plan in segment.source.items()}
    topics |= {kind: f"{name}.{kind}" for kind in emitted if kind not in topics}
    one = len(stages) == 1
    report(
        stages[0].path,
        f"{_labels(stages)} {'stands' if one else 'stand'} below the last topic, where only sinks "
        f"run; put a topic below '{stages[-1].label}', in place of that one or beside it, such as "
        f"- topic: {_mapping(topics)}",
    )


def _labels(steps: list[Step]) -> str:
    *others, last = [f"'{step.label}'" for step in steps]
    return f"{', '.join(others)} and {last}" if others else last


def _mapping(topics: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{kind}: {name}' for kind, name in topics.items())}}}"
