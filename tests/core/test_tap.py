"""`stalk tap` and /tap: what passes a place of a running pipeline, which never waits for it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from datastalker import page, tapping
from datastalker.cli import main
from datastalker.page import Page, Server
from datastalker.pipeline import Pipeline
from datastalker.shown import as_line
from datastalker.tapping import MOST_TAPS, QUEUE, Place, Tap, Taps, places_of
from datastalker.testing import build, frame


class Running:
    """A pipeline with its page, into which the test puts frames."""

    def __init__(self) -> None:
        self.pipeline: Pipeline = build(["beacon_filter", {"oui": {"fields": ["ta"]}}])
        shown = Page("run", "home", "x", tuple, places=partial(places_of, [self.pipeline]))
        self.server: Server = page.serve(shown, "127.0.0.1", 0, "agent")
        self.number = 0

    def feed(self, count: int = 1, **keys: Any) -> None:
        frames = [frame(self.number + n, ta="02:00:00:00:00:01", **keys) for n in range(count)]
        self.number += count
        self.pipeline.feed(frames)

    def tapped(self, attribute: str = "taps_out") -> list[Any]:
        return [getattr(entry, attribute) for entry in self.pipeline.entries]

    def open(self, **query: str) -> Any:
        """The stream, once the tap hangs where it should."""
        url = f"{self.server.url}/tap?{urllib.parse.urlencode(query)}"
        stream = urllib.request.urlopen(url, timeout=20)
        stream.readline()
        until(lambda: any(self.tapped()) or any(self.tapped("taps_in")))
        return stream


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.server.close()


def message(stream: Any) -> Any:
    while isinstance(said := json.loads(stream.readline()), list):
        pass
    return said


def test_a_message_is_shown_as_it_is_before_and_behind_a_stage(running: Running) -> None:
    with running.open(stage="oui", at="in") as before, running.open(stage="oui") as behind:
        until(lambda: running.tapped()[1] and running.tapped("taps_in")[1])
        running.feed(kind="DATA")

        assert "ta_randomized" not in message(before)
        assert message(behind)["ta_randomized"] is True


def test_what_comes_out_is_the_same_while_somebody_looks(running: Running) -> None:
    frames = [
        frame(n / 10, kind="BEACON" if n % 3 else "DATA", ssid=f"net {n % 5}", seq=n,
              ta=f"02:00:00:00:00:{n % 7:02x}", bssid=f"02:00:00:00:00:{n % 7:02x}")
        for n in range(300)
    ]  # fmt: skip
    alone = build(["beacon_filter", {"oui": {"fields": ["ta"]}}])
    expected = alone.feed([each.copy() for each in frames])

    with (
        running.open(stage="source", filter=json.dumps({"kind": "DATA"})) as first,
        running.open(stage="oui", at="in"),
        running.open(stage="oui"),
    ):
        until(lambda: running.tapped()[1] and running.tapped("taps_in")[1])
        got = running.pipeline.feed([each.copy() for each in frames])
        assert message(first)["kind"] == "DATA"

    assert [dict(each) for each in got] == [dict(each) for each in expected]
    assert 0 < len(got) < len(frames)


def test_a_tap_takes_one_percent_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(tapping, "perf_counter", clock)
    tap = Tap()
    for _ in range(1000):  # ten seconds of a pipeline that hands over lists all the time
        before = clock.now
        tap.see([frame(0, kind="DATA")] * 200)
        clock.spent += clock.now - before
        clock.now += 0.01

    assert tap.passed_by > 100_000
    assert 0.005 * clock.now < clock.spent < 0.02 * clock.now


class Clock:
    """Each look at it takes 20 µs, as long as a message takes to be written."""

    now = spent = 0.0

    def __call__(self) -> float:
        self.now += 20e-6
        return self.now


def test_where_to_look_is_asked_once_a_second_and_not_each_time() -> None:
    asked: list[float] = []

    def places() -> Iterator[Place]:
        asked.append(time.monotonic())
        yield from places_of([build(["oui"])])

    lines = Taps(places).stream({"stage": "oui"})
    until(lambda: next(lines) and len(asked) == 4)  # the first: whether there is such a stage
    lines.close()

    assert 1.9 < asked[-1] - asked[1] < 10


def test_the_pipeline_forgets_who_has_gone(running: Running) -> None:
    with running.open(stage="source", filter=json.dumps({"kind": "BEACON"})) as stream:
        running.feed(3, kind="DATA")
        running.feed(kind="BEACON", ssid="\x1b[31m")
        assert message(stream)["ssid"] == "\x1b[31m"

    def gone() -> bool:
        running.feed(kind="BEACON")  # who has gone is noticed when something is sent
        return not any(running.tapped("taps_in"))

    until(gone)


def test_so_many_taps_and_no_more(running: Running) -> None:
    streams = [running.open(stage="oui") for _ in range(MOST_TAPS)]

    with pytest.raises(urllib.error.HTTPError) as refused:
        running.open(stage="oui")

    with refused.value as answer:
        assert answer.code == 503
    for stream in streams:
        stream.close()


def test_who_has_gone_before_the_answer_takes_no_place(running: Running) -> None:
    for _ in range(MOST_TAPS + 1):
        with socket.create_connection(running.server.server_address[:2]) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            asking.sendall(b"GET /tap?stage=oui HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def free() -> bool:
        try:
            running.open(stage="oui").close()
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        return True

    until(free)


@pytest.mark.parametrize(
    ("query", "headers", "code", "said"),
    [
        ({"stage": "ouj"}, {}, 400, "no stage 'ouj' here, did you mean 'oui'?"),
        ({"stage": "oui", "at": "on"}, {}, 400, "'oui' has no 'on': at=in or out"),
        ({"stage": "oui", "filter": "{"}, {}, 400, "filter is no JSON"),
        ({"stage": "oui", "filter": '{"kind": "BEACN"}'}, {}, 400, "did you mean 'BEACON'?"),
        ({"stage": "oui", "filter": '{"ssid": {"matches": "x"}}'}, {}, 400, "nobody's expressions"),
        ({"stage": "oui"}, {"Host": "evil.example"}, 403, "to this machine alone"),
    ],
)
def test_what_can_not_be_looked_at_is_said(
    running: Running, query: dict[str, str], headers: dict[str, str], code: int, said: str
) -> None:
    url = f"{running.server.url}/tap?{urllib.parse.urlencode(query)}"

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)

    with refused.value as answer:
        assert answer.code == code
        assert said in answer.read().decode()


def test_who_reads_slowly_loses_messages_and_no_time() -> None:
    tap = Tap()
    frames = [frame(n, kind="DATA") for n in range(200)]

    began = time.perf_counter()
    rounds = 0
    while time.perf_counter() - began < 0.5:
        tap.see(frames)
        rounds += 1

    assert tap.seen + tap.passed_by == rounds * len(frames)
    assert tap.met == tap.seen
    assert tap.passed_by > 10 * tap.seen
    assert tap.take().count("\n") == tap.seen - tap.lost <= QUEUE


def test_a_line_for_people_can_not_command_a_terminal() -> None:
    line = as_line(frame(0, kind="BEACON", ssid="\x1b]0;x\x07\n", ta="02:00:00:00:00:01"))

    assert line.startswith("17:00:00.000 BEACON ta='02:00:00:00:00:01' ssid='\\x1b]0;x\\x07\\n'")
    assert line.isprintable()


def test_the_command_shows_filters_and_counts(running: Running) -> None:
    words = ["tap", "oui", "--url", running.server.url, "--limit", "2", "--filter"]
    said = subprocess.Popen(
        [sys.executable, "-m", "datastalker", *words, "{ssid: {matches: ^h}, kind: BEACON}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: any(running.tapped()))

    def feed() -> None:
        for ssid in ("home", "other", "house", "hut"):
            running.feed(kind="BEACON", ssid=ssid, bssid=f"02:00:00:00:00:{len(ssid):02x}")
            running.feed(kind="DATA")

    threading.Thread(target=feed).start()
    out, err = said.communicate(timeout=30)

    assert [json.loads(line)["ssid"] for line in out.splitlines()] == ["home", "house"]
    assert err.splitlines()[-1].endswith("2 shown")
    assert said.returncode == 0


def failing(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What `stalk tap` says where it ends with 1."""
    with pytest.raises(SystemExit) as ended:
        main(["tap", *map(str, words)])
    assert ended.value.code == 1
    return capsys.readouterr().err


