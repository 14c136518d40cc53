"""What the services of docker-compose.yml run, run here: the same commands and configuration on real
servers, in the order in which they wait for each other. Only Kibana is not here (tests/kibana has it).
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.local import Stack
from infra.whole import ROOT, messages, stalk, wait_until_idle, worker

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
MOUNTED = "/etc/datastalker/config.yaml"


@pytest.fixture
def servers(own_stack: Callable[[], Stack], monkeypatch: pytest.MonkeyPatch) -> Stack:
    """They stand in the place of the containers; the environment says where they are."""
    servers = own_stack()
    servers.start()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka.bootstrap_servers)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", servers.registry.url)
    monkeypatch.setenv("ELASTICSEARCH_URL", servers.elasticsearch.url)
    return servers


def healthy(service: str, inside: int, port: int) -> bool:
    """Whether a service's health check passes, asked at another port than in its container."""
    kind, *command = SERVICES[service]["healthcheck"]["test"]
    command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
    command = [re.sub(rf"(?<=[:/]){inside}\b", str(port), word) for word in command]
    if command[0] == "python":
        command[0] = sys.executable
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def test_the_commands_of_all_services_do_the_whole(
    servers: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures, out, config = tmp_path / "captures", tmp_path / "out", tmp_path / "config.yaml"
    monkeypatch.setenv("CAPTURES_DIRECTORY", str(captures))
    monkeypatch.setenv("CSV_DIRECTORY", str(out))
    text = (ROOT / "infra/docker/config.yaml").read_text(encoding="utf-8")
    config.write_text(text.replace("http_host: 0.0.0.0", "http_port: 0"))  # 6066 may be taken here
    folders = {MOUNTED: str(config), "/captures": str(captures)}

    def run(service: str, *more: str) -> str:
        return stalk(*(folders.get(word, word) for word in SERVICES[service]["command"]), *more)

    run("sample", "--minutes", "3")
    run("topics")
    run("setup")
    assert SERVICES["worker"]["entrypoint"] == ["faust", "-A", "processors", "worker"]
    with worker(config, tmp_path / "worker.log") as address:
        assert healthy("worker", 6066, int(address.rpartition(":")[2]))
        run("agent")
        frames = messages(servers.kafka.bootstrap_servers, "wifi.frames")
        wait_until_idle(address, frames + messages(servers.kafka.bootstrap_servers, "wifi.alerts"))
    run("sink-elasticsearch", "--drain")
    run("sink-csv", "--drain")

    found: Counter[str] = Counter()
    for path in out.glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            found[path.name.partition("-")[0]] += len(list(csv.DictReader(handle)))
    assert found["frame"] > 1000
    assert found["presence"] > 10
    assert found["sensor"] >= 1
    url = f"{servers.elasticsearch.url}/datastalker-*"
    urllib.request.urlopen(f"{url}/_refresh", b"", timeout=30).close()
    with urllib.request.urlopen(f"{url}/_count", timeout=30) as answer:
        assert json.load(answer)["count"] == found.total()


@pytest.mark.parametrize(("service", "inside"), [("registry", 8080), ("elasticsearch", 9200)])
def test_a_health_check_passes_where_a_server_serves_and_not_where_none_is(
    request: pytest.FixtureRequest, service: str, inside: int
) -> None:
    server = request.getfixturevalue(service)

    assert healthy(service, inside, server.ports["http"])
    assert not healthy(service, inside, 1)
