"""confluent_kafka without what an agent has no use for.

The package imports asyncio for clients that nobody makes here, and asyncio imports ssl and with it
OpenSSL, beside the one that librdkafka brings: 6.2 MiB. While the package is imported, a module that
imports asyncio when something is asked of it stands in its place.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """A module that is imported when something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_kafka() -> None:
    """Import confluent_kafka, while there is one thread: another's asyncio would come later too.

    Nothing happens where it is not installed: who needs it says so.
    """
    if "asyncio" in sys.modules:
        return
    later = sys.modules["asyncio"] = _Later("asyncio")
    try:
        with suppress(ModuleNotFoundError):
            importlib.import_module("confluent_kafka")
    finally:
        if sys.modules.get("asyncio") is later:
            del sys.modules["asyncio"]
