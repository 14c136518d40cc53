"""The systemd unit of one of our processes: no right and no folder that its YAML doesn't ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datastalker import segments
from datastalker.errors import ConfigError, Problem
from datastalker.options import suggest
from datastalker.settings import Config, Step
from datastalker.stage import Sink

STATE = Path("/var/lib/datastalker")
"""Made by systemd, the service user's, and what relative folders of the YAML are relative to."""
ENVIRONMENT = Path("/etc/datastalker/environment")
"""NAME=value lines: what the YAML takes from the environment."""
USER = "datastalker"

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_CAPSET = """\
# by which the agent gives its capabilities away
SystemCallFilter=capset
"""
_ROOT = Path(__file__).resolve().parents[1]

_UNIT = Path(__file__).with_name("data") / "service.unit"


@dataclass
class Service:
    """One process of a configuration as a service: `role` agent, worker, sink, or run: all of it.

    Raises ConfigError where the configuration has no such process, or none that can be a service.
    """

    config: Config
    role: str
    sink: str | None = None
    user: str | None = None
    python: Path = Path(sys.executable)
    checkout: Path | None = _ROOT if (_ROOT / "stalk").is_file() else None

    def __post_init__(self) -> None:
        cut = segments.segments(self.config)
        if self.role == "sink":
            self.sink = self._sink(cut[-1].steps if cut[-1].role == "sinks" else [])
        elif self.role == "run":
            pass
        elif len(cut) < 2 or (self.role == "worker" and len(cut) < 3):
            text = "needs a `topic` in the pipeline" if self.role == "agent" else "needs two topics"
            raise self._wrong(f"{self.role}: {text}, and there is no such; --role run needs none")
        if self.role in ("agent", "run") and not cut[0].steps:
            raise self._wrong(f"{self.role}: the pipeline begins with a topic: there is no source")
        steps = {"agent": cut[0].steps, "sink": cut[-1].steps, "run": self.config.steps}
        self.steps = steps.get(self.role, [])
        source = self.steps[0] if self.role in ("agent", "run") else None
        self.source = source
        options = source.options if source is not None else {}
        if source is not None and source.name == "pcap" and "-" in _list(options["path"]):
            raise self._wrong("pcap: path: a service has no standard input: give it a file")
        wanted = (
            options.get("user") if source is not None and source.name == "wifi_sniffer" else None
        )
        if wanted and self.user and wanted != self.user:
            raise self._wrong(
                f"wifi_sniffer: user: {wanted}, but the service is to run as {self.user}: leave one out"
            )
        self.user = self.user or wanted or USER

    def _wrong(self, text: str) -> ConfigError:
        return ConfigError([Problem(self.config.file, 0, 0, text)])

    def _sink(self, steps: list[Step]) -> str:
        sinks = [step.label for step in steps if step.cls and issubclass(step.cls, Sink)]
        if self.sink in sinks:
            return str(self.sink)
        if self.sink is None and len(sinks) == 1:
            return sinks[0]
        if self.sink is None and sinks:
            raise self._wrong(f"there are several sinks; name one: {', '.join(sinks)}")
        if self.sink is None:
            raise self._wrong("there is no sink below a topic")
        raise self._wrong(f"no sink '{self.sink}' below the last topic{suggest(self.sink, sinks)}")

    @property
    def name(self) -> str:
        tail = "-" + re.sub("[^A-Za-z0-9_.]", "-", self.sink) if self.sink else ""
        return f"datastalker-{self.role}{tail}.service"

    @property
    def capabilities(self) -> str:
        """CAP_NET_RAW to hear, CAP_NET_ADMIN to set modes and channels."""
        source = self.source
        if source is None or not _live(source):
            return ""
        hears = source.name == "wifi_sniffer"
        sets = hears and (source.options["hopper"] or source.options["monitor"] == "auto")
        return "CAP_NET_RAW CAP_NET_ADMIN" if sets else "CAP_NET_RAW"

    @property
    def folders(self) -> list[Path]:
        """What it writes to, beside its own STATE."""
        found = {path for path in self._folders() if not _within(path, (STATE,))}
        return sorted(found)

    def _folders(self) -> Iterator[Path]:
        settings = self.config.settings
        if self.role == "agent" and self.config.agent["spool_directory"] is not None:
            yield self._path(self.config.agent["spool_directory"])
        for step in self.steps:
            if step.name == "csv" and self.sink in (None, step.label):
                yield self._path(step.options["directory"])
        handlers = (settings["logging"] or {}).get("handlers") or {}
        files = [each.get("filename") for each in handlers.values()] + [settings["log_file"]]
        yield from (self._path(file).parent for file in files if file)

    def _path(self, name: str) -> Path:
        if name.startswith("~"):
            text = (
                f"{name}: ~ is the home of who runs it, and a service has none; write it out, or "
            )
            raise self._wrong(text + f"leave it out: what is relative is in {STATE}")
        return STATE / name

    def unit(self) -> str:
        """The unit's text."""
        file = Path(self.config.file).absolute()
        homes = [self.python, self.python.resolve(), file, *self.folders]
        homes += [self.checkout] if self.checkout else []
        admits = self.capabilities
        words = [str(self.python), "-P", "-m", *self.words(file)]
        return _UNIT.read_text(encoding="utf-8").format(
            name=self.name,
            what=f"{self.role} {self.sink or ''}".strip() + f" of {self.config.settings['name']}",
            command=" ".join(_quoted(word).replace("$", "$$") for word in words),
            environment="\n".join(self._environment(file)),
            restart="always" if self.source is None or _live(self.source) else "on-failure",
            memory=self._memory(),
            user=self.user,
            capabilities=admits,
            state=STATE.name,
            state_path=STATE,
            writable="".join(f"ReadWritePaths={_quoted(str(path))}\n" for path in self.folders),
            umask="0027" if self.role in ("sink", "run") else "0077",
            home="read-only" if any(_within(path, _HOMES) for path in homes) else "yes",
            tmp="no" if any(_within(path, _TEMPORARY) for path in homes) else "yes",
            private_users="" if admits else "PrivateUsers=yes\n",
            capset=_CAPSET if admits else "",
            families="AF_UNIX AF_INET AF_INET6 AF_NETLINK" + " AF_PACKET" * bool(admits),
        )

    def words(self, file: Path) -> list[str]:
        """The module to run, and its arguments."""
        if self.role == "worker":
            return ["faust", "-A", "processors", "worker"]
        words = {"agent": ["capture"], "run": ["run", "-q"], "sink": ["sink", str(self.sink)]}
        return ["datastalker", *words[self.role], "-c", str(file)]

    def _environment(self, file: Path) -> Iterator[str]:
        yield f"EnvironmentFile=-{ENVIRONMENT}"
        if self.checkout:
            yield f"Environment={_quoted(f'PYTHONPATH={self.checkout}')}"
        if self.role == "worker":
            yield f"Environment={_quoted(f'DATASTALKER_CONFIG={file}')}"

    def _memory(self) -> str:
        """An agent's batches take up to four times `queue_mb`, beside what it takes anyway."""
        return f"{128 + 4 * self.config.agent['queue_mb']:.0f}M" if self.role == "agent" else "50%"


def role_of(config: Config) -> str:
    """What a machine runs of a configuration, unless it is told: the agent, or, where there is no
    topic, all of it in one process."""
    return "agent" if len(segments.segments(config)) > 1 else "run"


def _live(source: Step) -> bool:
    return source.name != "pcap" and bool(getattr(source.cls, "live", False))


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _within(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _quoted(word: str) -> str:
    """As systemd reads it: % stands for something, and so do blanks and quotes."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./$-]+", word, re.A):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
