"""What is installed with an extra: ours by pyproject.toml, the rest by the packages that are here."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]


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
