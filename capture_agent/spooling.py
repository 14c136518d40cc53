"""The way out of an agent as its configuration wants it: with a spool or without."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import schemas
from capture_agent.gate import Gate
from capture_agent.outbox import KafkaOutbox, Outbox, Stamped
from capture_agent.spool import Spool
from capture_agent.spool_outbox import SpoolOutbox
from datastalker.broker import SECONDS, connect
from datastalker.config import Config
from datastalker.errors import BrokerError, OutputError, RegistryError
from datastalker.segments import segments, sensors_topic
from datastalker.topics import SENSOR, TopicPlan
from datastalker.wire import Framing, framing_of, schema_name
from datastalker.wire.framing import Writer, canonical, fingerprint

log = logging.getLogger("datastalker.agent")

_START_SECONDS = 2.0
"""For how long an agent that has a spool waits for the broker before it captures. Meanwhile what is
heard waits in the kernel, which hands a block over each 50 ms, full or not: 8 MiB last for 12 s."""


def open_outbox(
    config: Config, session: str, plans: Iterable[TopicPlan], stamped: Stamped
) -> tuple[Outbox, SpoolOutbox | None]:
    """The outbox, and the same again if it has a spool.

    Raises BrokerError where the broker has not the topics of `plans`, or is away and there is no
    spool; OutputError where there is one and it can't be used.
    """
    wanted = list({plan.name: plan for plan in plans}.values())

    def check(seconds: float = SECONDS) -> None:
        with connect(config, seconds) as broker:
            broker.require(wanted)

    directory = spool_directory(config)
    if directory is None:
        check()
        kafka = kafka_outbox(config, "agent")
        kafka.stamped = stamped
        return kafka, None
    spool = Spool(directory, int(config.agent["spool_mb"] * (1 << 20)))
    with ExitStack() as opened:
        opened.callback(spool.close)
        if spool.batches:
            log.info("%d batches of an earlier run wait in %s", spool.batches, directory)
        trouble = None
        try:
            check(_START_SECONDS)
        except BrokerError as error:
            if not error.retriable:
                raise
            log.warning("batches go to %s until the broker is there: %s", directory, error)
            trouble = error
        kafka = kafka_outbox(config, "agent")
        opened.pop_all()
    kafka.stamped = stamped
    gate = None if trouble is None else Gate(check, trouble)
    outbox = spool_outbox(config, kafka, spool, session, (plan.name for plan in wanted), gate)
    return outbox, outbox


def kafka_outbox(config: Config, who: str) -> KafkaOutbox:
    """A client of the broker. Raises BrokerError where the settings make none."""
    settings = config.agent
    return KafkaOutbox(
        config.kafka,
        config.file,
        f"datastalker-{who}-{config.sensor}",
        settings["delivery_timeout_seconds"],
        settings["queue_mb"],
    )


def spool_outbox(
    config: Config,
    kafka: Outbox,
    spool: Spool,
    session: str,
    topics: Iterable[str],
    gate: Gate | None = None,
) -> SpoolOutbox:
    """`kafka` with a spool beside it."""
    settings = config.agent
    outbox = SpoolOutbox(
        kafka,
        spool,
        session,
        settings["spool_fsync_seconds"],
        drop_oldest=settings["spool_when_full"] == "oldest",
        in_order=settings["spool_order"] == "oldest_first",
        topics=frozenset(topics),
    )
    if gate is not None:
        outbox.wait_for(gate.closed, gate.end)
    return outbox


def drain(config: Config, directory: Path) -> tuple[int, int]:
    """Send what a spool holds. Gives the frames that were sent, and those that were refused.

    Raises BrokerError, and OutputError where the broker does not take it or an agent has it.
    """
    spool = Spool(directory, int(config.agent["spool_mb"] * (1 << 20)))
    plans = [*segments(config)[0].target.values(), sensors_topic(config)]
    wanted = list({plan.name: plan for plan in plans}.values())
    with connect(config) as broker:
        broker.require(wanted)
    kafka = kafka_outbox(config, "spool")
    outbox = spool_outbox(config, kafka, spool, "", (plan.name for plan in wanted))
    seconds = config.agent["delivery_timeout_seconds"]
    why = f"the broker took none for {seconds:g} s (agent: delivery_timeout_seconds)"
    try:
        outbox.finish(seconds, is_over=lambda: False)
    except KeyboardInterrupt:  # what the broker has is noted first: it isn't sent again
        why = "interrupted"
    finally:
        left, trouble = spool.batches, outbox.trouble()
        outbox.drop()
        outbox.close()
    if left:
        text = f"{outbox.earlier_published:,} frames sent; {left:,} batches stay in {directory}: "
        raise OutputError(text + why + (f"; {trouble}" if trouble else ""))
    return outbox.earlier_published, outbox.earlier_dropped


def spool_directory(config: Config) -> Path | None:
    """Where the spool is; None: there is none."""
    directory = config.agent["spool_directory"]
    return None if directory is None else Path(directory).expanduser().absolute()


def framing_for(config: Config, sensors: TopicPlan) -> Framing:
    """How the agent's messages say their schema.

    With a spool an agent can start while the registry is away, if it was there once.
    """
    settings = config.settings.get("schema_registry")
    framing = framing_of(settings)
    directory = spool_directory(config)
    if settings is not None and directory is not None:
        framing = Remembered(framing, settings["url"], directory / "schemas.json")
        framing.prefix(schema_name(SENSOR), sensors.name)  # or the first status would ask for it
    return framing


_REGISTRY_SECONDS = 0.5
"""So long a registry has to answer what is known from an earlier start: nobody reads frames meanwhile,
and one on a machine that is off takes half a minute to be given up."""


class Remembered(Framing):
    """A framing by a registry, whose answers are kept in a file for when it is away."""

    def __init__(self, framing: Framing, url: str, path: Path) -> None:
        self._framing, self._url, self._path = framing, url, path
        self._away = False
        self._prefixes: dict[str, bytes] = {}
        self._known: dict[str, str] = {}
        with suppress(
            OSError, ValueError, TypeError, AttributeError
        ):  # of no or another content: as if new
            for key, value in json.loads(path.read_bytes()).items():
                bytes.fromhex(value)
                self._known[key] = value

    def prefix(self, name: str, topic: str) -> bytes:
        """Raises RegistryError where it is away and was never asked this."""
        schema = fingerprint(canonical(schemas.current(name)).encode())
        key = f"{self._url} {topic} {name} {schema:016x}"
        found = self._prefixes.get(key)
        if found is not None:
            return found
        known = self._known.get(key)
        if known is None:
            found = self._framing.prefix(name, topic)
        else:
            found = self._ask(name, topic) or bytes.fromhex(known)
        self._prefixes[key] = found
        if self._known.get(key) != found.hex():
            self._known[key] = found.hex()
            new = self._path.with_suffix(".new")
            try:
                new.write_text(json.dumps(self._known, indent=1))
                new.replace(self._path)
            except OSError as error:
                log.warning("%s can't be written: %s", self._path, error.strerror)
        return found

    def _ask(self, name: str, topic: str) -> bytes | None:
        """Of what is known: None where the registry is away. Raises RegistryError where it refuses."""
        if self._away:
            return None
        answer: SimpleQueue[bytes | RegistryError] = SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._framing.prefix(name, topic))
            except RegistryError as error:
                answer.put(error)

        Thread(target=ask, name="registry", daemon=True).start()
        try:
            found = answer.get(timeout=_REGISTRY_SECONDS)
        except Empty:
            text = f"the schema registry at {self._url} does not answer"
            found = RegistryError(text, retriable=True)
        if isinstance(found, bytes):
            return found
        if not found.retriable:
            raise found
        self._away = True
        log.warning("%s; going on with the schema ids of an earlier start", found)
        return None

    def writer(self, data: bytes) -> tuple[Writer, int]:
        return self._framing.writer(data)

    def close(self) -> None:
        self._framing.close()
