"""The checks of `stalk doctor` that no single place has: configuration, packages, broker, topics,
registry; and those of each place, as the configuration makes them meaningful."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from datastalker import __version__, extras, topic_keys
from datastalker.broker import connect
from datastalker.commands.doctor_mistakes import mistakes
from datastalker.config import Config
from datastalker.errors import DataStalkerError
from datastalker.finding import Check, Finding, failed, folder, of_error, ok, warning
from datastalker.segments import Segment, segment_topics, segments
from datastalker.topic_changes import Change, compare
from datastalker.topics import TopicPlan
from datastalker.wire import Confluent, schema_name

ROLES = {
    "agent": ("capture", "all"),
    "worker": ("worker",),
    "sink": ("sinks", "all", "run"),
    "run": ("all", "run"),
}
"""What may run on a machine, and the segments that it has to do with."""

_PACKAGES = {
    "agent": ("confluent-kafka", "pyroute2"),
    "workers": ("faust-streaming", "cramjam", "confluent-kafka"),
    "sinks": ("confluent-kafka",),
    "elasticsearch": ("elasticsearch", "orjson"),
}
_EXTRAS = {"capture": "agent", "worker": "workers", "sinks": "sinks"}
_CAUSES = {
    "make": "nobody has made it",
    "note key": "nobody has noted by which key it is partitioned",
    "change settings": "the broker's settings are not those of the file",
}
"""Why a topic is not as it should be, by what there is to do, where no more is known."""
_BROKER_SECONDS = 6.0


def checks(config: Config, role: str | None) -> list[Check]:
    """What there is to look at. A configuration with mistakes has no more than them: what else it
    says can't be relied on."""
    found = [Check("configuration", lambda: _configuration(config, role), "mend the file")]
    if config.errors:
        return found
    wanted = _wanted(config, role)
    if not wanted:  # the file has nothing for that role: `configuration` says it
        return found
    _import_all()
    remedy = "is the disk that Python lies on slow, or broken?"
    found.append(Check("packages", partial(_packages, wanted), remedy))
    if config.settings["log_file"] is not None:
        log = Path(config.settings["log_file"]).expanduser().absolute()
        look = partial(_log, log.parent)
        found.append(Check("log", look, "is the disk of log_file still there?"))
    plans = {
        plan.name: plan for s in wanted if s.role != "all" for plan in segment_topics(config, s)
    }
    for place in _places(wanted, role):
        for segment in wanted:
            found += place.checks(config, segment)
    if plans and find_spec("confluent_kafka"):  # else `packages` says it
        remedy = "see kafka: bootstrap_servers, and whether the broker is overloaded"
        look = partial(_broker, config, list(plans.values()))
        found.append(Check("broker", look, remedy, 25))
    if plans and config.settings["schema_registry"] is not None:
        remedy = "see schema_registry: url; does the registry live, does a firewall stand between?"
        found.append(Check("registry", partial(_registry, config, wanted), remedy))
    return found


def _segments(config: Config, role: str | None) -> list[Segment]:
    """Of a `run` that has a source, all is one: it hands messages over in memory, topics or not."""
    found = segments(config)
    if role != "run" or not found[0].steps:
        return found
    steps = [step for step in config.steps if step.topics is None]
    return [Segment(0, config.settings["name"], steps)]


def _wanted(config: Config, role: str | None) -> list[Segment]:
    """The segments that run on this machine. Behind the last topic there may be no sink at all."""
    return [
        segment
        for segment in _segments(config, role)
        if (role is None or segment.role in ROLES[role])
        and (segment.steps or segment.role != "sinks")
    ]


def _import_all() -> None:
    """The checks run in threads, and some packages can't be imported by two at a time."""
    for name in ("confluent_kafka.admin", "confluent_kafka.schema_registry", "elasticsearch"):
        with suppress(ImportError):
            importlib.import_module(name)


def _places(wanted: list[Segment], role: str | None) -> Iterator[Any]:
    """The modules `doctor` of the packages that run these segments."""
    roles = {segment.role for segment in wanted}
    for name, package in (
        ("agent", "capture_agent"),
        ("worker", "processors"),
        ("sink", "sinks"),
    ):
        if roles & set(ROLES[name]) and role in (None, "run", name):
            yield importlib.import_module(f"{package}.doctor")


def _configuration(config: Config, role: str | None) -> Iterator[Finding]:
    yield from mistakes(config.problems)
    if config.errors:
        return
    if not _wanted(config, role):
        cause = f"nothing in its pipeline is for {'an' if role == 'agent' else 'a'} {role}"
        remedy = "leave --role out, or give the file of this machine"
        yield failed("configuration", config.file, cause, remedy)
        return
    yield ok("configuration", f"{config.file}: {' → '.join(step.label for step in config.steps)}")


def _log(path: Path) -> Iterator[Finding]:
    """Its folder has to be there, other than those of sinks and spools."""
    if os.path.isdir(path):
        yield from folder("log", path, "log_file", 10)
        return
    cause = "a folder that a log is to be in is not made, but by `stalk install-service`"
    yield failed("log", f"{path} is not there", cause, f"mkdir -p {path}, or change log_file")


