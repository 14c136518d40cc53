"""`make kibana`: pictures of the dashboards' data for docs/kibana.md, from servers started here.

An hour of air is simulated, with an attack, and stored by the pipeline in one process: those
pictures are the same each time. Sensors and alerts are what three real agents say while they
publish the same captures, sixty times as fast, to a broker that stands still for a while; the clock
of one is eight seconds slow. Those differ from time to time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from datastalker import config as configuration
from infra.kibana.picture import all_of, names, picture
from infra.kibana.queries import Json, Query, Span
from infra.local import Stack
from infra.whole import ROOT, stalk
from sinks.kibana import read, shipped

OUT = ROOT / "docs" / "kibana"
HOUR = Span(1_772_470_800_000, 1_772_474_399_999)
_SENSORS, _SLOW = ("hall", "study", "garage"), "garage"

_EMBEDDED = """\
pipeline:
  - pcap: {{path: "{folder}/air/sensor-*.pcap"}}
  - dedupe: {{window_seconds: 2}}
  - beacon_filter
  - oui
  - presence: {{absent_after_seconds: 300}}
  - elasticsearch: {{hosts: ["{elasticsearch}"], replicas: 0}}
"""
_AGENT = """\
name: home
sensor: {sensor}
plugins: {plugins}
kafka: {{bootstrap_servers: "{kafka}"}}
agent: {{status_seconds: 1, spool_directory: {folder}/spool-{sensor}}}
pipeline:
  - pcap: {{path: "{folder}/air/sensor-{sensor}.pcap", speed: 60}}
  - topic: {{frame: wifi.frames, alert: wifi.alerts, sensor: home.sensors}}
  - elasticsearch:
      hosts: ["{elasticsearch}"]
      replicas: 0
      when: {{type: [sensor, alert]}}
"""
_CLOCK = """\
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() - 8
time.time_ns = lambda: _time_ns() - 8 * 10**9
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="datastalker-kibana-"))
    stack = Stack(folder / "stack", quick=True, say=print).end_with(os.getpid())
    try:
        stack.start(["kafka", "elasticsearch"])
        stalk("simulate", "--out", str(folder / "air"), "--attack")
        embedded = _EMBEDDED.format(folder=folder, elasticsearch=stack.elasticsearch.url)
        configuration.build(configuration.parse(embedded, "embedded.yaml")).run()
        live = _agents(folder, stack)
        _draw(stack.elasticsearch.url, live)
    finally:
        stack.stop(wipe=True)
        shutil.rmtree(folder, ignore_errors=True)


def _agents(folder: Path, stack: Stack) -> Span:
    """Three of them, from start to end."""
    (folder / "clock.py").write_text(_CLOCK)
    paths = []
    for sensor in _SENSORS:
        path = folder / f"{sensor}.yaml"
        path.write_text(_AGENT.format(
            folder=folder, sensor=sensor, plugins="[clock.py]" if sensor == _SLOW else "[]",
            kafka=stack.kafka.bootstrap_servers, elasticsearch=stack.elasticsearch.url,
        ))  # fmt: skip
        paths.append(str(path))
    stalk("topics", "apply", "-c", paths[0])
    since = int(time.time() * 1000) - 10_000
    print("three agents publish for a minute")
    command = [sys.executable, "-m", "datastalker", "capture", "-c"]
    agents = [subprocess.Popen([*command, path], stderr=subprocess.DEVNULL) for path in paths]
    try:
        time.sleep(25)
        pid = stack.kafka.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(10)
        os.kill(pid, signal.SIGCONT)
        for agent in agents:
            agent.wait(120)
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()
    until = int(time.time() * 1000)
    stalk("sink", "elasticsearch", "--drain", "-c", paths[0])
    return Span(since, until)


def _draw(url: str, live: Span) -> None:
    urllib.request.urlopen(
        urllib.request.Request(f"{url}/datastalker-*/_refresh", method="POST"), timeout=60
    ).close()

    def search(asked: Query) -> Json:
        request = urllib.request.Request(
            f"{url}/{asked.index}/_search",
            json.dumps(asked.body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def span(asked: Query) -> Span:
        return live if asked.index in ("datastalker-sensor*", "datastalker-alert*") else HOUR

    objects = read(shipped())
    OUT.mkdir(exist_ok=True)
    for name, dashboard in names(objects).items():
        path = OUT / f"{name}.svg"
        path.write_text(picture(dashboard, all_of(objects), span, search), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
