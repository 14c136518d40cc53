"""The Faust app: made from the YAML when Faust asks for it, checked against the broker at its start."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl
import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any, NoReturn

import faust
from faust.app.base import BootStrategy
from faust.cli.worker import worker as start_command

from datastalker import __version__, broker, pages, segments
from datastalker import config as configuration
from datastalker.collector import spare_the_collector
from datastalker.config import Config
from datastalker.errors import ConfigError, DataStalkerError, Problem
from datastalker.page import Page
from datastalker.segments import Segment
from datastalker.text import printable
from datastalker.topics import TopicPlan
from datastalker.wire import framing_of
from processors import health, logs
from processors.bridge import Bridge
from processors.sending import BATCH_BYTES, REQUEST_BYTES
from processors.status import LEAVING, RECOVERING, RUNNING, Status

log = logging.getLogger("datastalker.worker")

CONFIG, SEGMENT = "DATASTALKER_CONFIG", "DATASTALKER_SEGMENT"
"""Environment: the configuration file; the names of the segments to run, with commas between."""

# Faust begins with a table: folders that are never made, a page and a log level that are not ours.
_command: Any = start_command
_command.on_worker_created = lambda *_: None

_MEASURE_SECONDS = 2.0
_SHOW_SECONDS = 5.0


class LoggedWorker(faust.Worker):
    """Faust's process, without its spinner: that would mute the log.

    Standard output stays what it is: Faust would put what is written there into the log.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "redirect_stdouts": False})
        self.spinner = None

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """The log's level is the configuration's."""


class WithoutWeb(BootStrategy):
    """Faust's own web server shows tables to whoever asks; ours is `health`."""

    enable_web = False


class _Unread(dict[Any, Any]):
    """Stands for Faust's note of what it read last: it has read nothing, so it leaves nothing out."""

    def __missing__(self, key: Any) -> None:
        return None

    def __getitem__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        """Not noted."""


class WorkerApp(faust.App):
    """A Faust app that runs segments."""

    BootStrategy = WithoutWeb
    config: Config
    status: Status
    plans: list[TopicPlan]
    bridges: list[Bridge]
    topic_ids: Mapping[str, str]
    """Of the topics at the start."""

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    def _new_consumer(self) -> Any:
        """A consumer that goes on where the state says.

        Faust goes on from what was committed, and leaves out what is before the last message that
        it read: after a rebalance that loses messages (see `reading`).
        """
        consumer: Any = super()._new_consumer()
        consumer._read_offset = _Unread()
        seek = consumer.perform_seek

        async def perform_seek() -> None:
            await seek()
            for bridge in self.bridges:
                await bridge.seek(consumer)

        consumer.perform_seek = perform_seek
        return consumer

    async def on_first_start(self) -> None:
        """Refuse what would hang later: the broker away, a topic missing."""
        status, names = self.status, [bridge.segment.name for bridge in self.bridges]
        servers = self.config.kafka["bootstrap_servers"]
        log.info("DataStalker %s: a worker of %s at %s", __version__, ", ".join(names), servers)
        try:
            with broker.connect(self.config) as found:
                found.require(self.plans)
                described = found.describe(plan.name for plan in self.plans)
                self.topic_ids = {name: topic.id for name, topic in described.items()}
            pages.of_worker(self.config).serve(
                Page(
                    "worker",
                    self.config.settings["name"],
                    ", ".join(names),
                    status.samples,
                    lambda: status.health,
                    status.places,
                )
            )
        except DataStalkerError as error:
            _refuse(error, at_once=True)
        spare_the_collector()
        session = self.config.workers["session_timeout_seconds"]
        health.watch(self.status, health.die, session)
        # Tasks of the app would start when state is read.
        self.add_future(self._keep_time())
        self.add_future(self._keep_account())
        await super().on_first_start()

    async def stop(self) -> None:
        """Finish what is in hand; not for ever, where the broker or the registry is away.

        Faust itself stops the producer before all was sent that agents had begun.
        """
        self.status.enter(LEAVING)
        for bridge in self.bridges:
            await bridge.leave()
        await super().stop()

    async def _keep_time(self) -> None:
        """Say that the event loop lives, and how far recovery is."""
        status, tables = self.status, self.tables
        shown = monotonic()
        while not self.should_stop:
            status.beat = now = monotonic()
            # What it wrote itself since then makes Faust's count negative
            remaining = tables.recovery.active_remaining_total()  # type: ignore[attr-defined]
            status.recovery_remaining = max(0, remaining)
            status.enter(RUNNING if self._reads() else RECOVERING)
            if status.phase == RECOVERING and now - shown > _SHOW_SECONDS:
                shown = now
                log.info("recovering: %d records of state remain", status.recovery_remaining)
            await asyncio.sleep(0.5)

    async def _keep_account(self) -> None:
        """Ask the broker how much waits, and tell it what is done. It may not answer for long."""
        answered, away = monotonic(), False
        while not self.should_stop:
            await asyncio.sleep(_MEASURE_SECONDS)
            if not self._reads():
                continue
            silent = False
            for bridge in self.bridges:
                try:
                    await bridge.account()
                except Exception as error:  # again soon; until then what was known counts
                    log.debug("lag can't be measured, or offsets committed: %r", error)
                    silent |= isinstance(error, TimeoutError) or getattr(error, "retriable", False)
            if silent and not away:
                log.warning("the broker does not answer; the worker goes on when it does")
            elif away and not silent:
                log.warning("the broker answers again, after %.0f s", monotonic() - answered)
            away = silent
            if not silent:
                answered = monotonic()

    def _reads(self) -> bool:
        """It has its partitions and their state."""
        return bool(self.tables.actives_ready) and not self.rebalancing