def _packages(wanted: list[Segment]) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("packages", f"DataStalker {__version__}, Python {python}")
    roles = {segment.role for segment in wanted}
    found = [extra for role, extra in _EXTRAS.items() if role in roles]
    if any(step.name == "elasticsearch" for segment in wanted for step in segment.steps):
        found.append("elasticsearch")
    needed = _versions()
    for extra in found:
        said, lacking = [], []
        for name in _PACKAGES[extra]:
            if name == "pyroute2" and not _names_wifi(wanted):
                continue
            try:
                version = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                lacking.append(f"{name} is not installed")
                continue
            least = needed.get(name, "0")
            if _numbers(version) < _numbers(least):
                lacking.append(f"{name} {version} is older than {least}")
            said.append(f"{name} {version}")
        about = f"packages for {extra}"
        if lacking:
            remedy = extras.install("agent" if extra == "sinks" else extra)
            yield failed(about, "something is missing", ", ".join(lacking), remedy)
        else:
            yield ok(about, ", ".join(said))


def _names_wifi(wanted: list[Segment]) -> bool:
    return any(step.name == "wifi_sniffer" for segment in wanted for step in segment.steps)


def _versions() -> dict[str, str]:
    """The least version of each package, as our own package says; none where it isn't installed."""
    try:
        lines = importlib.metadata.requires("datastalker") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)(?:\[\w+\])?.*?>=([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match is not None}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _broker(config: Config, plans: list[TopicPlan]) -> Iterator[Finding]:
    servers = config.kafka["bootstrap_servers"]
    begin = monotonic()
    try:
        with connect(config, _BROKER_SECONDS) as broker:
            took = (monotonic() - begin) * 1000
            many = "1 broker" if broker.brokers == 1 else f"{broker.brokers} brokers"
            yield ok("broker", f"{many} at {servers}, answers in {took:,.0f} ms")
            workers = [segment for segment in segments(config) if segment.role == "worker"]
            read = {plan.name for segment in workers for plan in segment.source.values()}
            yield from _topics(config, compare(broker, plans, frozenset(read)))
    except DataStalkerError as error:
        remedy = "correct what is under kafka:, or start the broker"
        yield of_error("broker", f"{servers} can't be used", error, remedy)


def _topics(config: Config, changes: list[Change]) -> Iterator[Finding]:
    right = [change.plan.name for change in changes if change.act == "none"]
    if right:
        yield ok("topics", f"as configured: {', '.join(right)}")
    for change in changes:
        if change.act == "none":
            continue
        about = f"topic {change.plan.name}"
        apply = f"stalk topics apply -c {config.file}"
        found = f"is: {change.there}; wanted: {change.wanted}"
        optional = change.act in ("change settings", "note key") or (
            change.plan.name == topic_keys.NAME and change.act == "make"
        )
        if change.act == "refuse":
            # As many copies as it has will do; the rest nobody starts with
            make = warning if change.there.startswith("replication") else failed
            yield make(about, found, change.todo, change.about)
        elif change.moves_keys:
            remedy = f"{apply} --allow-repartition, or write under topics: what it is"
            yield failed(about, found, change.about or change.todo, remedy)
        elif optional:
            yield warning(about, found, change.about or _CAUSES[change.act], apply)
        else:
            cause = change.about or _CAUSES.get(change.act, change.todo)
            yield failed(about, found, cause, apply)


def _registry(config: Config, wanted: list[Segment]) -> Iterator[Finding]:
    settings = config.settings["schema_registry"]
    remedy = "correct schema_registry: url, username, password; or start the registry"
    try:
        registry = Confluent(settings)
        try:
            there = registry.subjects()
            yield ok("registry", f"{settings['url']}, {len(there):,} subjects")
            for name, schema in _written(config, wanted).items():
                yield from _schema(registry, name, schema)
        finally:
            registry.close()
    except DataStalkerError as error:
        yield of_error("registry", f"{settings['url']} can't be used", error, remedy)


def _schema(registry: Confluent, topic: str, name: str) -> Iterator[Finding]:
    about = f"registry, {topic}-value"
    state = registry.look(name, topic)
    if state == "incompatible":
        cause = "versions before it were registered by something else, or by a later DataStalker"
        remedy = "run one DataStalker everywhere, or remove the subject in the registry"
        yield failed(about, f"schema '{name}' would be refused as incompatible", cause, remedy)
    else:
        will = "is registered" if state == "registered" else "is new: the first start registers it"
        yield ok(about, f"schema '{name}' {will}")


def _written(config: Config, wanted: list[Segment]) -> dict[str, str]:
    """Topics that these segments write, and the schema of their messages."""
    found: dict[str, str] = {}
    for segment in wanted:
        if segment.role not in ("capture", "worker"):
            continue
        for plan in segment_topics(config, segment):
            if plan.name in {p.name for p in segment.source.values()}:
                continue
            for kind in plan.types:
                if kind not in ("dead_letter", "state"):
                    found[plan.name] = schema_name(kind)
    return found
