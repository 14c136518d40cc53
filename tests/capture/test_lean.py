"""What an agent does without: each in a process of its own, as what is imported stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "ssl", "_hashlib", "email", "importlib.metadata", "logging.config", "zipfile"}

AGENT = """
import sys
import datastalker.commands.capture, capture_agent.agent, capture_agent.sniffer
from capture_agent.lean import import_kafka
import_kafka()
import confluent_kafka.admin
print(*sys.modules)
"""

REAL_AFTERWARDS = """
from capture_agent.lean import import_kafka
import_kafka()
import sys
assert "asyncio" not in sys.modules
import asyncio.subprocess
assert sys.modules["asyncio"] is asyncio
assert asyncio.run(asyncio.sleep(0, 5)) == 5
"""

ASKED_MEANWHILE = """
import sys
from capture_agent.lean import _Later
later = sys.modules["asyncio"] = _Later("asyncio")
import asyncio
assert asyncio is later
from asyncio import Queue
import asyncio as real
assert sys.modules["asyncio"] is real is not later
assert later.Queue is Queue is real.Queue
assert later.run(later.sleep(0, 5)) == 5
"""

NOT_INSTALLED = """
import sys
sys.modules["confluent_kafka"] = None
from capture_agent.lean import import_kafka
import_kafka()
assert "asyncio" not in sys.modules
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_agent_imports_nothing_heavy_that_it_has_no_use_for() -> None:
    there = set(python(AGENT).split())
    assert "confluent_kafka.cimpl" in there
    assert not HEAVY & there


@pytest.mark.parametrize("code", [REAL_AFTERWARDS, ASKED_MEANWHILE, NOT_INSTALLED])
def test_asyncio_is_there_for_who_asks(code: str) -> None:
    python(code)
