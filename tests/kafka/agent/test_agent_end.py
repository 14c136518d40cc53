"""How an agent ends: when it can't start, when the broker is away, when it was away once."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from capture_agent import agent as module
from capture_agent.agent import Agent
from capture_agent.frame import FrameParser
from capture_agent.outbox import GIVEN_UP, TIMED_OUT
from datastalker import config as configuration
from datastalker.errors import BrokerError, RegistryError
from datastalker.message import Message
from datastalker.pipeline import Pipeline, SourceStage
from infra.local import Kafka

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]


@Pipeline.register_stage("still_air")
class StillAir(SourceStage):
    """Hears nothing, and notes what is done with it."""

    live = True
    done: ClassVar[list[str]] = []

    def open(self) -> None:
        self.done.append("open")

    def run(self) -> Iterator[list[Message]]:
        while True:
            time.sleep(0.02)
            yield []

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture(autouse=True)
def done() -> Iterator[list[str]]:
    yield StillAir.done
    StillAir.done.clear()


def live(make_node: Make, kafka: Kafka, **agent: Any) -> Any:
    node = make_node(kafka, 0, source="still_air")
    return node.ready(linger_ms=0, status_seconds=60, **agent)


def agent_of(node: Any) -> Agent:
    return Agent(configuration.load(str(node.file)))


def hear(agent: Agent, count: int) -> None:
    """So many frames come, and are on their way at once."""
    ack = b"\0\0\x08\0\0\0\0\0\xd4\0\0\0\2\0\0\0\0\1"
    now = time.time_ns() // 1000
    parsed = FrameParser(127, {"sensor": "porch"}).parse([(now, ack, len(ack))] * count)
    agent.pipeline.source_stats.sent += count
    agent.pipeline.feed(parsed)
    turn(agent)


def turn(agent: Agent) -> None:
    time.sleep(0.03)
    agent.turn()


def test_one_that_can_not_start_closes_its_source(
    kafka: Kafka, make_node: Make, done: list[str]
) -> None:
    """An interface in monitor mode that it made goes, and a card that it switched is put back."""
    node = make_node(kafka, 0, source="still_air")
    node.write()

    with pytest.raises(BrokerError, match="stalk topics apply"):
        agent_of(node)

    assert done == ["open", "close"]


_AIR = '''\
from pathlib import Path
from datastalker.pipeline import Pipeline, SourceStage

@Pipeline.register_stage("air_of_here")
class Air(SourceStage):
    """Notes in the folder what is done with it."""
    live = True
    def open(self):
        Path("open").touch()
    def run(self):
        yield from ()
    def close(self):
        Path("close").touch()
'''


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ended_while_it_waits_for_the_broker_closes_its_source(
    make_node: Make, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = SimpleNamespace(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        node = make_node(broker, 0, source="air_of_here", settings={"plugins": ["air.py"]})
        (node.folder / "air.py").write_text(_AIR)
        node.write()
        process = node.start(cwd=node.folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
        make_node.until((node.folder / "open").exists, "the source")
        begin = time.monotonic()
        process.send_signal(number)
        said = make_node.end(process)

    assert time.monotonic() - begin < 4  # it would wait for 8 s
    assert said.code == 0
    assert said.text == f"stopped: {number.name}, before anything was captured\n"
    assert (node.folder / "close").exists()


def test_one_that_can_not_start_leaves_its_spool_to_the_next(kafka: Kafka, make_node: Make) -> None:
    nobody = {"schema_registry": {"url": "http://127.0.0.1:1"}}
    node = make_node(kafka, 0, source="still_air", settings=nobody)
    node.ready(spool_directory=str(node.folder / "spool"))

    for _ in range(2):
        with pytest.raises(RegistryError, match="can't be reached"):
            agent_of(node)


def test_who_lost_frames_long_ago_delivers_the_last_all_the_same(
    frail: Kafka, make_node: Make, paused: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(live(make_node, frail, delivery_timeout_seconds=1))
    paused()
    hear(agent, 10)
    make_node.until(lambda: turn(agent) or agent.balance().dropped, "a loss")
    with caplog.at_level(logging.ERROR, "datastalker.agent"):
        agent.reporter.report("running")
    frail.resume()
    make_node.until(lambda: hear(agent, 1) or agent.balance().published, "the broker")

    hear(agent, 3)
    before = agent.balance()
    agent.pipeline.stop("the test")
    agent.close()

    lost = before.dropped[TIMED_OUT]
    after = agent.balance()
    assert after.dropped == {TIMED_OUT: lost}
    assert after.published == after.captured - lost
    assert f"frames were dropped: {TIMED_OUT} 10" in caplog.text


def test_what_is_live_does_not_wait_for_ever_for_a_broker_that_is_away(
    frail: Kafka,
    make_node: Make,
    paused: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_OVER_SECONDS", 1.0)
    agent = agent_of(live(make_node, frail, delivery_timeout_seconds=600))
    paused()
    hear(agent, 10)

    begin = time.monotonic()
    agent.close()

    assert time.monotonic() - begin < 30
    assert agent.balance().dropped == {GIVEN_UP: 10}
