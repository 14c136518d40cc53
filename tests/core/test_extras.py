"""What is installed with an extra: ours by pyproject.toml, the rest by the packages that are here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import import_module
from importlib.metadata import requires
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from datastalker import dump, extras
from datastalker.cli import cli
from datastalker.errors import DataStalkerError, InputError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_setup_refuses_an_extra_that_is_not_there_before_it_installs_anything() -> None:
    make = [
        "make",
        "--no-print-directory",
        "-o",
        ".venv/.ready",
        "setup",
        "EXTRAS=ui, agnet",
        f"PYTHON={sys.executable}",
    ]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 2
    assert "setup: there is no extra 'agnet'; make setup EXTRAS=… takes, with" in done.stderr
    assert f": {', '.join(PROJECT['optional-dependencies'])}\n" in done.stderr
    assert done.stdout == ""


def test_setup_says_which_packages_an_extra_brings_before_it_installs_them(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    for name in ("pyproject.toml", "infra/setup.sh"):
        shutil.copy2(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [tmp_path / "infra" / "setup.sh", "run", "agent,ui"],
        env={**os.environ, "PYTHON": sys.executable, "PIP_NO_INDEX": "1"},  # so nothing can come
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines()[-1] == (
        "setup: installs DataStalker into .venv: click, PyYAML, confluent-kafka, pyroute2, textual, and "
        "what these need"
    )
    assert done.returncode == 1
    assert done.stderr.endswith("setup: pip could not install; is the network there?\n")
    assert not (tmp_path / ".venv" / ".ready").exists()


@pytest.mark.parametrize(("mode", "warns"), [(0o700, True), (0o755, False)])
def test_setup_warns_of_a_python_that_no_other_user_can_run(mode: int, warns: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own is shut to others
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("infra", "python", ".venv/bin"):
            (folder / each).mkdir(parents=True)
        for each in ("pyproject.toml", "infra/setup.sh"):
            shutil.copy2(ROOT / each, folder / each)
        (folder / "python" / "python3").write_text("#!/bin/sh\n")  # has pip, and installs nothing
        (folder / "python" / "python3").chmod(0o755)
        (folder / "python").chmod(mode)
        (folder / ".venv/bin/python").symlink_to(folder / "python" / "python3")

        done = subprocess.run(
            [folder / "infra" / "setup.sh", "run"],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )

    assert done.returncode == 0
    said = f"setup: its Python is below {folder}/python, which other users may not enter"
    assert done.stderr.startswith(said) is warns
    assert (done.stderr == "") is not warns


def brought(requirements: list[str]) -> set[str]:
    """The packages that these bring, with all that those need."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(line, frozenset[str]()) for line in requirements]
    while waiting:
        line, extras = waiting.pop()
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        name = re.sub("[-_.]+", "-", requirement.name).lower()
        wanted = name, frozenset(requirement.extras)
        if wanted not in seen:
            seen.add(wanted)
            found.add(name)
            waiting += [(needed, wanted[1]) for needed in requires(name) or []]
    return found


def test_a_sensor_node_gets_four_packages_beside_ours() -> None:
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["agent"]

    assert brought(lines) == {"click", "pyyaml", "confluent-kafka", "pyroute2"}


def test_what_packages_need_themselves_is_counted() -> None:
    lines = PROJECT["optional-dependencies"]["registry"]

    assert {"confluent-kafka", "certifi", "anyio"} <= brought(lines)


@pytest.mark.parametrize(
    ("checkout", "prefix", "command"),
    [
        (True, "ROOT/.venv", "make -C ROOT setup EXTRAS=agent"),
        (True, "/elsewhere", "/elsewhere/bin/python -m pip install -e 'ROOT[agent]'"),
        (False, "/elsewhere", "pip install 'datastalker[agent]'"),
    ],
)
def test_how_an_extra_is_installed_depends_on_where_we_are(
    checkout: bool, prefix: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if checkout:
        (tmp_path / "infra").mkdir()
        (tmp_path / "infra" / "setup.sh").touch()
    prefix = prefix.replace("ROOT", str(tmp_path))
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    monkeypatch.setattr("sys.prefix", prefix)
    monkeypatch.setattr("sys.executable", f"{prefix}/bin/python")

    assert extras.install("agent") == command.replace("ROOT", str(tmp_path))


def test_what_a_package_is_needed_for_is_said() -> None:
    said = r"^a sink needs .* \(nosuch\): .*EXTRAS=agent"
    with pytest.raises(DataStalkerError, match=said), extras.needs("a sink", "agent"):
        import_module("nosuch")
    with pytest.raises(InputError, match=r"^Kafka needs the package no-such: "):
        extras.require("no_such", "Kafka", "agent")


def test_a_run_that_lacks_a_package_says_so_before_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "elasticsearch", None)  # as where it isn't installed
    (tmp_path / "c.yaml").write_text(
        f"pipeline: [pcap: {{path: {tmp_path}/none.pcap}}, csv: {{directory: {tmp_path}/out}}, "
        "elasticsearch]\n"
    )

    said = CliRunner().invoke(cli, ["run", "-c", str(tmp_path / "c.yaml")])

    assert isinstance(said.exception, DataStalkerError)
    assert "elasticsearch needs a package" in str(said.exception)
    assert not (tmp_path / "out").exists()


def test_an_avro_file_is_not_called_damaged_where_only_the_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)  # as where it isn't installed
    (tmp_path / "x.avro").write_bytes(b"Obj\x01")

    with pytest.raises(DataStalkerError, match=r"^import of Avro needs a package .*EXTRAS=export$"):
        dump.look(tmp_path / "x.avro")
