"""The configuration: one YAML file, checked as a whole, and the pipeline that is built from it."""

from __future__ import annotations

import contextlib
import difflib
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from datastalker import catalog, segments
from datastalker.agent_settings import AGENT
from datastalker.condition import Predicate, compile_condition, misspelt
from datastalker.errors import ConfigError, InputError, Problem
from datastalker.message import KNOWN_KEYS, Field, Message
from datastalker.options import Path, complete, option, options_of, suggest
from datastalker.pipeline import Entry, Pipeline
from datastalker.registry_settings import REGISTRY_SETTINGS
from datastalker.stage import REGISTRY, Component, Sink, SourceStage, Stage
from datastalker.state import MAX_ENTRIES, State
from datastalker.stats import Stats
from datastalker.topics import FRAME, KAFKA, TOPIC, check_kafka
from datastalker.worker_settings import WORKERS
from datastalker.yamlfile import Document

CUT = "topic"
"""The entry that cuts a pipeline at a topic."""


def _level(value: str) -> str | None:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    return None if value.upper() in levels else f"must be one of {', '.join(levels)}, not '{value}'"


class Settings:
    """What may stand at the top of the file beside `pipeline`."""

    name: str = option("datastalker", "name of this pipeline, in logs and consumer groups")
    sensor: str | None = option(None, "name of this sensor; the host's name if not given")
    labels: dict[str, str | int | float | bool] = option(
        {}, "static labels that each frame of this sensor carries, such as site and location"
    )
    plugins: list[str] = option(
        [], "modules or .py files (relative to this file) that register stages of your own"
    )
    state_max_entries: int = option(
        MAX_ENTRIES, "how many entries each stage may remember; more evict the oldest", minimum=1
    )
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR", check=_level)
    log_file: str | None = option(None, "write the log here rather than to standard error")
    logging: dict | None = option(None, "Python's logging.config.dictConfig, for more than that")  # type: ignore[type-arg]
    kafka: dict = option(  # type: ignore[type-arg]
        {}, "the broker; a run in one process hands messages over in memory and does not use it"
    )
    schema_registry: dict | None = option(  # type: ignore[type-arg]
        None, "a registry of schemas: url, username, password, ca; null: messages name their own"
    )
    topics: dict[str, dict] = option(  # type: ignore[type-arg]
        {}, "by a topic's name: partitions, replication, retention_hours, compact, key"
    )
    agent: dict = option(  # type: ignore[type-arg]
        {},
        "of capture agents: batch_frames, linger_ms, heartbeat_seconds, status_seconds, "
        "delivery_timeout_seconds, queue_mb",
    )
    workers: dict = option(  # type: ignore[type-arg]
        {},
        "of workers: segments, session_timeout_seconds, instance_id, recovery_seconds, "
        "stall_seconds, http_host, http_port",
    )


SETTINGS = options_of(Settings) or {}
NESTED = {
    "kafka": KAFKA,
    "schema_registry": REGISTRY_SETTINGS,
    "agent": AGENT,
    "workers": WORKERS,
}
"""What stands under those settings that have settings of their own."""


@dataclass
class Step:
    """One entry of the pipeline list, checked: what to build and from what."""

    name: str
    label: str
    cls: type[Component] | None
    options: dict[str, Any]
    when: Predicate | None
    path: Path
    position: tuple[int, int] = (0, 0)
    topics: dict[str, str] | None = None
    """For a cut: topic by message type."""


@dataclass
class Config:
    """A checked configuration. `problems` holds every mistake; one with errors can't be built."""

    file: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.warning]

    @property
    def base(self) -> FilePath:
        """The folder that paths in the file are relative to where it says so."""
        return FilePath(self.file).resolve().parent

    @property
    def kafka(self) -> dict[str, Any]:
        """The settings under `kafka:`, completed with the defaults."""
        return complete(KAFKA, self.settings["kafka"], ("kafka",), _known)

    def topic(self, name: str) -> dict[str, Any]:
        """The settings of a topic under `topics:`, completed with the defaults."""
        given = self.settings["topics"].get(name, {})
        return complete(TOPIC, given, ("topics", name), _known)

    @property
    def agent(self) -> dict[str, Any]:
        """The settings under `agent:`, completed with the defaults."""
        return complete(AGENT, self.settings["agent"], ("agent",), _known)

    @property
    def workers(self) -> dict[str, Any]:
        """The settings under `workers:`, completed with the defaults."""
        return complete(WORKERS, self.settings["workers"], ("workers",), _known)

    @property
    def sensor(self) -> str:
        return self.settings["sensor"] or socket.gethostname()


