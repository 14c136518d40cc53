"""A whole installation in memory: an agent, topics, workers, and recorders in the place of sinks.

The workers' partitions are the real ones (`processors.partition`), with their real messages and
blocks of state; only Kafka and Faust are left out. So what a stage keeps elsewhere than in its
state is lost in a crash here as there.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from datastalker import dead_letter
from datastalker.cases import Case
from datastalker.config import Config, build_segment
from datastalker.delivery import Origin, Seen
from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.pipeline import Pipeline
from datastalker.settings import Step
from datastalker.topics import FRAME
from datastalker.trial.route import END_LABEL, UP_LABEL, Recorder, route
from datastalker.wire import SingleObject, decode_batch, decode_event
from processors.outputs import Head, Output, Outputs
from processors.partition import Partition, Record

Place = tuple[str, str]
END: Place = ("end", "")
"""What comes out of the last topic, before sinks; without topics, out of the pipeline."""
UP: Place = ("up", "")
"""What stages have sent up to the source."""

_COUNTS = ("received", "sent", "dropped", "errors", "skipped")


@dataclass(slots=True)
class _Last:
    """What a partition did since an agent spoke last: how to put it back to before that.

    `records`: each with how much of it recorders got, by label; "": a dead letter.
    """

    totals: Counter[tuple[str, str]]
    counters: dict[str, Any]
    before: dict[bytes, bytes | None] = field(default_factory=dict)
    records: list[tuple[Record, Counter[str]]] = field(default_factory=list)


class Hub:
    """What a test feeds. `heard`: by place, what came; `dead`: what was lost by an exception: dead
    letters, and what an agent's stages lost."""

    def __init__(self, config: Config, case: Case) -> None:
        """Raises ConfigError where a stage can't be built."""
        self.config, self.route = config, route(config, case)
        self.framing = SingleObject()
        self.heard: dict[Place, list[Message]] = defaultdict(list)
        self.dead: list[dict[str, Any]] = []
        self.stopped: dict[int, str] = {}
        self._tables: dict[tuple[int, int], dict[bytes, bytes]] = defaultdict(dict)
        self._partitions: dict[tuple[int, int], Partition] = {}
        self._last: dict[tuple[int, int], _Last] = {}
        self._inbox: list[deque[Record]] = [deque() for _ in self.route.workers]
        self._ends: Counter[tuple[str, int]] = Counter()
        self._seen: dict[tuple[str, int], Seen] = defaultdict(Seen)
        self._sent = self._crashes = 0
        self._counters: Counter[str] = Counter()
        self._totals: Counter[tuple[str, str]] = Counter()
        self._start_agent()

    def _start_agent(self) -> None:
        self._agent = build_segment(self.config, self.route.agent)
        self._agent.on_failure = self._agent_failed
        self._publisher = Outputs(self.route.agent, self.framing)

    def feed(self, messages: list[Message], now: int) -> None:
        """An agent hears messages, publishes them, and tells every partition what time it is."""
        if 0 in self.stopped:
            return
        self._last.clear()
        out = self._agent.feed(messages) if messages else []
        out += self._agent.tick(now)
        self._collect(self._agent)
        if self._agent.stop_reason is not None:
            self.stopped[0] = self._agent.stop_reason
        head = Head(Origin("air", 0, self._sent), now, None, True)
        self._sent += 1
        for output in self._publisher.encode(out, head, now, self._unwritable):
            self._publish(0, output)
        self._work()

    def crash(self, *, in_flight: bool) -> None:
        """Kill every process. What a worker stored comes back, what an agent kept does not.

        `in_flight`: what an agent published last was processed and what came of it was sent, but
        the state behind it was not stored yet. It is done again; who reads drops what it has.
        """
        self._crashes += 1
        self._keep_counts(self._agent)
        again: list[tuple[int, _Last]] = []
        for place, partition in self._partitions.items():
            last = self._last.get(place)
            if in_flight and last is not None:
                self._totals.update(last.totals)
                self._counters.update(last.counters)
                _store(self._tables[place], last.before.items())
                again.append((place[0], last))
            else:
                self._keep_counts(partition.pipeline)
        self._partitions.clear()
        self._last.clear()
        self.stopped.clear()
        self._start_agent()
        for index, last in again:
            for record, recorded in last.records:
                self._process(index, record, recorded)
        self._work()

    def counters(self) -> dict[str, float]:
        """Those that stages have set, over all partitions and crashes."""
        found = Counter(self._counters)
        for pipeline in self._pipelines():
            found.update(_named(pipeline))
        return dict(found)

    def totals(self) -> dict[str, dict[str, int]]:
        """By a stage's label, what was counted of it."""
        found = Counter(self._totals)
        for pipeline in self._pipelines():
            found.update(_counted(pipeline))
        by_label: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTS, 0))
        for (label, name), count in found.items():
            by_label[label][name] = count
        return by_label

    def _pipelines(self) -> list[Pipeline]:
        return [self._agent, *(partition.pipeline for partition in self._partitions.values())]

    def _keep_counts(self, pipeline: Pipeline) -> None:
        self._totals.update(_counted(pipeline))
        self._counters.update(_named(pipeline))

    def _publish(self, reader: int, output: Output) -> None:
        """A message gets its offset, and is read: by workers, else by sinks."""
        place = output.topic, output.partition
        offset = self._ends[place]
        self._ends[place] += 1
        record = Record(*place, offset, output.key, output.value, output.headers)
        origin = Origin.from_headers(output.headers)
        assert origin is not None
        if self._seen[place].origin(origin):
            self._tell(reader, record)
        if reader < len(self._inbox):
            self._inbox[reader].append(record)

    def _tell(self, reader: int, record: Record) -> None:
        segment = self.route.agent if reader == 0 else self.route.workers[reader - 1]
        plan = segment.target.get(FRAME)
        assert record.value is not None
        if plan is not None and plan.name == record.topic:
            messages = decode_batch(record.value).messages
        else:
            messages = [decode_event(record.value)]
        self.heard["topic", record.topic] += messages
        if reader == len(self._inbox):
            self.heard[END] += messages
            for step in self.route.sinks:
                self.heard["sink", step.label] += _meeting(step, messages)

    def _work(self) -> None:
        for index, inbox in enumerate(self._inbox):
            while inbox:
                record = inbox.popleft()
                if index + 1 not in self.stopped:
                    self._process(index, record, Counter())

    def _process(self, index: int, record: Record, again: Counter[str]) -> None:
        """`again`: how much of what sinks get from this record they have already."""
        place = index, record.partition
        partition = self._partitions.get(place)
        if partition is None:
            table = self._tables[place]
            partition = self._partitions[place] = Partition(
                self.config,
                self.route.workers[index],
                record.partition,
                self.framing,
                lambda: list(table.items()),
                self._crashes,
            )
        if place not in self._last:
            self._last[place] = _Last(_counted(partition.pipeline), _named(partition.pipeline))
        last = self._last[place]
        done = partition.process(record)
        recorded = self._collect(partition.pipeline, again)
        last.records.append((record, recorded))
        for key, value in done.block or ():
            last.before.setdefault(key, self._tables[place].get(key))
            _store(self._tables[place], [(key, value)])
        for output in done.outputs:
            self._publish(index + 1, output)
        if done.dead is not None and not again[""]:
            letter: dict[str, Any] = dict(dead_letter.read(done.dead))
            letter["ids"] = letter.get("ids", "").split()
            self.dead.append(letter)
            recorded[""] = 1
        if partition.pipeline.stop_reason is not None:
            self.stopped[index + 1] = partition.pipeline.stop_reason

    def _collect(self, pipeline: Pipeline, again: Counter[str] | None = None) -> Counter[str]:
        recorded: Counter[str] = Counter()
        for entry in pipeline.entries:
            if isinstance(entry.component, Recorder):
                label, kept = entry.component.label, entry.component.kept
                recorded[label] = len(kept)
                place = {END_LABEL: END, UP_LABEL: UP}.get(label, ("sink", label))
                self.heard[place] += kept[again[label] if again else 0 :]
                entry.component.kept = []
        return recorded

    def _agent_failed(self, who: str, error: Exception, messages: list[Message]) -> None:
        ids = [message["id"] for message in messages if message.get("id") is not None]
        self.dead.append({"who": who, "reason": f"{type(error).__name__}: {error}", "ids": ids})

    def _unwritable(self, message: Message, error: WireError) -> None:
        ids = [message["id"]] if message.get("id") is not None else []
        self.dead.append({"who": "topic", "reason": str(error), "ids": ids})


def _store(table: dict[bytes, bytes], entries: Iterable[tuple[bytes, bytes | None]]) -> None:
    for key, value in entries:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def _meeting(step: Step, messages: Iterable[Message]) -> list[Message]:
    return [m.copy() for m in messages if step.when is None or step.when(m)]


def _counted(pipeline: Pipeline) -> Counter[tuple[str, str]]:
    stats = pipeline.all_stats()
    return Counter({(each.name, name): getattr(each, name) for each in stats for name in _COUNTS})


def _named(pipeline: Pipeline) -> dict[str, Any]:
    return {name: int(v) if v == int(v) else v for name, v in pipeline.stats.get_stats().items()}
