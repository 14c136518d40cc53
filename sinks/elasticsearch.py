"""`elasticsearch`: messages as documents, one index a message type and day.

A document's `_id` is the message's id and it is only ever created: reading, replaying or crashing
again adds none. Every document has one of three ends, so that
consumed = indexed + already_indexed + refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Literal

from datastalker.errors import RetryLater
from datastalker.message import FIELDS, Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, Sink
from datastalker.stage import Refused
from datastalker.stats import Stats
from sinks.bulk import Bulk, Verdicts
from sinks.documents import Documents
from sinks.mapping import SHORTCUTS, properties, template

_FIRST_SECONDS, _LAST_SECONDS = 0.5, 30.0


def _hosts(value: list[str]) -> str | None:
    for host in value:
        if not host.startswith(("http://", "https://")):
            return f"must begin with http:// or https://, as in http://localhost:9200, not '{host}'"
    return None if value else "must name one at least"


def _index(value: str) -> str | None:
    if (
        value
        and value == value.lower()
        and not set(value) & set(' "*\\<|,>/?#:')
        and value[0] not in "-_+."
    ):
        return None
    return f"can't be the beginning of an index's name: small letters, digits, '-', not '{value}'"


@Pipeline.register_stage("elasticsearch")
class Elasticsearch(Sink):
    """Indexes each message as a document in `INDEX-TYPE-DATE`, such as `datastalker-frame-2026.03.02`.

    Every key of the contract, and those that the pipeline's stages add, has a field with an explicit
    mapping; other keys are under `extra`. Nothing is mapped by guess.
    """

    overlaps = True

    hosts: list[str] = option(["http://localhost:9200"], "where the servers are", check=_hosts)
    index: str = option("datastalker", "what the names of all indices begin with", check=_index)
    period: Literal["day", "month", "year", "none"] = option(
        "day", "an index for each, by the message's own time"
    )
    data_stream: bool = option(False, "data streams INDEX-TYPE instead of indices by time")
    mapping: dict[str, str | dict] = option(  # type: ignore[type-arg]
        {},
        "by key, for keys of your own: str, str_analyzed, str_not_analyzed, integer, date, double, "
        "boolean, geo, or a mapping in Elasticsearch's format",
    )
    username: str | None = option(None, "user name, if the servers want one")
    password: str | None = option(None, "password: ${NAME} or ${file:PATH}", secret=True)
    api_key: str | None = option(None, "API key, instead of both", secret=True)
    ca: str | None = option(None, "file with the certificates of who signs the servers', for https")
    verify_certificates: bool = option(True, "false: trust any certificate, for a try only")
    setup: bool = option(True, "make the index templates at the start, if they are not there")
    shards: int = option(1, "primary shards of an index", minimum=1)
    replicas: int = option(1, "copies of each; 0 for a single server", minimum=0)
    refresh_seconds: float = option(5, "after so long a document can be found", minimum=0.1)
    bulk_documents: int = option(1000, "documents a request", minimum=1)
    concurrency: int = option(4, "requests at a time", minimum=1)
    timeout_seconds: float = option(30, "how long a request may take", minimum=1)

    def __init__(self, stats: Stats, **options: Any) -> None:
        self._bulk: Bulk | None = None
        self._documents: Documents | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._seconds = _FIRST_SECONDS

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        for key, value in config["mapping"].items():
            if isinstance(value, str) and value not in SHORTCUTS:
                known = ", ".join(SHORTCUTS)
                yield "mapping", f"'{key}': '{value}' is none of {known}, nor a mapping"
        if config["api_key"] and (config["username"] or config["password"]):
            yield "api_key", "give api_key, or username and password, not both"
        if bool(config["username"]) != bool(config["password"]):
            yield "username", "give username and password, or neither"

    def templates(self) -> dict[str, dict[str, Any]]:
        """The index templates by their names: one a message type of the contract, one for others."""
        settings = {
            "number_of_shards": str(self.shards),
            "number_of_replicas": str(self.replicas),
            "refresh_interval": f"{round(self.refresh_seconds * 1000)}ms",
        }
        stream = self.data_stream
        end = "" if stream or self.period == "none" else "-*"
        found = {}
        for kind in FIELDS:
            fields = properties(kind, self.added, self.mapping)
            found[f"{self.index}-{kind}"] = template(
                f"{self.index}-{kind}{end}", fields, settings, priority=300, stream=stream
            )
        others = properties("", (), self.mapping)
        found[f"{self.index}-other"] = template(
            f"{self.index}-*", others, settings, priority=200, stream=stream
        )
        return found

    def open(self) -> None:
        self.connect()

    def connect(self) -> Bulk:
        """The servers; nothing is asked of them yet. Raises DataStalkerError where the client's
        package is missing, OutputError where it can't be made of the options."""
        if self._bulk is None:
            self._bulk = Bulk(
                self.hosts,
                self.timeout_seconds,
                user=(self.username, self.password) if self.username else None,
                api_key=self.api_key,
                ca=self.ca,
                verify=self.verify_certificates,
            )
        return self._bulk

    def set_up(self) -> dict[str, str]:
        """Make what templates are missing or differ; gives what was done by their names.

        Raises RetryLater while the servers are away, OutputError where they refuse.
        """
        return {
            name: self.connect().put_template(name, body) for name, body in self.templates().items()
        }

    def write(self, batch: list[Message]) -> list[Refused]:
        with self._lock:
            bulk, documents, pool = self._begin(batch)
        size = self.bulk_documents
        chunks = [batch[at : at + size] for at in range(0, len(batch), size)]
        found = Verdicts()
        for verdicts in pool.map(lambda chunk: bulk.write(chunk, documents), chunks):
            found.add(verdicts)
        with self._lock:
            return self._counted(found)

    def _begin(self, batch: list[Message]) -> tuple[Bulk, Documents, ThreadPoolExecutor]:
        bulk = self.connect()
        if self._documents is None or self._pool is None:
            if self.setup:
                self._trying(self.set_up, batch)
            known = {kind: properties(kind, self.added, self.mapping) for kind in ("", *FIELDS)}
            self._documents = Documents(self.index, self.period, self.data_stream, known)
            self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="elasticsearch")
        return bulk, self._documents, self._pool

    def _counted(self, found: Verdicts) -> list[Refused]:
        for name in ("indexed", "already_indexed"):
            self.stats.incr(f"elasticsearch/{name}", getattr(found, name))
        self.stats.incr("elasticsearch/refused", len(found.refused))
        if found.fatal is not None:
            raise found.fatal
        if found.later:
            self.stats.incr("elasticsearch/retried", len(found.later))
            raise self._later(found.reason, found.later, found.refused, found.indexed > 0)
        self._seconds = _FIRST_SECONDS
        return found.refused

    def _trying(self, call: Callable[[], Any], batch: list[Message]) -> None:
        try:
            call()
        except RetryLater as later:
            raise self._later(str(later), batch, [], False) from later

    def _later(
        self, reason: str, rest: list[Message], refused: list[Refused], progress: bool
    ) -> RetryLater:
        """Longer from time to time, unless it got on."""
        seconds = _FIRST_SECONDS if progress else self._seconds
        self._seconds = min(seconds * 2, _LAST_SECONDS)
        return RetryLater(reason, seconds, rest, refused)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if self._bulk is not None:
            self._bulk.close()
        self._pool = self._bulk = self._documents = None

    def result(self) -> str:
        names = ("indexed", "already_indexed", "refused")
        counts = [int(self.stats.get(f"elasticsearch/{name}")) for name in names]
        said = f"{counts[0]:,} indexed, {counts[1]:,} were there already, {counts[2]:,} refused"
        return f"{said}; {', '.join(self.hosts)}: {self.index}-*"