def _known(path: Path, text: str) -> None:
    """A mistake that the check has reported already."""


def load(path: str, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file.

    Raises ConfigError where it can't be read or is no YAML; other mistakes are in `problems`.
    """
    try:
        text = FilePath(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            [Problem(path, 0, 0, "there is no such file; name another with -c FILE")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError([Problem(path, 0, 0, f"can't be read: {said}")]) from None
    return parse(text, path, environment)


def parse(text: str, file: str, environment: Mapping[str, str] | None = None) -> Config:
    """Check a configuration's text; see `load`."""
    document = Document(text, file, environment)
    config = Config(file, problems=document.problems)
    _Checker(document, config).check()
    found = dict.fromkeys(config.problems)  # what an alias repeats is wrong once
    config.problems = sorted(found, key=lambda problem: (problem.line, problem.column))
    return config


def build(config: Config) -> Pipeline:
    """The whole list in one process: a cut hands messages over in memory.

    Raises ConfigError if the configuration has mistakes.
    """
    return _build(config, config.steps)


def build_segment(config: Config, segment: segments.Segment) -> Pipeline:
    """What stands between two cuts, for the process that runs it; a source only in the first.

    Raises ConfigError if the configuration has mistakes.
    """
    return _build(config, segment.steps)


def _build(config: Config, steps: list[Step]) -> Pipeline:
    if config.errors:
        raise ConfigError(config.errors)
    stats = Stats()
    source: SourceStage | None = None
    entries: list[Entry] = []
    added: list[Field] = []
    for step in steps:
        if step.topics is not None:
            entries.append(Entry(_bind(_Cut(stats, topics=step.topics), step, config, stats)))
            continue
        component = _make(step, config, stats)
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
            added += _make(before, config, stats).adds()
    sink = _bind(_make(step, config, stats), step, config, stats)
    assert isinstance(sink, Sink)
    sink.added = tuple(added)
    return sink


def _make(step: Step, config: Config, stats: Stats) -> Component:
    """The component of a step; what its constructor raises is a mistake at the step's place."""
    assert step.cls is not None
    try:
        component = step.cls.from_config(dict(step.options), stats)
        if isinstance(component, (Stage, SourceStage, Sink)):
            return component
        text = f"from_config gave a {type(component).__name__}, not a stage"
    except ConfigError:
        raise
    except (ValueError, InputError) as error:
        text = str(error)
    except Exception as error:  # a mistake in the code of a plug-in: say where
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{FilePath(at.filename).name}, line {at.lineno}"
        text = f"can't be built: {type(error).__name__}: {error} ({where})"
    raise ConfigError([Problem(config.file, *step.position, f"{step.label}: {text}")])


class _Cut(Stage):
    """A topic in an embedded run: hands on in memory what the topic would have carried."""

    name = CUT
    topics: dict[str, str]

    def handle_bulk(self, messages: list[Message]) -> list[Message]:
        return [message for message in messages if message.type in self.topics]


def _bind(component: Any, step: Step, config: Config, stats: Stats) -> Any:
    component.stats = stats
    component.state = State(config.settings["state_max_entries"])
    labels = {key: _label(value) for key, value in config.settings["labels"].items()}
    for name, value in (("sensor_name", config.sensor), ("labels", labels)):
        if name not in step.options:
            setattr(component, name, value)
    return component


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Checker:
    """Goes through a document once and collects what is wrong with it."""

    def __init__(self, document: Document, config: Config) -> None:
        self.document = document
        self.config = config
        self.labels: dict[str, int] = {}

    def report(self, path: Path, text: str) -> None:
        self.config.problems.append(self.document.problem(path, text))

    def warn(self, path: Path, text: str) -> None:
        self.config.problems.append(self.document.problem(path, text, warning=True))

    def check(self) -> None:
        value = self.document.value
        if not isinstance(value, dict):
            self.report((), "a configuration is a mapping with a 'pipeline:' list in it")
            self.config.settings = complete(SETTINGS, {}, (), self.report)
            return
        given = {key: item for key, item in value.items() if key != "pipeline"}
        root = "pipeline"
        if root not in value:
            for close in difflib.get_close_matches(root, given, 1, 0.6):
                self.report((close,), f"unknown option '{close}', did you mean 'pipeline'?")
                del given[close]
                root = close
        self.config.settings = complete(SETTINGS, given, (), self.report)
        self._broker(self.config.settings)
        self._plugins()
        pipeline = value.get(root)
        if not isinstance(pipeline, list) or not pipeline:
            said = "is missing" if root not in value else "must be a list of stages"
            self.report((root,), f"'pipeline' {said}; the first entry is a source: pcap")
            return
        for index, item in enumerate(pipeline):
            self._entry(item, (root, index))
        self._order()
        if not self.config.errors:
            segments.check(self.config, self.report)
        if not self.config.errors:
            self._fields()

    def _fields(self) -> None:
        """Warn of what looks like a typo where an option names keys of messages."""
        for index, step in enumerate(self.config.steps):
            for opt in (options_of(step.cls) or {}).values() if step.cls else ():
                if not opt.fields or step.options[opt.name] is None:
                    continue
                known = {"type", *KNOWN_KEYS}
                known.update(opt.fields if isinstance(opt.fields, tuple) else ())
                value = step.options[opt.name]
                listed = isinstance(value, list)
                names = dict(enumerate(value)) if listed else {0: value}
                if known.issuperset(names.values()):
                    continue
                known |= self._added(index)
                for at, name in names.items():
                    if name not in known and (close := misspelt(name, sorted(known), 0.7)):
                        path = (*step.path, step.name, opt.name, *((at,) if listed else ()))
                        self.warn(path, f"{step.name}: no field is called '{name}'{close}")

    def _added(self, index: int) -> set[str]:
        """The keys that the stages above set. One that can't be built is told of by who builds."""
        added: set[str] = set()
        for step in self.config.steps[:index]:
            if step.cls is not None and not issubclass(step.cls, SourceStage):
                with contextlib.suppress(ConfigError):
                    added |= {field.name for field in _make(step, self.config, Stats()).adds()}
        return added

    def _broker(self, settings: dict[str, Any]) -> None:
        kafka = complete(KAFKA, settings["kafka"], ("kafka",), self.report)
        for setting, text in check_kafka(kafka):
            self.report(("kafka", setting), text)
        for name, given in settings["topics"].items():
            complete(TOPIC, given, ("topics", name), self.report)
        if settings["schema_registry"] is not None:
            given = settings["schema_registry"]
            path: Path = ("schema_registry",)
            settings["schema_registry"] = complete(REGISTRY_SETTINGS, given, path, self.report)
        complete(AGENT, settings["agent"], ("agent",), self.report)
        complete(WORKERS, settings["workers"], ("workers",), self.report)

    def _plugins(self) -> None:
        for name, cls in list(REGISTRY.items()):
            if cls.__module__.startswith(catalog.PLUGIN):  # of another configuration
                del REGISTRY[name]
        for index, plugin in enumerate(self.config.settings["plugins"] or []):
            try:
                catalog.load_plugin(plugin, self.config.base)
            except InputError as error:
                self.report(("plugins", index), str(error))

    def _entry(self, item: Any, path: Path) -> None:
        if isinstance(item, str):
            item = {item: None}
        if not isinstance(item, dict) or not item:
            self.report(path, "an entry is a stage's name, or a mapping: its name to its options")
            return
        names = [key for key in item if key != "when"]
        if not names:
            self.report(path, "'when' stands alone; it goes with a stage's name in one entry")
            return
        if len(names) > 1:
            text = f"one stage an entry, not {len(names)}: put a '- ' before each"
            if item[names[0]] is None:
                text += f"; or indent the others further, if they are options of '{names[0]}'"
            self.report(path, text)
            return
        name = str(names[0])
        options, here = item[name], (*path, name)
        if name == CUT:
            self._cut(options, here)
            if "when" in item:
                self.report((*path, "when"), "a topic carries all messages: 'when' goes to a stage")
            return
        self.labels[name] = self.labels.get(name, 0) + 1
        label = name if self.labels[name] == 1 else f"{name}#{self.labels[name]}"
        if options is not None and not isinstance(options, dict):
            self.report(here, f"{name}: its options must be a mapping, such as {{option: value}}")
            options = None
        options = dict(options or {})
        when = self._when(item, options, path, here)
        cls = self._find(name, here)
        checked = self._options(cls, options, here, name)
        position = self.document.where(here)
        self.config.steps.append(Step(name, label, cls, checked, when, path, position))

    def _when(
        self, item: dict[str, Any], options: dict[str, Any], path: Path, here: Path
    ) -> Predicate | None:
        """`when:` may stand among the options or beside the stage's name."""
        if "when" in options and "when" in item:
            self.report((*path, "when"), "'when' is given twice: among the options, and here")
        if "when" in options:
            condition, at = options.pop("when"), (*here, "when")
        elif "when" in item:
            condition, at = item["when"], (*path, "when")
        else:
            return None
        emits = [t for s in self.config.steps for t in getattr(s.cls, "emits", ())]
        return compile_condition(condition, at, self.report, self.warn, emits)

    def _find(self, name: str, here: Path) -> type[Component] | None:
        try:
            offered = name in REGISTRY or catalog.load(name)
        except InputError as error:
            self.report(here, str(error))
            return None
        if name in REGISTRY:
            return REGISTRY[name]
        if offered:
            self.report(here, f"the installed package behind stage '{name}' registers no such name")
        else:
            known = dict.fromkeys([*catalog.BUILTIN, CUT, *catalog.third_party(), *REGISTRY])
            self.report(here, f"unknown stage '{name}'{suggest(name, known)}")
        return None

    def _options(
        self, cls: type[Component] | None, given: dict[str, Any], here: Path, name: str
    ) -> dict[str, Any]:
        try:
            declared = options_of(cls) if cls is not None else None
        except (NameError, TypeError) as error:
            self.report(here, f"{name}: its options can't be read: {error}")
            return given
        if cls is None or declared is None:
            return given
        before = len(self.config.problems)

        def report(path: Path, text: str) -> None:
            self.report(path, f"{name}: {text}")

        options = complete(declared, given, here, report)
        if len(self.config.problems) == before:
            try:
                for option_name, text in cls.check_config(options):
                    report((*here, option_name) if option_name else here, text)
            except Exception as error:  # a mistake in the code of a plug-in
                report(here, f"its check_config failed: {type(error).__name__}: {error}")
        return options

    def _cut(self, value: Any, here: Path) -> None:
        topics: dict[str, str] = {}
        if isinstance(value, str) and value:
            topics = {FRAME: value}
        elif isinstance(value, dict) and value and all(isinstance(v, str) for v in value.values()):
            topics = {str(key): topic for key, topic in value.items()}
        else:
            self.report(here, "topic: takes a topic's name, or a mapping of message type to topic")
        position = self.document.where(here)
        self.config.steps.append(Step(CUT, CUT, None, {}, None, here[:-1], position, topics))

    def _order(self) -> None:
        for step in self.config.steps:
            is_source = step.cls is not None and issubclass(step.cls, SourceStage)
            if step.path[-1] != 0:
                if is_source:
                    self.report(
                        step.path, f"'{step.name}' is a source and can only be the first entry"
                    )
            elif step.topics is not None:
                self.report(step.path, "the first entry must be a source, not a topic: pcap")
            elif step.cls is not None and not is_source:
                self.report(
                    step.path, f"'{step.name}' is no source; the first entry must be one: pcap"
                )
            elif step.when is not None:
                self.report(
                    step.path, f"'{step.name}' is a source: 'when' has nothing to look at yet"
                )
