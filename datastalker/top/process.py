"""A process that runs already, by the page that it serves: stages by its counters, messages by taps.

It is asked each second. One that ends is waited for; what it refuses is said among the events.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping

from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.tapped import ask, no_answer, open_url, page_url, read
from datastalker.tapping import SOURCE
from datastalker.top import metrics_page
from datastalker.top.feed import Update
from datastalker.top.stages import Totals

_SECONDS = 5.0
_NEAR_SECONDS = 600
_HIDING = "pseudonymise"
_EVENTS = {"type": {"not": "frame"}}


class ProcessFeed:
    """What is seen at a process's page. Messages are those that its taps have time for."""

    def __init__(self, url: str) -> None:
        self.title = self._url = page_url(url)
        self._over = threading.Event()
        self._take: Callable[[Update], None] = lambda update: None
        self._counts: Mapping[str, int] = {}
        self._live = False

    def open(self) -> None:
        """Raises InputError where nobody answers as a page of ours does."""
        self._samples()

    def run(self, take: Callable[[Update], None]) -> None:
        self._take = take
        for at in ("frames", "events"):
            threading.Thread(target=self._tap, args=(at,), name=f"tap {at}", daemon=True).start()
        away = False
        while not self._over.wait(1.0):
            try:
                samples = self._samples()
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
        told = ""
        while not self._over.is_set():
            try:
                stages = list(ask(self._url).stages)
                if stages:
                    told = ""
                    self._read(stages, what == "frames")
            except InputError as error:
                if str(error) != told:
                    self._say("no messages", str(error))
                told = str(error)
            self._over.wait(2.0)

    def _read(self, stages: list[str], frames: bool) -> None:
        """Look at what comes in, behind what hides; at events where they come out."""
        last = stages[-1]
        first = _HIDING if _HIDING in stages else SOURCE if SOURCE in stages else last
        for said in read(self._url, first if frames else last, None, {} if frames else _EVENTS):
            if isinstance(said, Message):
                self._take(Update([said]))
            elif frames:
                self._counts = said
            if self._over.is_set():
                return

    def _samples(self) -> metrics_page.Samples:
        try:
            with open_url(f"{self._url}/metrics?format=json", _SECONDS) as it:
                found = json.load(it)
            if metrics_page.is_one(found):
                return list(found)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise no_answer(self._url, error) from None
        raise no_answer(self._url)
