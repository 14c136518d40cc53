"""Every panel's search, taken out of the files, over a sample in a real Elasticsearch.

The frames and presence are the simulator's; status and an alert come from a real agent that hears a
kernel's interface, is stopped until the kernel drops, and has a clock that is eight seconds slow.
"""

from __future__ import annotations

import html
import json
import os
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from confluent_kafka import Consumer, TopicPartition

from datastalker import config as configuration
from infra.kibana.charts import text
from infra.kibana.picture import all_of, picture
from infra.kibana.picture import names as names_of
from infra.kibana.queries import Query, Span, layer, query, rows
from infra.local import Elasticsearch, Kafka
from sinks.kibana import read, shipped

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Span(1_772_470_800_000, 1_772_470_800_000 + 10 * 60_000)
SECONDS = 60
_SHIFT = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() - 8
time.time_ns = lambda: _time_ns() - 8 * 10**9
"""
DID_NOT_HAPPEN = {
    f"datastalker-sensors-reasons: {reason}"
    for reason in ("own_uplink", "unread", "stage_error", "queue_full", "spool_full",
                   "msg_timed_out", "protocol_version")
}  # fmt: skip
"""What that agent had no reason to drop a frame for."""


def stalk(*arguments: str) -> None:
    command = [sys.executable, "-m", "datastalker", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def frame(number: int, flags: int = 0) -> bytes:
    """A null data frame; flags 0x40: its frame check sequence was wrong."""
    station = b"\x02\0\0\0\0" + bytes([number % 24])
    ap = bytes.fromhex("02aaaaaaaa01")
    mac = b"\x48\1\0\0" + ap + station + ap + struct.pack("<H", (number & 0xFFF) << 4)
    return struct.pack("<BBHIB", 0, 0, 9, 2, flags) + mac


def store_sample(folder: Path, url: str, index: str) -> None:
    """Ten minutes of air with an attack, through the pipeline, in one process."""
    stalk("simulate", "--out", str(folder), "--minutes", "10", "--attack")
    text = f"""
pipeline:
  - pcap: {{path: "{folder}/sensor-*.pcap"}}
  - dedupe: {{window_seconds: 2}}
  - beacon_filter
  - oui
  - presence: {{absent_after_seconds: 50, active_every_seconds: 60}}
  - elasticsearch: {{hosts: ["{url}"], index: {index}, replicas: 0}}
"""
    configuration.build(configuration.parse(text, "sample.yaml")).run()


def store_status(folder: Path, kafka: Kafka, radio: Any, url: str, index: str) -> None:
    """What a live agent says of itself, over Kafka and the sink."""
    (folder / "shift.py").write_text(_SHIFT)  # nobody may set the clock of this machine
    path = folder / "agent.yaml"
    path.write_text(f"""
name: {index}
sensor: porch
plugins: [shift.py]
kafka: {{bootstrap_servers: "{kafka.bootstrap_servers}"}}
agent: {{status_seconds: 0.3, linger_ms: 20, spool_directory: {folder}/spool}}
pipeline:
  - wifi_sniffer: {{interface: {radio.name}, buffer_mb: 0.25}}
  - topic: {{frame: {index}.frames, alert: {index}.alerts, sensor: {index}.sensors}}
  - elasticsearch: {{hosts: ["{url}"], index: {index}, replicas: 0}}
""")
    stalk("topics", "apply", "-c", str(path))
    command = [sys.executable, "-m", "datastalker", "capture", "-c", str(path)]
    agent = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: messages(kafka, f"{index}.sensors") >= 2, "a status")
        radio.send([frame(n, 0x40 if n % 50 == 0 else 0) for n in range(500)])
        os.kill(agent.pid, signal.SIGSTOP)
        radio.send([frame(n) for n in range(20_000)])
        os.kill(agent.pid, signal.SIGCONT)
        count = messages(kafka, f"{index}.sensors")
        until(lambda: messages(kafka, f"{index}.sensors") >= count + 4, "more status")
        until(lambda: messages(kafka, f"{index}.alerts"), "an alert")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(SECONDS) == 0
    finally:
        agent.kill()
        agent.wait()
    stalk("sink", "elasticsearch", "--drain", "-c", str(path))  # not here: it loads the plug-in


def now() -> int:
    """Milliseconds, by the machine's clock: another test's plug-in may have set back Python's."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000


def messages(kafka: Kafka, topic: str) -> int:
    """How many were ever written to a topic."""
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "nobody"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])
    finally:
        consumer.close()


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {SECONDS} s for {what}"
        time.sleep(0.1)


def search(url: str, asked: Query) -> Any:
    request = Request(f"{url}/{asked.index}/_search", json.dumps(asked.body).encode())
    request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_every_panel_finds_what_it_is_to_show(
    kafka: Kafka, elasticsearch: Elasticsearch, make_radio: Any, tmp_path: Path
) -> None:
    index, url = f"kibana{uuid.uuid4().hex[:8]}", elasticsearch.url
    begin = now() - 10_000
    store_sample(tmp_path / "sample", url, index)
    store_status(tmp_path, kafka, make_radio(), url, index)
    live = Span(begin, now())
    urlopen(Request(f"{url}/{index}-*/_refresh", method="POST"), timeout=60).close()

    objects = read(shipped(), index)
    views = {each["id"]: each for each in objects if each["type"] == "index-pattern"}
    empty: list[str] = []
    for panel in objects:
        if panel["type"] in ("index-pattern", "dashboard"):
            continue
        kind = query(panel, views, SAMPLE).index.removeprefix(f"{index}-")
        span = live if kind in ("sensor*", "alert*") else SAMPLE
        answer = search(url, query(panel, views, span))
        assert (answer["_shards"]["failed"], answer["timed_out"]) == (0, False)
        names = {*layer(panel)["columns"]} if panel["type"] == "lens" else {"key"}
        nothing = (None, "") if kind == "sensor*" else (None, "", 0)  # that none were lost is said
        for row in rows(panel, answer, span):
            names -= {name for name, value in row.items() if value not in nothing}
        empty += [f"{panel['id']}: {name}" for name in sorted(names)]
    assert {*empty} == DID_NOT_HAPPEN
    unknown = Query(f"{index}-sensor*,{index}-alert*", {"query": {"exists": {"field": "extra"}}})
    assert search(url, unknown)["hits"]["hits"] == []  # what an agent says has fields of its own

    def over(asked: Query) -> Span:
        return live if asked.index.endswith(("sensor*", "alert*")) else SAMPLE

    for name, dashboard in names_of(objects).items():
        drawn = picture(dashboard, all_of(objects), over, lambda asked: search(url, asked))
        ElementTree.fromstring(drawn)
        for panel in json.loads(dashboard["attributes"]["panelsJSON"]):
            assert f">{html.escape(panel['title'])}</text>" in drawn, name


def test_what_the_air_sends_is_harmless_in_a_picture() -> None:
    drawn = text(0, 0, 'a<script>"&\x1b[2J\u202e\n')
    assert ElementTree.fromstring(drawn).text == 'a<script>"&\\x1b[2J\\u{202e}\\n'
