"""A sink whose topics are not as configured says so at the start and ends; it makes none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastalker.broker import connect

Make = Callable[..., Any]
SINKS = [{"csv": {"directory": "out"}}, {"elasticsearch": {"hosts": ["http://127.0.0.1:9"]}}]


def said(here: Any, name: str) -> str:
    """What the sink's process said; it must have ended with 1."""
    assert here.process(name).wait(60) == 1
    text = (here.folder / "sink.log").read_text()
    assert "Traceback" not in text
    return str(text)


@pytest.mark.parametrize("name", ["csv", "elasticsearch"])
def test_a_missing_topic_is_named_with_the_remedy(site: Make, name: str) -> None:
    here = site(SINKS)
    here.path.write_text(here.path.read_text().replace(here.presence, f"{here.presence}-2"))
    text = said(here, name)
    assert f"topic '{here.presence}-2' is missing" in text
    assert "stalk topics apply" in text
    with connect(here.config) as broker:
        assert not broker.describe([f"{here.presence}-2"])


@pytest.mark.parametrize("name", ["csv", "elasticsearch"])
def test_another_number_of_partitions_is_named_with_the_remedy(site: Make, name: str) -> None:
    here = site(SINKS, 1)
    here.path.write_text(here.path.read_text().replace("partitions: 1", "partitions: 3"))
    text = said(here, name)
    assert f"topic '{here.frames}' has 1 partition" in text
    assert "3" in text
    assert not list(Path(here.folder).glob("out/*"))
