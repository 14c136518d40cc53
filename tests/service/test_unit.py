"""The unit of a service: what the YAML asks for and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datastalker import config as configuration
from datastalker.errors import ConfigError
from datastalker.service import Service, role_of

PIPELINE = """
kafka: {{bootstrap_servers: "localhost:9092"}}
agent: {{spool_directory: {spool}, queue_mb: 8}}
log_file: {log}
pipeline:
  - {source}
  - topic: wifi.frames
  - dedupe
  - topic: wifi.decorated
  - csv: {{directory: {csv}}}
  - elasticsearch
"""
SCORES = {"agent": 1.9, "worker": 1.1, "sink": 1.1, "run": 1.9}
"""What docs/raspberry-pi.md names."""


def service(
    role: str = "agent",
    sink: str | None = None,
    user: str | None = None,
    *,
    source: str = "wifi_sniffer: {interface: wlan0}",
    spool: str = "spool",
    log: str = "null",
    csv: str = "out",
    file: str = "/etc/datastalker/home.yaml",
) -> Service:
    text = PIPELINE.format(source=source, spool=spool, log=log, csv=csv)
    config = configuration.parse(text, file)
    assert config.errors == []
    return Service(config, role, sink, user, Path("/opt/ds/bin/python"), None)


def value(unit: str, name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", unit, re.M)
    return str(found)


@pytest.mark.parametrize(
    ("source", "capabilities"),
    [
        ("wifi_sniffer: {interface: wlan0}", "CAP_NET_RAW CAP_NET_ADMIN"),
        ("wifi_sniffer: {interface: wlan0, monitor: never}", "CAP_NET_RAW"),
        (
            "wifi_sniffer: {interface: wlan0, monitor: never, hopper: true}",
            "CAP_NET_RAW CAP_NET_ADMIN",
        ),
        ("pcap: {path: /srv/captures}", ""),
    ],
)
def test_an_agent_gets_the_capabilities_that_its_source_takes(
    source: str, capabilities: str
) -> None:
    unit = service(source=source).unit()

    assert value(unit, "CapabilityBoundingSet") == capabilities
    assert value(unit, "AmbientCapabilities") == capabilities
    assert ("AF_PACKET" in value(unit, "RestrictAddressFamilies")) == bool(capabilities)
    assert ("SystemCallFilter=capset" in unit) == bool(capabilities)


@pytest.mark.parametrize("role", ["worker", "sink"])
def test_workers_and_sinks_get_none(role: str) -> None:
    unit = service(role, "csv" if role == "sink" else None).unit()

    assert value(unit, "CapabilityBoundingSet") == value(unit, "AmbientCapabilities") == ""
    assert value(unit, "PrivateUsers") == "yes"


def test_what_it_writes_outside_its_own_folder_is_writable_and_nothing_else() -> None:
    inside, outside = service(), service(spool="/srv/spool", log="/var/log/ds/agent.log")

    assert "ReadWritePaths" not in inside.unit()
    assert outside.folders == [Path("/srv/spool"), Path("/var/log/ds")]
    assert service("sink", "csv", csv="/srv/csv").folders == [Path("/srv/csv")]
    assert service("sink", "elasticsearch", csv="/srv/csv").folders == []


def test_the_command_is_the_role_s_with_the_configuration_s_whole_path() -> None:
    start = "/opt/ds/bin/python -P -m "
    file = "/etc/datastalker/home.yaml"

    assert value(service().unit(), "ExecStart") == f"{start}datastalker capture -c {file}"
    sink = service("sink", "csv").unit()
    assert value(sink, "ExecStart") == f"{start}datastalker sink csv -c {file}"
    worker = service("worker").unit()
    assert value(worker, "ExecStart") == f"{start}faust -A processors worker"
    assert f"Environment=DATASTALKER_CONFIG={file}" in worker


def test_names_that_systemd_would_read_otherwise_are_quoted() -> None:
    unit = service(file="/etc/my $pot 100%.yaml").unit()

    assert value(unit, "ExecStart").endswith('-c "/etc/my $$pot 100%%.yaml"')


def test_a_whole_pipeline_is_one_process_with_the_source_s_rights_and_the_sinks_folders() -> None:
    unit = service("run", csv="/srv/csv").unit()

    assert value(unit, "ExecStart").endswith("datastalker run -q -c /etc/datastalker/home.yaml")
    assert value(unit, "AmbientCapabilities") == "CAP_NET_RAW CAP_NET_ADMIN"
    assert value(unit, "ReadWritePaths") == "/srv/csv"
    assert value(unit, "UMask") == "0027"  # whoever is of the group may read the CSV
    assert value(unit, "Restart") == "always"


def test_the_role_is_the_agent_s_or_without_a_topic_all() -> None:
    source = "{wifi_sniffer: {interface: wlan0}}"
    alone = configuration.parse(f"pipeline: [{source}, csv]", "alone.yaml")
    cut = configuration.parse(f"pipeline: [{source}, topic: wifi.frames, csv]", "cut.yaml")

    assert (role_of(alone), role_of(cut)) == ("run", "agent")
    assert Service(alone, "run").name == "datastalker-run.service"


def test_memory_follows_the_queue() -> None:
    assert value(service().unit(), "MemoryMax") == "160M"


def test_a_live_agent_is_always_started_again_and_one_of_files_after_a_failure() -> None:
    assert value(service().unit(), "Restart") == "always"
    assert value(service(source="pcap: {path: /srv/a}").unit(), "Restart") == "on-failure"


@pytest.mark.parametrize("role", SCORES)
def test_it_is_started_with_the_machine_and_waits_for_nothing_but_itself(role: str) -> None:
    unit = service(role, "csv" if role == "sink" else None).unit()

    assert value(unit, "WantedBy") == "multi-user.target"
    assert value(unit, "After") == "network.target"  # not online: broker and clock may come later
    assert "Requires=" not in unit
    assert value(unit, "StartLimitIntervalSec") == "0"  # it never gives up


def test_homes_and_temporary_folders_are_hidden_unless_something_is_there() -> None:
    at_home = service(file="/home/pi/home.yaml").unit()

    assert value(service().unit(), "ProtectHome") == "yes"
    assert value(at_home, "ProtectHome") == "read-only"
    assert value(service(spool="/tmp/spool").unit(), "PrivateTmp") == "no"


def test_the_user_is_ours_or_the_one_of_the_yaml_and_not_two() -> None:
    source = "wifi_sniffer: {interface: wlan0, user: nobody}"

    assert value(service().unit(), "User") == "datastalker"
    assert value(service(source=source).unit(), "User") == "nobody"
    with pytest.raises(ConfigError, match="leave one out"):
        service(source=source, user="daemon")


def test_what_can_be_no_service_is_said() -> None:
    with pytest.raises(ConfigError, match="no standard input"):
        service(source='pcap: {path: "-"}')
    with pytest.raises(ConfigError, match="name one: csv, elasticsearch"):
        service("sink")
    with pytest.raises(ConfigError, match="no sink 'cvs' below the last topic, did you mean 'csv'"):
        service("sink", "cvs")
    alone = configuration.parse("pipeline: [{pcap: {path: a}}, print]", "alone.yaml")
    with pytest.raises(ConfigError, match="needs a `topic`"):
        Service(alone, "agent")
    with pytest.raises(ConfigError, match="~ is the home of who runs it, and a service has none"):
        service(spool="~/spool").unit()
    there = configuration.parse("pipeline: [topic: wifi.frames, print]", "there.yaml")
    with pytest.raises(ConfigError, match="begins with a topic: there is no source"):
        Service(there, "run")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("role", SCORES)
def test_systemd_takes_the_unit_and_finds_it_as_hard_as_the_page_says(
    tmp_path: Path, role: str
) -> None:
    made = service(role, "csv" if role == "sink" else None, csv="/srv/csv")
    unit = tmp_path / made.name
    made.python = Path(sys.executable)
    text = made.unit().replace("ProtectHome=read-only", "ProtectHome=yes")  # where Python is here
    text = text.replace("PrivateTmp=no", "PrivateTmp=yes")  # likewise
    unit.write_text(text)

    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", unit]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    score = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert score
    assert float(score[1]) <= SCORES[role], said
