"""What a configuration is: the settings at its top, its steps, its problems."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from datastalker.agent_settings import AGENT
from datastalker.annotation import Path
from datastalker.condition import Predicate
from datastalker.errors import Problem
from datastalker.kibana_settings import KIBANA
from datastalker.options import complete, option, options_of
from datastalker.page_settings import SINKS
from datastalker.registry_settings import REGISTRY_SETTINGS
from datastalker.stage import Component
from datastalker.state import MAX_ENTRIES
from datastalker.topics import KAFKA, TOPIC
from datastalker.worker_settings import WORKERS

if TYPE_CHECKING:
    from datastalker.cases import Case

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
    tests: list = option(  # type: ignore[type-arg]
        [], "what `stalk test` runs: name, steps, start, from, stages; a run does not look at them"
    )
    topics: dict[str, dict] = option(  # type: ignore[type-arg]
        {}, "by a topic's name: partitions, replication, retention_hours, compact, key"
    )
    agent: dict = option(  # type: ignore[type-arg]
        {},
        "of capture agents: batch_frames, linger_ms, heartbeat_seconds, status_seconds, "
        "delivery_timeout_seconds, queue_mb, clock_alert_seconds, spool_directory, spool_mb, "
        "spool_when_full, spool_order, spool_fsync_seconds, http_host, http_port, tap_remote",
    )
    workers: dict = option(  # type: ignore[type-arg]
        {},
        "of workers: segments, session_timeout_seconds, instance_id, recovery_seconds, "
        "stall_seconds, http_host, http_port, tap_remote",
    )
    sinks: dict = option(  # type: ignore[type-arg]
        {}, "of sinks that are processes of their own: http_host, http_port, tap_remote"
    )
    kibana: dict = option(  # type: ignore[type-arg]
        {},
        "of `stalk kibana install`: url, space, username, password, api_key, ca, "
        "verify_certificates",
    )


SETTINGS = options_of(Settings) or {}
NESTED = {
    "kafka": KAFKA,
    "schema_registry": REGISTRY_SETTINGS,
    "agent": AGENT,
    "workers": WORKERS,
    "sinks": SINKS,
    "kibana": KIBANA,
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
    condition: Any = None
    """`when`, as it was written."""
    given: tuple[str, ...] = ()
    """Names of the options that were written."""


@dataclass
class Config:
    """A checked configuration. `problems` holds every mistake; one with errors can't be built."""

    file: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    """Of `tests:`, which `stalk test` runs."""
    test_problems: list[Problem] = field(default_factory=list)
    """What is wrong with them: no reason not to run."""

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
    def sinks(self) -> dict[str, Any]:
        """The settings under `sinks:`, completed with the defaults."""
        return complete(SINKS, self.settings["sinks"], ("sinks",), _known)

    @property
    def kibana(self) -> dict[str, Any]:
        """The settings under `kibana:`, completed with the defaults."""
        return complete(KIBANA, self.settings["kibana"], ("kibana",), _known)

    @property
    def sensor(self) -> str:
        return self.settings["sensor"] or socket.gethostname()


def _known(path: Path, text: str) -> None:
    """A mistake that the check has reported already."""
