"""An agent with a spool starts while the registry is away, if it was there once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capture_agent.spooling import Remembered
from datastalker.errors import RegistryError
from datastalker.wire import framing_of
from infra.local import Stack


def test_schema_ids_are_remembered_for_when_the_registry_is_away(
    own_stack: Callable[[], Stack], tmp_path: Path
) -> None:
    registry = own_stack().registry.start()
    url = registry.url

    def start() -> Remembered:
        return Remembered(framing_of({"url": url}), url, tmp_path / "schemas.json")

    at_first = start()
    first = at_first.prefix("frame_batch", "frames")
    at_first.close()
    registry.stop()
    later = start()

    assert later.prefix("frame_batch", "frames") == first
    assert first[0] == 0
    assert len(first) == 5
    with pytest.raises(RegistryError, match="can't be reached"):
        later.prefix("frame_batch", "another topic")
    for damaged in ("damaged", "5", "[1]", '{"a": 1}', '{"a": "no hex"}', "\0\0\0\0"):
        (tmp_path / "schemas.json").write_text(damaged)
        with pytest.raises(RegistryError, match="can't be reached"):
            start().prefix("frame_batch", "frames")
