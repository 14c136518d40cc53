"""The page of a process: what it says of itself over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from datastalker import config as configuration
from datastalker import page
from datastalker.metrics import METRICS, render, stage_samples
from datastalker.page import Health, Page, Server
from datastalker.pages import all_of, of_sink
from datastalker.pipeline import Pipeline
from datastalker.testing import build, frame
from datastalker.text import one_line

PINNED = """
datastalker_agent_captured_frames_total datastalker_agent_channel_time_ratio
datastalker_agent_clock_error_seconds datastalker_agent_clock_offset_seconds
datastalker_agent_dropped_events_total datastalker_agent_dropped_frames_total
datastalker_agent_filtered_frames datastalker_agent_made_frames
datastalker_agent_published_events_total datastalker_agent_published_frames_total
datastalker_agent_queued_batches datastalker_agent_spool_batches datastalker_agent_spool_bytes
datastalker_agent_spool_limit_bytes datastalker_agent_spool_oldest_seconds
datastalker_agent_spooled_frames datastalker_agent_waiting_frames
datastalker_batches_missing datastalker_batches_repeated_total datastalker_batches_total
datastalker_dead_letters_total datastalker_info datastalker_lag
datastalker_last_message_timestamp_seconds datastalker_partitions datastalker_ready
datastalker_recovery_remaining datastalker_sink_already_indexed_messages_total
datastalker_sink_consumed_messages_total datastalker_sink_dead_messages_total
datastalker_sink_handed_back_messages_total datastalker_sink_indexed_messages_total
datastalker_sink_paused datastalker_sink_repeated_messages_total datastalker_sink_retries_total
datastalker_sink_rows_total datastalker_sink_skipped_messages_total
datastalker_source_dropped_messages_total datastalker_source_kernel_dropped_messages_total
datastalker_stage_counter datastalker_stage_errors_total
datastalker_stage_messages_dropped_total datastalker_stage_messages_in_total
datastalker_stage_messages_out_total datastalker_stage_messages_skipped_total
datastalker_stage_seconds_total datastalker_stage_state_entries
datastalker_stage_state_evicted_total
process_cpu_seconds_total process_resident_memory_bytes process_start_time_seconds
"""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """One that has run, and has dropped something."""
    made = build([{"limit": {"messages": 4}}], [frame(n, id=f"s-{n}") for n in range(10)])
    made.run()
    made.stats.incr('testing_messages/dropped/too "odd"\\\n', 2_345_678_901)
    made.stats.incr("limit/own", 0.5)
    return made


@pytest.fixture(scope="module")
def served(pipeline: Pipeline) -> Iterator[Server]:
    shown = Page("run", "home", "attic", partial(stage_samples, "home", [pipeline]))
    server = page.serve(shown, "127.0.0.1", 0, "agent")
    yield server
    server.close()


def get(server: Server, path: str, **headers: str) -> tuple[int, str]:
    try:
        request = urllib.request.Request(server.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def parsed(text: str) -> dict[str, list[Any]]:
    """By name, as Prometheus's own client reads it."""
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert family.type == METRICS[sample.name].kind
            found.setdefault(sample.name, []).append(sample)
    return found


def test_names_stay() -> None:
    assert set(METRICS) == set(PINNED.split())


def test_names_are_as_prometheus_wants_them() -> None:
    for name, metric in METRICS.items():
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert metric.help == one_line(metric.help)
        assert not metric.help.endswith(".")


def test_what_is_served_is_what_was_counted(served: Server) -> None:
    found = parsed(get(served, "/metrics")[1])

    sent = {s.labels["stage"]: s.value for s in found["datastalker_stage_messages_out_total"]}
    assert sent == {"testing_messages": 10, "limit": 4}
    (dropped,) = found["datastalker_source_dropped_messages_total"]
    assert dropped.labels == {
        "segment": "home",
        "source": "testing_messages",
        "reason": 'too "odd"\\\n',
    }
    assert dropped.value == 2_345_678_901
    (own,) = found["datastalker_stage_counter"]
    assert (own.labels["name"], own.value) == ("limit/own", 0.5)
    for name, samples in found.items():
        for sample in samples:
            assert set(sample.labels) == set(METRICS[name].labels)


def test_json_says_the_same(served: Server) -> None:
    said = json.loads(get(served, "/metrics?format=json")[1])
    again = [
        (each.name, each.labels, each.value)
        for several in parsed(get(served, "/metrics")[1]).values()
        for each in several
    ]

    def still(found: list[Any]) -> list[Any]:
        return sorted((s for s in found if not s[0].startswith("process_")), key=str)

    assert still([(one["name"], one["labels"], float(one["value"])) for one in said]) == still(
        again
    )


def test_health_is_told_by_the_code(pipeline: Pipeline) -> None:
    shown = Page("run", "home", "attic", tuple, lambda: Health(False, "paused"))
    server = page.serve(shown, "127.0.0.1", 0, "agent")

    assert get(server, "/livez") == (200, "alive\n")
    assert get(server, "/readyz") == (503, "paused\n")
    shown.health = lambda: Health(False, "running", "it stands still")
    assert get(server, "/livez") == (503, "it stands still\n")
    assert get(server, "/nothing")[0] == 404
    server.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET\r\n\r\n",
        b"\xff" * 20_000,
        b"GET http://[ a\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_the_next_is_answered(served: Server, request_: bytes) -> None:
    with socket.create_connection(served.server_address[:2], timeout=10) as connection:
        try:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        except OSError:  # it didn't read all of it
            assert len(request_) > 10_000

    assert get(served, "/livez")[0] == 200


def test_a_port_that_is_taken_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = tmp_path / "config.yaml"
        file.write_text(
            json.dumps(
                {
                    "agent": {"http_port": taken.getsockname()[1]},
                    "pipeline": [{"pcap": {"path": str(tmp_path)}}, "print"],
                }
            )
        )
        ran = subprocess.run(
            [sys.executable, "-m", "datastalker", "run", "-c", file], capture_output=True, text=True
        )

    assert ran.returncode == 1
    assert ran.stderr.startswith(
        "stalk: agent: http_host and http_port: can't listen on 127.0.0.1:"
    )
    assert ran.stderr.endswith("each process of a machine needs its own port, or null\n")


def test_each_process_of_a_file_has_its_own_place() -> None:
    config = configuration.parse(
        """
        agent: {http_port: 6065, http_host: "::1"}
        sinks: {http_port: 6067, tap_remote: true}
        pipeline: [{pcap: {path: x}}, topic: a, dedupe, topic: b, csv, print, csv]
        """.replace("print, ", ""),
        "test.yaml",
    )

    assert [where.url for where in all_of(config)] == [
        "http://[::1]:6065",
        "http://127.0.0.1:6066",
        "http://127.0.0.1:6067",
        "http://127.0.0.1:6068",
    ]
    assert of_sink(config, "csv#2").port == 6068


def test_whole_numbers_keep_their_digits() -> None:
    text = render([("datastalker_ready", {}, True), ("process_cpu_seconds_total", {}, 123456789)])

    assert text.splitlines()[2] == "datastalker_ready 1"
    assert text.splitlines()[5] == "process_cpu_seconds_total 123456789"
