"""The pages of an agent and of a sink, while they run; a worker's is in test_workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker.cli import main
from datastalker.metrics import METRICS
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from infra.local import Kafka
from infra.whole import balance

ROOT = Path(__file__).resolve().parents[2]
SAID_BY_FEW = {
    "datastalker_agent_channel_time_ratio",  # it hops
    "datastalker_agent_dropped_events_total",
    "datastalker_source_dropped_messages_total",
    "datastalker_source_kernel_dropped_messages_total",
    "datastalker_sink_already_indexed_messages_total",
    "datastalker_sink_indexed_messages_total",
    "datastalker_stage_counter",
}
"""Not there before there is something to count."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def wait_for(found: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 60
    while True:
        try:
            if got := found():
                return got
        except OSError:
            pass
        assert time.monotonic() < end, what
        time.sleep(0.1)


@contextmanager
def process(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(folder / f"{words[0]}.log", "wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "datastalker", *words, "-c", "home.yaml"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(60)
    if words[0] == "capture":
        balance((folder / "capture.log").read_text())


@pytest.fixture
def home(kafka: Kafka, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An agent that replays a scene in ten times its time, and a sink that has what it publishes."""
    name = f"home{uuid.uuid4().hex[:8]}"
    write_scene(Options(minutes=20, sensors=1), tmp_path / "air")
    (capture,) = (tmp_path / "air").glob("sensor-*.pcap")
    document = {
        "name": name,
        "sensor": "attic",
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "partitions": 2},
        "agent": {"http_port": free_port(), "status_seconds": 0.2, "spool_directory": "spool"},
        "sinks": {"http_port": free_port()},
        "pipeline": [
            {"pcap": {"path": str(capture), "speed": 10}},
            "beacon_filter",
            {"topic": f"{name}.frames"},
            {"csv": {"directory": "out"}},
        ],
    }
    (tmp_path / "home.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(SystemExit):
        main(["topics", "apply", "-c", str(tmp_path / "home.yaml")])
    with process(tmp_path, "capture"), process(tmp_path, "sink"):
        yield {**document, "folder": tmp_path}


def test_an_agent_and_a_sink_serve_what_is_documented(home: dict[str, Any]) -> None:
    def samples(role: str) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for one in json.loads(get(home[role]["http_port"], "/metrics?format=json")):
            found.setdefault(one["name"], []).append(one)
        return found

    def value(role: str, name: str) -> float:
        return sum(float(one["value"]) for one in samples(role).get(name, []))

    def documented(role: str) -> set[str]:
        return {n for n, m in METRICS.items() if role in m.served_by or m.served_by == "all"}

    rows = "datastalker_sink_consumed_messages_total"
    wait_for(lambda: value("sinks", rows) > 100, "the sink has messages")
    offset = "datastalker_agent_clock_offset_seconds"
    wait_for(lambda: offset in samples("agent"), "the clock is measured")
    wait_for(lambda: "datastalker_lag" in samples("sinks"), "the lag is measured")

    assert set(samples("agent")) | SAID_BY_FEW >= documented("agent")
    assert set(samples("sinks")) | SAID_BY_FEW >= documented("sink")
    for role, section in (("agent", "agent"), ("sink", "sinks")):
        assert set(samples(section)) <= documented(role)
        for name, each in samples(section).items():
            assert all(set(one["labels"]) == set(METRICS[name].labels) for one in each)
    assert get(home["sinks"]["http_port"], "/readyz") == "running\n"
    assert value("agent", "datastalker_agent_published_frames_total") > 0
    assert abs(value("agent", offset)) < 5


def test_messages_are_shown_at_a_stage_in_a_sink_and_in_a_topic(home: dict[str, Any]) -> None:
    def tap(*words: str) -> list[Any]:
        command = [sys.executable, "-m", "datastalker", "tap", *words, "-c", "home.yaml"]
        said = subprocess.run(
            command, cwd=home["folder"], capture_output=True, text=True, timeout=60
        )
        assert said.returncode == 0, said.stderr
        return [json.loads(line) for line in said.stdout.splitlines()]

    frames = f"{home['name']}.frames"
    for section in ("agent", "sinks"):
        port = home[section]["http_port"]
        wait_for(lambda port=port: get(port, "/readyz"), "they run")

    assert len(tap("beacon_filter", "--limit", "2")) == 2
    assert {m["type"] for m in tap(frames, "--limit", "3", "--filter", "{type: frame}")} == {
        "frame"
    }
    assert {m["sensor"] for m in tap("csv", "--limit", "3")} == {"sensor-hall"}
    assert tap(f"{home['name']}.sensors", "--limit", "1")[0]["key"] == "attic"
    with pytest.raises(json.JSONDecodeError):
        tap("--list")


def test_top_shows_an_agent_and_a_sink_that_run(home: dict[str, Any]) -> None:
    def top(where: list[str], view: str) -> list[str]:
        command = [sys.executable, "-m", "datastalker", "top", *where, "--once", "--view", view]
        command += ["--seconds", "3"]  # the air that the agent reads lasts two minutes
        said = subprocess.run(
            command, cwd=home["folder"], capture_output=True, text=True, timeout=60
        )
        assert said.returncode == 0, said.stderr
        return [re.sub(r"\s{2,}", "|", line) for line in said.stdout.splitlines()]

    agent, sink = (["--url", f"localhost:{home[of]['http_port']}"] for of in ("agent", "sinks"))
    port = home["sinks"]["http_port"]
    wait_for(lambda: "datastalker_lag" in get(port, "/metrics"), "the lag is measured")

    networks = top(agent, "networks")
    assert networks[1].startswith("network|bssid|ch")
    assert any(line.startswith("Maple House|50:c7:bf:") for line in networks)
    devices = top(agent, "devices")
    assert devices[1].startswith("device|vendor")
    assert len(devices) > 4
    sensors = {line.split("|")[0]: line for line in top(agent, "sensors")[2:]}
    assert sensors["attic"].endswith("|running")  # what the agent says of itself
    assert "sensor-hall" in sensors  # whose frames it reads
    stages = {line.split("|")[0]: line.split("|") for line in top(agent, "stages")[1:]}
    assert stages["pcap"][2:4] != ["0", "0"]
    assert "beacon_filter" in stages
    stored = top(sink, "stages")
    lag = stored[1].split("|").index("lag")
    rows = {line.split("|")[0]: line.split("|") for line in stored[2:]}
    assert rows["csv"][lag].isdigit()
    topics = {line.split("|")[0] for line in top(["-c", "home.yaml", "--topics"], "stages")}
    assert f"{home['name']}.frames" in topics
