"""Looking at what a live view has gathered so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from datastalker.top.air import Air
from datastalker.top.feed import Live
from datastalker.top.stages import Stages


def until(condition: Callable[[], Any]) -> None:
    """Wait for it, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def look(live: Live, at: Callable[[Air, Stages], Any]) -> Any:
    with live.look() as (air, stages):
        return at(air, stages)
