"""The check of a configuration: every mistake at once, each at its place, with the remedy."""

from __future__ import annotations

import contextlib
import difflib
from typing import Any

from datastalker import catalog, doubts, order, read_cases, segments
from datastalker.agent_settings import AGENT
from datastalker.annotation import Path
from datastalker.build import make
from datastalker.condition import Predicate, compile_condition, misspelt
from datastalker.errors import ConfigError, InputError, Problem
from datastalker.kibana_settings import KIBANA, wrong_together
from datastalker.message import KNOWN_KEYS
from datastalker.options import complete, options_of, suggest
from datastalker.page_settings import SINKS
from datastalker.registry_settings import REGISTRY_SETTINGS
from datastalker.settings import CUT, SETTINGS, Config, Step
from datastalker.stage import REGISTRY, Component, Sink, SourceStage
from datastalker.stats import Stats
from datastalker.topics import FRAME, KAFKA, TOPIC, check_kafka
from datastalker.worker_settings import WORKERS
from datastalker.yamlfile import Document

_OURS = ("datastalker", "capture_agent")


class Checker:
    """Goes through a document once and collects what is wrong with it."""

    def __init__(self, document: Document, config: Config) -> None:
        self.document = document
        self.config = config
        self.labels: dict[str, int] = {}
        self.lost_plugins = False
        """What stages a plug-in brings that can't be imported, nobody knows."""

    def report(self, path: Path, text: str) -> None:
        if path not in self.document.unresolved:
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
        outside = order.check_outside(given, self.report)
        self.config.settings = complete(SETTINGS, given, (), self.report)
        self._broker(self.config.settings)
        self._plugins()
        pipeline = value.get(root)
        if not isinstance(pipeline, list) or not pipeline:
            said = "is missing" if root not in value else "must be a list of stages"
            if pipeline and isinstance(pipeline, dict):
                said += ", with '- ' before each"
            if root in value or not outside:
                self.report(
                    (root,), f"'pipeline' {said}; the first entry is a source: {order.SOURCES}"
                )
            return
        for index, item in enumerate(pipeline):
            self._entry(item, (root, index))
        order.check(self.config.steps, self.report)
        if not self.config.errors:
            segments.check(self.config, self.report)
        if not self.config.errors:
            self._fields()
            self._hidden()
            for path, text in doubts.look(self.config, self._added):
                self.warn(path, text)
        read_cases.read_own(self.config, self.document)

    def _hidden(self) -> None:
        """Warn where what a stage is to hide was seen by others before, or passes it by."""
        for index, step in enumerate(self.config.steps):
            if step.cls is None or not getattr(step.cls, "hides", False):
                continue
            if step.when is not None:
                text = "what does not meet 'when' passes as it is, with its addresses"
                self.warn(step.path, f"{step.name}: {text}")
            for above in self.config.steps[:index]:
                seen = self._seen(above)
                if seen:
                    text = f"stands below '{above.label}', {seen}; put it right below the source"
                    self.warn(step.path, f"{step.name}: {text}")

    def _seen(self, step: Step) -> str:
        if step.topics is not None:
            return "so the addresses themselves are in " + ", ".join(
                sorted({*step.topics.values()})
            )
        if step.cls is not None and issubclass(step.cls, Sink):
            return "which stores the addresses themselves"
        if step.name == "print":
            return "which shows the addresses themselves"
        if getattr(step.cls, "emits", ()):
            return "whose messages may say of a device what can't be found in them"
        return ""

    def _fields(self) -> None:
        """Warn of what looks like a typo where an option names keys of messages. What keys a source
        by plug-in gives, nobody knows."""
        sources = [s.cls for s in self.config.steps if s.cls and issubclass(s.cls, SourceStage)]
        if any(cls.__module__.partition(".")[0] not in _OURS for cls in sources):
            return
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
                    added |= {field.name for field in make(step, self.config, Stats()).adds()}
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
        complete(SINKS, settings["sinks"], ("sinks",), self.report)
        wrong = wrong_together(complete(KIBANA, settings["kibana"], ("kibana",), self.report))
        if wrong is not None:
            self.report(("kibana", wrong[0]), wrong[1])

    def _plugins(self) -> None:
        for name, cls in list(REGISTRY.items()):
            if cls.__module__.startswith(catalog.PLUGIN):  # of another configuration
                del REGISTRY[name]
        for index, plugin in enumerate(self.config.settings["plugins"] or []):
            try:
                catalog.load_plugin(plugin, self.config.base)
            except InputError as error:
                self.report(("plugins", index), str(error))
                self.lost_plugins = True

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
            text = f"one stage an entry, not {len(names)}; put a '- ' before each"
            if item[names[0]] is None:
                text += f", or indent the others further, if they are options of '{names[0]}'"
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
        condition = options.get("when", item.get("when"))
        when = self._when(item, options, path, here)
        cls = self._find(name, here)
        checked = self._options(cls, options, here, name)
        position = self.document.where(here)
        step = Step(name, label, cls, checked, when, path, position)
        step.condition, step.given = condition, tuple(options)
        self.config.steps.append(step)

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
            if not self.lost_plugins or difflib.get_close_matches(name, known, 1, 0.6):
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
                    report((*here, *_inside(option_name)), text)
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


def goes_nowhere(config: Config) -> Problem | None:
    """A warning where what comes out is neither stored nor shown. What a plug-in does with it, nobody
    knows."""
    for step in config.steps[1:]:
        ours = step.cls is not None and step.cls.__module__.partition(".")[0] in _OURS
        if not ours or step.name == "print":
            return None
    last = config.steps[-1]
    text = f"nothing stands below '{last.label}' that stores or shows messages; add csv or print"
    return Problem(config.file, *last.position, text, warning=True)


def _inside(option_name: str) -> Path:
    """Where an option stands in its stage's: `hopper.channels.2` is the third of that list."""
    parts = option_name.split(".") if option_name else []
    return tuple(int(part) if part.isdigit() else part for part in parts)
