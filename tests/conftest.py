"""Real servers for tests, started once a test session by the first test that asks.

`kafka`, `elasticsearch` and `registry` are shared by all tests, those of other xdist workers too:
give topics, groups and indices names of your own. A test that kills or fills a server takes its own:
`own_kafka()`, or `own_stack()` for any of the three. No test is skipped where a server is missing.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from infra.local import Elasticsearch, Kafka, Radio, Registry, Stack

# Started in the background by a shell, Ctrl-C is ignored, here and in all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where the machine is busy an example takes long, which says nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LONGEST = [
    "kafka/test_workers",
    "kafka/agent/test_agent_spool",
    "kafka/sinks/test_sink_elasticsearch",
    "stack/test_stack",
    "simulator/test_score_against_truth",
    "kafka/test_secured",
    "kafka/test_replay",
    "kafka/test_same_result",
    "doctor/test_doctor",
    "kafka/test_replay_edges",
    "doctor/test_doctor_servers",
    "kafka/agent/test_agent",
    "kafka/test_dedupe_partitions",
    "kafka/sinks/test_sink_csv",
    "wire/test_wire_captures",
    "docker/test_compose_runs",
    "kafka/agent/test_outage_whole",
    "kafka/agent/test_agent_outage",
    "doctor/test_doctor_live",
    "kafka/agent/test_agent_pseudonyms",
    "docs/test_site",
    "kafka/test_pages",
    "kafka/test_broker_faults",
    "kafka/agent/test_agent_live",
    "core/test_cli",
    "kafka/agent/test_agent_reboot",
]
"""The files that take longest in a whole run, by its `--durations=0`."""


def pytest_xdist_auto_num_workers() -> int:
    """Three for each core: most of the long tests wait for servers. Beyond eight, the longest file
    alone decides. Each may have a broker of its own: 1.5 GiB with all that it starts."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(8, 3 * len(os.sched_getaffinity(0)), memory // (3 << 29)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where workers share the tests, begin the longest files first, so that all end together."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        here = Path(__file__).parent
        places = {here / f"{name}.py": place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The servers that all tests share, none of them started yet."""
    directory, session = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder and process of the whole session
        directory, session = directory.parent, os.getppid()
    return Stack(directory / "stack", quick=True).end_with(session)


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> Kafka:
    """A Kafka broker: `kafka.bootstrap_servers`."""
    return stack.kafka.start()


@pytest.fixture(scope="session")
def elasticsearch(stack: Stack) -> Elasticsearch:
    """An Elasticsearch node: `elasticsearch.url`."""
    return stack.elasticsearch.start()


@pytest.fixture(scope="session")
def registry(stack: Stack) -> Registry:
    """A schema registry: `registry.url`."""
    return stack.registry.start()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Callable[[], Stack]]:
    """Makes stacks that are this test's alone, gone at its end; start what is needed of each."""
    stacks: list[Stack] = []

    def make() -> Stack:
        stacks.append(Stack(tmp_path / f"stack-{len(stacks)}", quick=True).end_with(os.getpid()))
        return stacks[-1]

    yield make
    for each in stacks:
        each.stop(wipe=True)


@pytest.fixture
def own_kafka(own_stack: Callable[[], Stack]) -> Callable[[], Kafka]:
    """Starts brokers that are this test's alone, to kill, pause and restart."""
    return lambda: own_stack().kafka.start()


_NUMBER = itertools.count()


@pytest.fixture
def make_radio() -> Iterator[Callable[..., Radio]]:
    """Makes monitor interfaces, gone at the end: `make_radio()`, `make_radio(radio.BARE)`. As root."""
    radios: list[Radio] = []

    def make(*arguments: int, name: str = "") -> Radio:
        name = name or f"ds{os.getpid() % 10**6}m{next(_NUMBER)}"
        radios.append(Radio(name, *arguments))
        return radios[-1]

    yield make
    for each in radios:
        each.remove()
