"""What a worker's log shows of Faust and aiokafka, which say the same again and again: for each try to
reach a broker that is away, some eighty lines a second.
"""

from __future__ import annotations

import logging
import os
from time import monotonic
from typing import Any

from datastalker.config import Config

SECONDS = 30.0
"""For how long what was said is not said again."""
_TALKATIVE = ("aiokafka", "faust", "mode")
_MOST = 1_000


class Seldom(logging.Filter):
    """Lets the same of a library pass once in a while, and says then how often it was meanwhile."""

    def __init__(self, seconds: float = SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[tuple[str, int, str], list[float]] = {}
        """By logger, level and text without its arguments: when it passed, and how many have not."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _TALKATIVE or record.exc_info:
            return True
        key = record.name, record.levelno, str(record.msg)
        now = monotonic()
        said = self._said.get(key)
        if said is not None and now - said[0] < self._seconds:
            said[1] += 1
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[key] = [now, 0]
        if said is not None and said[1]:
            record.msg = f"{record.getMessage()} ({said[1]:.0f} more of these since the last)"
            record.args = ()
        return True


def configuration(config: Config) -> dict[str, Any]:
    """The configuration's logging, for Faust to set up: its own log goes where ours goes."""
    settings = config.settings
    level = settings["log_level"].upper()
    target = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    if settings["log_file"]:
        file = os.path.expanduser(settings["log_file"])
        target = {"class": "logging.FileHandler", "filename": file}
    quiet = {"level": "WARNING"} if level == "INFO" else {}
    ours: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "filters": {"seldom": {"()": f"{__name__}.Seldom"}},
        "handlers": {"default": {**target, "formatter": "line", "filters": ["seldom"]}},
        "root": {"level": level, "handlers": ["default"]},
        "loggers": {"faust": quiet, "aiokafka": quiet, "mode": quiet},
    }
    return {**ours, **(settings["logging"] or {})}
