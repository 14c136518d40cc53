"""docker-compose.yml, Dockerfile and their configuration, as far as can be told without an engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

from datastalker import config as configuration
from infra.local import elasticsearch, kafka, registry

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/etc/datastalker/config.yaml"
ONCE = {"sample", "topics", "setup", "dashboards", "agent"}

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize(
    "name", [name for name in SERVICES if "build" in SERVICES[name]]
)


def stalk(*args):
    command = [sys.executable, "-m", "datastalker", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def copied():
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            yield from line.split()[1:-1]


def test_every_service_that_was_asked_for_is_there():
    servers = {"kafka", "registry", "elasticsearch", "kibana"}

    assert {*SERVICES} == {*servers, *ONCE, "worker", "sink-elasticsearch", "sink-csv"}


@each_service
def test_images_have_a_fixed_version(name):
    _, _, tag = SERVICES[name]["image"].rpartition(":")

    assert re.fullmatch(r"\d+\.\d+\.\d+", tag), SERVICES[name]["image"]


def test_servers_are_of_the_versions_that_the_tests_run_against():
    tags = {name: service["image"].rpartition(":")[2] for name, service in SERVICES.items()}

    assert tags["kafka"] == kafka.VERSION
    assert tags["elasticsearch"] == tags["kibana"] == elasticsearch.VERSION
    assert tags["registry"] == registry.VERSION


@each_service
def test_memory_is_limited_and_a_restart_decided(name):
    service = SERVICES[name]

    assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")


@each_service
def test_java_has_room_beside_its_heap(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert isinstance(value, str), f"{variable}: YAML makes of it what is no text"
        for heap in re.findall(r"-Xmx(\d+)m", value):
            assert int(heap) * 2 <= int(SERVICES[name]["mem_limit"][:-1])


@each_service
def test_ports_are_for_this_machine_only(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_a_worker_can_be_scaled():
    assert not {"container_name", "ports", "hostname"} & {*SERVICES["worker"]}


@each_service
def test_what_is_waited_for_can_happen(name):
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wanted["condition"] == "service_completed_successfully"
            assert other in ONCE


@each_service
def test_volumes_are_declared_and_files_exist(name):
    for volume in SERVICES[name].get("volumes", []):
        # ${CAPTURES:-captures} is a volume by default
        source = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_folders_of_volumes_belong_to_the_user_of_the_image():
    made = re.search(r"install -d -o stalk -g stalk (.*)", DOCKERFILE)[1].split()

    assert {"/captures", "/out"} <= {*made}
    assert SERVICES["sample"]["volumes"] == ["captures:/captures"]
    assert "csv:/out" in SERVICES["sink-csv"]["volumes"]


@each_of_ours
def test_commands_are_commands(name):
    service = SERVICES[name]
    if "entrypoint" in service:
        assert service["entrypoint"] == ["faust", "-A", "processors", "worker"]
        assert re.search(rf"DATASTALKER_CONFIG={CONFIG}$", DOCKERFILE, re.M)
        return
    # --help is taken in the end, so all before it has to parse
    done = stalk(*service["command"], "--help")

    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout
    options = {argument for argument in service["command"] if argument.startswith("-")}
    assert all(option in done.stdout for option in options)
    assert ("-c" in options) == any(CONFIG in volume for volume in service["volumes"])


def test_the_configuration_passes_and_means_these_services():
    config = configuration.load(str(ROOT / "infra/docker/config.yaml"))

    assert [str(problem) for problem in config.problems] == []
    text = (ROOT / "infra/docker/config.yaml").read_text(encoding="utf-8")
    for address in re.findall(r":-(?:http://)?([a-z]+):\d+", text):
        assert address in SERVICES
    assert len(re.findall(r":-(?:http://)?[a-z]+:\d+", text)) == 4
    assert "/apis/ccompat/v7" in text
    assert stalk("check", "-c", str(ROOT / "infra/docker/config.yaml")).returncode == 0
    sinks = {name.removeprefix("sink-") for name in SERVICES if name.startswith("sink-")}
    assert sinks == {"elasticsearch", "csv"} < {step.name for step in config.steps}


def test_the_dockerfile_copies_what_there_is_and_all_that_the_wheel_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sources = [*copied()]

    assert [source for source in sources if not (ROOT / source).exists()] == []
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], "pyproject.toml", project["project"]["readme"]} <= {*sources}
    extras = re.search(r"whl\)\[([a-z,]+)\]", DOCKERFILE)[1].split(",")
    assert {*extras} == {*project["project"]["optional-dependencies"]} - {"dev", "docs"}


def test_the_image_is_small_and_runs_as_nobody_special():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    final = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]

    assert len(stages) == 2
    assert len({*stages}) == 1, "what was installed for one Python does not run on another"
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", stages[0])
    assert re.search(r"^USER stalk$", final, re.M)
    assert 'ENTRYPOINT ["stalk"]' in final
    assert "pip install" not in final
    assert "apt-get" not in DOCKERFILE


def test_nothing_else_is_sent_to_the_builder():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}

    assert "*" in lines
    assert let_in == {*copied()}


@pytest.fixture(scope="session")
def specification(tmp_path_factory):
    """The schema of the Compose specification, out of the last docker-compose that was in Python."""
    folder = tmp_path_factory.mktemp("docker-compose")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "docker-compose==1.29.2"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        return jsonschema.Draft201909Validator(
            json.loads(files.read("compose/config/compose_spec.json"))
        )


def test_the_compose_specification_takes_it(specification):
    assert [error.message for error in specification.iter_errors(COMPOSE)] == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [("kafka", "mem_limits", "1g"), ("worker", "depends_on", {"topics": {"condition": "done"}})],
)
def test_what_the_specification_does_not_know_is_seen(specification, service, key, value):
    wrong = {**COMPOSE, "services": {**SERVICES, service: {**SERVICES[service], key: value}}}

    assert not specification.is_valid(wrong)


def compose_client():
    """`docker compose` or `docker-compose`, if one is there and works; it needs no engine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


@pytest.mark.parametrize("captures", [None, "./mine"])
def test_docker_compose_takes_it(captures, monkeypatch):
    client = compose_client()
    if client is None:
        pytest.skip("there is no docker compose here")
    if captures:
        monkeypatch.setenv("CAPTURES", captures)
    command = [*client, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