def app_from_environment(environment: Mapping[str, str] = os.environ) -> faust.App:
    """The app that `faust -A processors` runs. What is wrong is shown as sentences, and ends it."""
    try:
        return make_app(
            configuration.load(environment.get(CONFIG) or "config.yaml", named_by=f"{CONFIG}=FILE"),
            [name.strip() for name in environment.get(SEGMENT, "").split(",") if name.strip()],
        )
    except DataStalkerError as error:
        _refuse(error)


def make_app(config: Config, names: list[str] | None = None) -> faust.App:
    """An app that runs the segments of these names, or those that the configuration says.

    Raises ConfigError.
    """
    if config.errors:
        raise ConfigError(config.errors)
    chosen = choose(config, names)
    for problem in config.problems:
        print(problem, file=sys.stderr)
    kafka, workers = config.kafka, config.workers
    session = workers["session_timeout_seconds"]
    compression = kafka["compression"]
    app = WorkerApp(
        app_id(config, chosen),
        broker=[f"kafka://{one.strip()}" for one in kafka["bootstrap_servers"].split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 4,
        broker_rebalance_timeout=max(session, 30.0),
        consumer_group_instance_id=workers["instance_id"],
        consumer_max_fetch_size=8 << 20,
        producer_compression_type=None if compression == "none" else compression,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=REQUEST_BYTES,
        store="memory://",
        table_standby_replicas=0,
        stream_recovery_delay=0.0,
        # Faust's own watch looks at topics that are acked, ours are not, and calls a state topic
        # stuck that is only written to. `health` watches.
        stream_processing_timeout=math.inf,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        Worker=LoggedWorker,
        logging_config=logs.configuration(config),
    )
    app.config = config
    app.status = Status(workers["stall_seconds"], workers["recovery_seconds"], session)
    app.plans = [plan for segment in chosen for plan in segments.segment_topics(config, segment)]
    framing = framing_of(config.settings.get("schema_registry"))
    app.bridges = [Bridge(app, config, segment, framing, app.status) for segment in chosen]
    return app


def choose(config: Config, names: list[str] | None = None) -> list[Segment]:
    """The segments that a worker runs. Raises ConfigError."""
    workers = [s for s in segments.segments(config) if s.role == "worker"]
    names = names or config.workers["segments"]
    chosen = [segment for segment in workers if not names or segment.name in names]
    known = ", ".join(segment.name for segment in workers)
    wrong = [name for name in names if name not in {segment.name for segment in chosen}]
    problems = [f"no worker runs a segment '{name}'; there are: {known}" for name in wrong]
    if not workers:
        problems = ["nothing stands between two topics, so there is nothing for workers to run"]
        if segments.segments(config)[-1].role == "run":
            problems[0] += "; `stalk run` runs this file, in one process"
    for segment in chosen:
        if len({plan.partitions for plan in segment.source.values()}) > 1:
            problems.append(
                f"the topics that segment '{segment.name}' reads have different numbers of "
                "partitions; a worker needs the same for all: see 'topics'"
            )
    if problems:
        raise ConfigError([Problem(config.file, 0, 0, text) for text in problems])
    return chosen


def app_id(config: Config, chosen: list[Segment]) -> str:
    """Name of the consumer group: the segment's; of several in one worker, all their numbers."""
    if len(chosen) == 1:
        return chosen[0].name
    return "-".join([config.settings["name"], *(str(segment.number) for segment in chosen)])


def _credentials(kafka: dict[str, Any]) -> Any:
    protocol = kafka["security_protocol"]
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=kafka["ssl_ca"])
        if kafka["ssl_certificate"] is not None:
            context.load_cert_chain(kafka["ssl_certificate"], kafka["ssl_key"])
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=kafka["sasl_username"],
        password=kafka["sasl_password"],
        mechanism=kafka["sasl_mechanism"],
        ssl_context=context,
    )


def _refuse(error: DataStalkerError, *, at_once: bool = False) -> NoReturn:
    """Show what is wrong and end; `at_once` where Faust would make a traceback of it."""
    if at_once:  # the log is set up
        log.error("%s", printable(str(error)))
        logging.shutdown()
        os._exit(error.exit_code)
    text = str(error) if isinstance(error, ConfigError) else f"worker: {printable(str(error))}"
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(error.exit_code)
