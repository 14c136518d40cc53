"""Which pages a configuration's processes serve, and where: for who serves them and who asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from datastalker import segments
from datastalker.stage import Sink

if TYPE_CHECKING:
    from datastalker.config import Config
    from datastalker.page import Page, Server


@dataclass(frozen=True)
class Where:
    """Where the page of a process is to be. `setting`: where that stands in the configuration;
    `part`: of a sink, its name; `runs`: the command that starts the process; `port` 0: any that is
    free, so nobody knows it but the log."""

    setting: str
    part: str
    runs: str
    host: str
    port: int | None
    tap_remote: bool

    @property
    def url(self) -> str:
        """How to reach it from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def serve(self, shown: Page) -> Server | None:
        """Serve it, where the configuration says so. Raises OutputError: nobody can listen there."""
        if self.port is None:
            return None
        from datastalker import page

        shown.tap_remote = self.tap_remote
        return page.serve(shown, self.host, self.port, self.setting)


def of_agent(config: Config) -> Where:
    """Of `stalk capture`, and of `stalk run`."""
    command = "capture" if segments.segments(config)[0].role == "capture" else "run"
    return _where("agent", "", f"stalk {command} -c {config.file}", config.agent)


def of_worker(config: Config) -> Where:
    """Of a worker."""
    runs = f"DATASTALKER_CONFIG={config.file} faust -A processors worker"
    return _where("workers", "", runs, config.workers)


def of_sink(config: Config, label: str) -> Where:
    """Of `stalk sink LABEL`."""
    labels = _sinks(config)
    above = labels.index(label) if label in labels else 0
    return _where("sinks", label, f"stalk sink {label} -c {config.file}", config.sinks, above)


def all_of(config: Config) -> list[Where]:
    """Of every process of the configuration."""
    cut = segments.segments(config)
    found = [of_agent(config)]
    if any(segment.role == "worker" for segment in cut):
        found.append(of_worker(config))
    if cut[-1].role == "sinks":
        found += [of_sink(config, label) for label in _sinks(config)]
    return found


def of_stage(config: Config, label: str) -> list[Where]:
    """Of the processes that may run it: its segment's own, and `stalk run`, which runs all."""
    cut = segments.segments(config)
    role = next(s.role for s in cut if label in [step.label for step in s.steps])
    if role not in ("worker", "sinks"):
        return [of_agent(config)]
    own = of_worker(config) if role == "worker" else of_sink(config, label)
    if cut[0].role == "elsewhere":
        return [own]
    return [own, replace(of_agent(config), runs=f"stalk run -c {config.file}")]


def _sinks(config: Config) -> list[str]:
    steps = segments.segments(config)[-1].steps
    return [step.label for step in steps if step.cls and issubclass(step.cls, Sink)]


def _where(setting: str, part: str, runs: str, given: dict[str, object], above: int = 0) -> Where:
    port = given["http_port"]
    assert port is None or isinstance(port, int)
    return Where(
        setting,
        part,
        runs,
        str(given["http_host"]),
        port + above if port else port,
        bool(given["tap_remote"]),
    )