def free_port() -> int:
    """One at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


ALONE = "pipeline: [{pcap: {path: x}}, dedupe]\n"


def test_without_a_port_the_very_line_to_add_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, ALONE)

    assert failing(capsys, "dedupe", "-c", file) == (
        f"stalk: 'dedupe' can't be tapped now: `stalk run -c {file}` has no port to be asked at: add "
        f"the line `agent: {{http_port: 6065}}` to {file}, beside `pipeline:`, and start it again\n"
    )


def test_the_line_that_is_said_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = re.search("`(agent: .*?)`", failing(capsys, "dedupe", "-c", written(tmp_path, ALONE)))
    assert line is not None
    port = free_port()
    file = written(tmp_path, line[1].replace("6065", str(port)) + f"\n{ALONE}")

    assert f"nothing listens at http://127.0.0.1:{port}" in failing(capsys, "dedupe", "-c", file)


def test_a_section_that_is_there_gets_the_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, ALONE + "agent: {tap_remote: true}\n")

    assert f"add `http_port: 6065` under `agent:` in {file}" in failing(
        capsys, "dedupe", "-c", file
    )


def test_where_nothing_runs_it_says_what_has_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    file = written(tmp_path, f"agent: {{http_port: {port}}}\n{ALONE}")
    runs = f"nothing listens at http://127.0.0.1:{port}: `stalk run -c {file}` has to be running\n"

    assert failing(capsys, "dedupe", "-c", file) == f"stalk: 'dedupe' can't be tapped now: {runs}"
    assert failing(capsys, "--list", "-c", file).endswith(runs)
    assert "a process has to be running" in failing(capsys, "dedupe", "--url", f"localhost:{port}")


def test_a_stage_of_a_segment_names_the_process_of_that_segment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    file = written(
        tmp_path,
        f"workers: {{http_port: {port}}}\n"
        "pipeline: [{pcap: {path: x}}, limit: {messages: 1}, topic: a, dedupe, topic: b, csv]\n",
    )

    assert "faust -A processors worker` has to be running" in failing(capsys, "dedupe", "-c", file)
    assert f"`stalk sink csv -c {file}` has no port to be asked at: add the line `sinks: {{" in (
        failing(capsys, "csv", "-c", file)
    )
    assert f"now: `stalk capture -c {file}` has no port" in failing(capsys, "limit", "-c", file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dedup", "no stage or topic 'dedup', did you mean 'dedupe'?"),
        ("nosuch", "no stage or topic 'nosuch' (there is: source, pcap, dedupe)"),
    ],
)
def test_a_misspelt_stage_is_found_though_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    file = written(tmp_path, ALONE)

    assert failing(capsys, name, "-c", file) == f"stalk: {file}: {said}\n"


def test_a_process_that_has_the_stage_not_now_is_told_from_one_that_is_not_there(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f"agent: {{http_port: {running.server.server_address[1]}}}\n{ALONE}")

    said = failing(capsys, "dedupe", "-c", file)

    assert f"the process at {running.server.url} has no such stage now" in said


def test_a_misspelt_stage_of_a_process_whose_file_is_not_here(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "ouj", "--url", running.server.url)

    assert said == f"stalk: {running.server.url} has no stage 'ouj', did you mean 'oui'?\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_is_not_asked_for_what_runs_on_this_machine(running: Running, host: str) -> None:
    url = f"{host}:{running.server.server_address[1]}"
    env = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}

    said = subprocess.run(
        [sys.executable, "-m", "datastalker", "tap", "--list", "--url", url],
        env={**env, "http_proxy": f"http://127.0.0.1:{free_port()}"},
        capture_output=True, text=True,
    )  # fmt: skip

    assert said.returncode == 0, said.stderr
    assert "beacon_filter" in said.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:http", "http://localhost:http is no address: nonnumeric port: 'http'; write"),
        ("nosuch.invalid:80", "http://nosuch.invalid:80 can't be reached: "),
    ],
)
def test_an_address_that_is_wrong(capsys: pytest.CaptureFixture[str], url: str, said: str) -> None:
    assert said in failing(capsys, "oui", "--url", url)


@pytest.fixture
def answering() -> Iterator[Any]:
    """Starts a server that answers everything with one text; gives where it is."""
    started: list[HTTPServer] = []

    def start(text: str, code: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: Any) -> None:
                pass

        started.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return f"127.0.0.1:{started[-1].server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, 200) for text in ("hello", "null", "[]", '"text"', '{"a": 1}', '{"oui": "in"}')),
        ("<html>there is no such page</html>", 404),
    ],
)
@pytest.mark.parametrize(
    "words",
    [("tap", "oui"), ("tap", "--list"), ("top", "--once", "--seconds", "0.1")],
    ids=" ".join,
)
def test_who_is_no_page_of_ours_is_told_from_one(
    answering: Any,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    text: str,
    code: int,
) -> None:
    at = answering(text, code)

    with pytest.raises(SystemExit) as ended:
        main([*words, "--url", at])

    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"stalk: what listens at http://{at} is no process of DataStalker" in said
