"""The gate of a spool: nothing but its end keeps it from looking for the broker again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from capture_agent import gate as module
from capture_agent.gate import Gate
from datastalker.errors import BrokerError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_AGAIN_SECONDS", "_WRONG_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


def _raises(errors: Iterator[Exception]) -> None:
    error = next(errors, None)
    if error is not None:
        raise error


@pytest.mark.usefixtures("quick")
def test_what_nobody_expected_is_shown_and_it_looks_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = iter([ValueError("what nobody expected"), BrokerError("away", retriable=True)])

    gate = Gate(lambda: _raises(errors), BrokerError("away", retriable=True))
    until = time.monotonic() + 30
    while gate.closed() and time.monotonic() < until:
        time.sleep(0.01)

    assert gate.closed() is None
    assert "ValueError: what nobody expected" in caplog.text
