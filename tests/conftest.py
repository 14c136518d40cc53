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
