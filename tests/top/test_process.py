"""`stalk top --url`: a process that runs already, by its page."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastalker.errors import InputError
from datastalker.metrics import METRICS
from datastalker.top.feed import Live
from datastalker.top.metrics_page import status, totals
from datastalker.top.process import ProcessFeed
from tests.top.looking import look, until

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.Popen[bytes]]


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


@pytest.fixture
def run(captures: Path, tmp_path: Path) -> Iterator[Run]:
    """Starts `stalk run` with a page on a port: the simulated air at ten times its pace."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, more: str = "") -> subprocess.Popen[bytes]:
        (tmp_path / "run.yaml").write_text(
            f"agent: {{http_port: {port}, http_host: 0.0.0.0}}\npipeline:\n"
            f"- pcap: {{path: '{captures}/sensor-*.pcap', speed: 10}}\n{more}- dedupe\n- presence\n"
        )
        command = [sys.executable, "-m", "datastalker", "run", "-c", f"{tmp_path}/run.yaml"]
        with (tmp_path / "log").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, stderr=log))
        until(lambda: b"health and metrics on" in (tmp_path / "log").read_bytes())
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def said(live: Live) -> list[str]:
    found: list[str] = look(live, lambda air, stages: [event.what for event in air.events])
    return found


def test_its_networks_come_by_a_tap_and_its_stages_by_its_counters(run: Run) -> None:
    port = free_port()
    process = run(port)
    live = Live(ProcessFeed(f"localhost:{port}"))
    live.start()
    until(lambda: look(live, lambda air, stages: len(air.networks) == 4))
    until(lambda: look(live, lambda air, stages: len(stages.rates()) == 4))
    until(lambda: look(live, lambda air, stages: air.pace.count > 500))
    until(lambda: look(live, lambda air, stages: stages.rates()[-1].totals.received > 400))
    process.terminate()
    process.wait()
    until(lambda: "away" in said(live))
    live.stop()

    rates = look(live, lambda air, stages: stages.rates())
    assert [each.totals.name for each in rates] == ["pcap", "dedupe", "presence", "(this view)"]
    read, seen = rates[0].totals.sent, look(live, lambda air, stages: air.pace.count)
    assert seen >= rates[-1].totals.sent > 400  # what was counted is a second older
    assert rates[1].totals.received == read
    assert rates[1].totals.state > 0
    assert set(look(live, lambda air, stages: air.sensors)) == {
        "sensor-hall", "sensor-study", "sensor-garage",
    }  # fmt: skip
    assert look(live, lambda air, stages: air.now) < 1_800_000_000_000_000  # the capture's time


def test_behind_pseudonymise_no_address_comes(run: Run) -> None:
    port = free_port()
    run(port, "- pseudonymise: {key: 0123456789abcdef}\n")
    live = Live(ProcessFeed(f"localhost:{port}"))
    live.start()
    until(lambda: look(live, lambda air, stages: len(air.networks) == 4))
    live.stop()

    bssids = look(live, lambda air, stages: {network.bssid for network in air.networks})
    assert not any(bssid.startswith("50:c7:bf") for bssid in bssids)


def test_a_process_that_shows_no_messages_to_others_still_shows_its_stages(run: Run) -> None:
    port = free_port()
    run(port)
    live = Live(ProcessFeed(f"http://{socket.gethostname()}:{port}"))
    live.start()
    until(lambda: "no messages" in said(live))
    until(lambda: look(live, lambda air, stages: len(stages.rates()) == 3))
    live.stop()

    text = look(live, lambda air, stages: air.events[0].text)
    assert "tap_remote: true" in text
    assert said(live).count("no messages") <= 2  # one for each of the two taps


def test_one_that_ends_is_waited_for(run: Run) -> None:
    port = free_port()
    process = run(port)
    live = Live(ProcessFeed(f"localhost:{port}"))
    live.start()
    until(lambda: look(live, lambda air, stages: air.pace.count > 0))
    process.kill()
    process.wait()
    until(lambda: "away" in said(live))
    run(port)
    until(lambda: "back" in said(live))
    before = look(live, lambda air, stages: air.pace.count)
    until(lambda: look(live, lambda air, stages: air.pace.count > before))
    live.stop()

    assert live.error is None


def test_where_nobody_answers_is_one_sentence_with_the_settings() -> None:
    with pytest.raises(InputError, match=r"nothing listens at .*http_port"):
        ProcessFeed(f"localhost:{free_port()}").open()


def sample(metric: str, value: float, **labels: str) -> dict[str, Any]:
    assert metric in METRICS
    return {"name": metric, "labels": labels, "value": value}


def test_what_waits_for_a_worker_and_what_a_sink_stored_are_rows() -> None:
    rows = totals([
        sample("datastalker_stage_messages_in_total", 90, segment="wifi.frames", stage="dedupe"),
        sample("datastalker_stage_messages_out_total", 60, segment="wifi.frames", stage="dedupe"),
        sample("datastalker_stage_counter", 3, segment="wifi.frames", name="dedupe/late"),
        sample("datastalker_stage_counter", 3, segment="wifi.frames", name="topic/cut"),
        sample("datastalker_lag", 4, segment="wifi.frames", topic="wifi.frames", partition="0"),
        sample("datastalker_lag", 5, segment="wifi.frames", topic="wifi.frames", partition="1"),
        sample("datastalker_sink_consumed_messages_total", 50, sink="csv"),
        sample("datastalker_sink_rows_total", 40, sink="csv"),
        sample("datastalker_sink_dead_messages_total", 1, sink="csv"),
        sample("datastalker_sink_skipped_messages_total", 9, sink="csv"),
        sample("datastalker_lag", 7, segment="csv", topic="wifi.decorated", partition="0"),
    ])  # fmt: skip

    assert [(r.name, r.received, r.sent, r.dropped, r.errors, r.lag) for r in rows] == [
        ("dedupe", 90, 60, 0, 0, 9),
        ("csv", 50, 40, 9, 1, 7),
    ]
    assert dict(rows[0].counters) == {"late": 3}


def test_an_agents_counters_are_its_sensors_status() -> None:
    message = status([
        sample("datastalker_agent_dropped_frames_total", 2, sensor="porch", reason="bad_fcs"),
        sample("datastalker_agent_spooled_frames", 7, sensor="porch"),
        sample("datastalker_agent_clock_offset_seconds", 0.25, sensor="porch"),
        sample("datastalker_agent_channel_time_ratio", 0.5, sensor="porch", freq_mhz="2437"),
        sample("datastalker_source_kernel_dropped_messages_total", 4, segment="home", source="x"),
    ], 5)[0]  # fmt: skip

    assert message == {
        "type": "sensor", "key": "porch", "timestamp": 5, "state": "running", "dropped_bad_fcs": 2,
        "spooled": 7, "clock_offset_ms": 250, "share_2437": 0.5, "kernel_dropped": 4,
    }  # fmt: skip
