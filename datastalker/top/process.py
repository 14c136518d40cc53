"""A process that runs already, by the page that it serves: stages by its counters, messages by taps.

It is asked each second. One that ends is waited for; what it refuses is said among the events.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.tapping import COUNTS, SOURCE
from datastalker.top import metrics_page
from datastalker.top.feed import Update
from datastalker.top.stages import Totals

_SECONDS, _SILENT_SECONDS = 5.0, 15.0
_AT_ONCE = 65_536  # bytes
_NEAR_SECONDS = 600
_HIDING = "pseudonymise"
_EVENTS = json.dumps({"type": {"not": "frame"}})


class ProcessFeed:
    """What is seen at a process's page. Messages are those that its taps have time for."""

    def __init__(self, url: str) -> None:
        self.title = self._url = url.rstrip("/") if "://" in url else f"http://{url}".rstrip("/")
        self._over = threading.Event()
        self._take: Callable[[Update], None] = lambda update: None
        self._counts: dict[str, float] = {}
        self._live = False

    def open(self) -> None:
        """Raises InputError where nobody answers as a page of ours does."""
        self._ask("/metrics?format=json")

    def run(self, take: Callable[[Update], None]) -> None:
        self._take = take
        for at in ("frames", "events"):
            threading.Thread(target=self._tap, args=(at,), name=f"tap {at}", daemon=True).start()
        away = False
        while not self._over.wait(1.0):
            try:
                samples = self._ask("/metrics?format=json")
            except InputError as error:
                if not away:
                    self._say("away", str(error))
                away = True
                continue
            if away:
                self._say("back", "it answers again")
            away = False
            self._show(samples)

    def stop(self, reason: str) -> None:
        self._over.set()

    def _show(self, samples: metrics_page.Samples) -> None:
        wall = time.time()
        # Of an old capture that it reads, the time is the messages' own.
        self._live = self._live or abs(wall - metrics_page.latest(samples)) < _NEAR_SECONDS
        now = round(wall * 1e6) if self._live else None
        rows = metrics_page.totals(samples)
        if self._counts:
            seen, passed = self._counts.get("seen", 0), self._counts.get("passed_by", 0)
            lost = self._counts.get("lost", 0)
            rows.append(Totals("(this view)", seen + passed, seen - lost, passed + lost))
        self._take(Update(metrics_page.status(samples, round(wall * 1e6)), now, rows))

    def _say(self, what: str, text: str) -> None:
        alert = Message(type="alert", alert=what, key=self._url, text=text)
        self._take(Update([alert]))

    def _tap(self, what: str) -> None:
        """Read a tap until it is over; a process that ended may come again."""
        said = ""
        while not self._over.is_set():
            try:
                query = self._place(what)
                if query is not None:
                    said = ""
                    self._read(query, what == "frames")
            except InputError as error:
                if str(error) != said:
                    self._say("no messages", str(error))
                said = str(error)
            except (OSError, ValueError, http.client.HTTPException):
                pass  # it has ended; that it is away is said by who asks for its counters
            self._over.wait(2.0)

    def _place(self, what: str) -> dict[str, str] | None:
        """Where to look: at what comes in, behind what hides; events at the end."""
        stages = self._ask("/taps")
        if not stages:
            return None
        first = _HIDING if _HIDING in stages else next((s for s in stages if s == SOURCE), None)
        last = list(stages)[-1]
        if what == "frames":
            return {"stage": first or last}
        return {"stage": last, "filter": _EVENTS}

    def _read(self, query: dict[str, str], counts: bool) -> None:
        with self._open(f"/tap?{urlencode(query)}", _SILENT_SECONDS) as answer:
            for found in _gathered(answer):
                messages = [Message(each) for each in found if isinstance(each, dict)]
                for each in found:
                    if counts and isinstance(each, list) and each[:1] == [COUNTS]:
                        self._counts = each[1]
                self._take(Update(messages))
                if self._over.is_set():
                    return

    def _ask(self, path: str) -> Any:
        try:
            with self._open(path, _SECONDS) as answer:
                return json.load(answer)
        except InputError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or reason
            raise InputError(
                f"{self._url} does not answer as a page of ours ({why}); where it is say http_host "
                "and http_port, under agent:, workers: or sinks:"
            ) from None

    def _open(self, path: str, seconds: float) -> Any:
        try:
            return urllib.request.urlopen(self._url + path, timeout=seconds)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode("utf-8", "replace").strip()
            raise InputError(f"{self._url}: {said or error.reason}") from None


def _gathered(answer: Any) -> Iterator[list[Any]]:
    """Lines as they come, those of a piece together. Raises ValueError for no JSON."""
    rest = b""
    while piece := answer.read1(_AT_ONCE):
        *lines, rest = (rest + piece).split(b"\n")
        yield [json.loads(line) for line in lines if line]
