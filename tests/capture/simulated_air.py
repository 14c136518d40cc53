"""An air of clients that talk in bursts, each on its channel, and a card that hears one at a time.

All of it follows from a seed: the same frames for whoever listens, so two ways to hop are compared
on the very same air.
"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from capture_agent.channels import Channel
from capture_agent.hop_plan import HopperOptions
from capture_agent.hopper import Hopper
from capture_agent.wireless import Card, Offer
from datastalker.message import Message
from datastalker.options import complete, options_of
from datastalker.stats import Stats

STEP = 0.05
"""Seconds between two turns: what a capture loop waits for at most."""
CHANNELS = (*range(1, 14), 36, 40, 44, 48, 52, 56, 60, 64, 100, 104, 108, 112)
_POPULAR = (1, 6, 11, 36, 44, 100)
TUNE_SECONDS = 0.01


def options(**given: Any) -> dict[str, Any]:
    """Options of a hopper as `stalk check` completes them."""

    def refuse(path: Any, text: str) -> None:
        raise AssertionError(text)

    return complete(options_of(HopperOptions) or {}, given, (), refuse)


def card(*numbers: int, name: str = "phy0") -> Card:
    freqs = [(2407 if number < 14 else 5000) + 5 * number for number in numbers or CHANNELS]
    return Card(name, 0, ("managed", "monitor"), {freq: Offer(freq) for freq in freqs})


def done(error: OSError | None = None) -> Future[None]:
    """What a tuner gives when it has done at once."""
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


@dataclass
class Air:
    """`frames[step]` is [(MHz, client)] of the frames that clients send in that step."""

    frames: list[list[tuple[int, int]]]
    clients: int

    @classmethod
    def make(cls, seed: int, minutes: float = 20, clients: int = 25) -> Air:
        """Silences of half a minute on average, bursts of three seconds, 40 frames a second."""
        chance = random.Random(seed)
        steps = int(minutes * 60 / STEP)
        frames: list[list[tuple[int, int]]] = [[] for _ in range(steps)]
        for client in range(clients):
            number = chance.choice(_POPULAR if chance.random() < 0.7 else CHANNELS)
            freq = (2407 if number < 14 else 5000) + 5 * number
            at = chance.expovariate(1 / 30)
            while at < minutes * 60:
                end = at + chance.expovariate(1 / 3)
                while at < end and at < minutes * 60:
                    frames[int(at / STEP)].append((freq, client))
                    at += chance.expovariate(40)
                at = end + chance.expovariate(1 / 30)
        return cls(frames, clients)

    @property
    def sent(self) -> int:
        return sum(map(len, self.frames))

    def hear(self, hopper: Hopper, tuned: list[Channel]) -> Counter[int]:
        """Let a hopper live through it; `tuned` is where its card is told to go. Gives the frames
        that were heard by client. For TUNE_SECONDS after a change the card is deaf."""
        heard: Counter[int] = Counter()
        before = None
        for step, frames in enumerate(self.frames):
            hopper.turn(step * STEP)
            now = tuned[-1].freq_mhz if tuned else None
            deaf = TUNE_SECONDS / STEP if now != before else 0.0
            before = now
            caught = [client for freq, client in frames if freq == now]
            caught = caught[int(len(caught) * deaf) :]
            heard.update(caught)
            hopper.heard(
                [Message(type="frame", kind="QOS_DATA", to_ds=True, freq_mhz=now) for _ in caught]
            )
        return heard


def listen(air: Air, **given: Any) -> Counter[int]:
    """What one card hears of an air with these options."""
    tuned: list[Channel] = []

    def tune(channel: Channel) -> Future[None]:
        tuned.append(channel)
        return done()

    return air.hear(Hopper(options(**given), {"mon0": (card(), tune)}, Stats()), tuned)
