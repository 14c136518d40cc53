"""An agent with a spool starts while the registry is away, if it was there once."""

from __future__ import annotations

import socket
import time
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


class Answers:
    """A registry that knows everything, once."""

    def prefix(self, name: str, topic: str) -> bytes:
        return b"\0\0\0\0" + bytes([len(name)])


def test_a_registry_that_is_silent_is_waited_for_a_moment_and_once(tmp_path: Path) -> None:
    names = ("frame_batch", "event", "presence")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        at_first = Remembered(Answers(), url, tmp_path / "schemas.json")  # type: ignore[arg-type]
        first = [at_first.prefix(name, "t") for name in names]
        later = Remembered(framing_of({"url": url}), url, tmp_path / "schemas.json")
        begin = time.monotonic()

        assert [later.prefix(name, "t") for name in names] == first
        assert time.monotonic() - begin < 3
