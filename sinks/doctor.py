"""What `stalk doctor` looks at for sinks: their folders, the servers of Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from datastalker import doctor_page, pages
from datastalker.config import Config, Step, build_sink
from datastalker.errors import DataStalkerError
from datastalker.finding import Check, Finding, failed, folder, of_error, ok, warning
from datastalker.segments import Segment
from datastalker.stage import Sink
from datastalker.stats import Stats
from sinks.bulk import Bulk
from sinks.elasticsearch import Elasticsearch

_SECONDS = 5.0
_VERSIONS = (8, 9)


def checks(config: Config, segment: Segment) -> list[Check]:
    """What the sinks of a segment need."""
    found = []
    for step in segment.steps if segment.role in ("sinks", "all", "run") else ():
        if step.name == "csv":
            directory = Path(step.options["directory"]).expanduser().absolute()
            # Files of several types and partitions are open at a time; this is one of them
            wants = step.options["rotate_mb"] or 256
            look = partial(folder, step.label, directory, "csv: directory", wants)
            found.append(Check(step.label, look, "is the disk of csv: directory still there?"))
        elif step.name == "elasticsearch" and find_spec("elasticsearch"):  # else `packages` says it
            remedy = "see elasticsearch: hosts; do the servers live, does a firewall stand between?"
            look_at = partial(_elasticsearch, config, step)
            found.append(Check(step.label, look_at, remedy))
        if segment.role == "sinks" and step.cls and issubclass(step.cls, Sink):
            found += doctor_page.checks(step.label, pages.of_sink(config, step.label))
    return found


def _elasticsearch(config: Config, step: Step) -> Iterator[Finding]:
    sink = build_sink(config, step, Stats())
    assert isinstance(sink, Elasticsearch)
    sink.timeout_seconds = min(sink.timeout_seconds, _SECONDS)
    at = ", ".join(sink.hosts)
    try:
        bulk = sink.connect()
        yield from _cluster(step.label, at, bulk, sink.replicas)
        yield _templates(config, step.label, bulk, sink)
    except DataStalkerError as error:
        remedy = "correct hosts, username, password, api_key or ca of elasticsearch; or start it"
        yield of_error(step.label, f"{at} can't be used", error, remedy)
    finally:
        sink.close()


def _cluster(label: str, at: str, bulk: Bulk, replicas: int) -> Iterator[Finding]:
    told = bulk.health()
    if told is None:
        cause = (
            "the user that is configured has not the cluster privilege 'monitor'; sinks need none"
        )
        yield warning(
            label, f"{at} answers, and does not tell its health", cause, "give it, or leave it"
        )
        return
    status, nodes, versions = told
    servers = "1 server" if nodes == 1 else f"{nodes} servers"
    found = f"{at}: {status}, {servers}, version {', '.join(versions) or 'not told'}"
    old = [v for v in versions if int(v.partition(".")[0]) not in _VERSIONS]
    if old:
        yield failed(
            label, found, f"this client speaks to 8 and 9, not {', '.join(old)}", "update it"
        )
    elif status == "red":
        cause = "some indices can't be written or searched"
        remedy = f"see {at}/_cluster/allocation/explain; is a server missing, is its disk full?"
        yield failed(label, found, cause, remedy)
    elif replicas >= nodes:
        cause = f"replicas: {replicas} needs {replicas + 1} servers: copies will have no place"
        yield warning(label, found, cause, f"write replicas: {nodes - 1}, or start more servers")
    else:
        yield ok(label, found)


def _templates(config: Config, label: str, bulk: Bulk, sink: Elasticsearch) -> Finding:
    about = f"{label}, templates"
    try:
        states = {name: bulk.template(name, body) for name, body in sink.templates().items()}
    except DataStalkerError as error:
        remedy = "correct what is under elasticsearch:"
        found = of_error(about, "can't be looked at", error, remedy)
        return found if sink.setup else replace(found, level="warning")
    wrong = [f"{name} is {state}" for name, state in states.items() if state != "as it should be"]
    remedy = f"stalk elasticsearch setup -c {config.file}"
    if not wrong:
        return ok(about, f"{len(states)} are as they should be")
    if not sink.setup:
        cause = "setup: false, so the sink does not make them, and fields would be guessed"
        return failed(about, "; ".join(wrong), cause, remedy)
    if "different" in states.values():
        cause = "the sink changes them at its start; indices that exist keep what they have"
        return warning(about, "; ".join(wrong), cause, f"{remedy}, or start the sink")
    return ok(about, f"{len(wrong)} are missing: the sink makes them at its start")
