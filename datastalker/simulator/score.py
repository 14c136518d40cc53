"""Scores what came out of a pipeline against the truth of a simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from datastalker.simulator.truth import Sent, Stay, read_transmissions

CLOCK_TOLERANCE_US = 5000
"""A sensor's clock is this close to the truth's."""


@dataclass(frozen=True)
class DedupeScore:
    """`twice`: passed more than once, with how often; `lost`: heard, and never passed."""

    passed: int
    heard: int
    twice: Mapping[int, int]
    lost: tuple[int, ...]

    @property
    def precision(self) -> float:
        """Of the frames that were passed, those that were the first of their transmission."""
        surplus = sum(times - 1 for times in self.twice.values())
        return (self.passed - surplus) / self.passed if self.passed else 1.0

    @property
    def recall(self) -> float:
        """Of the transmissions that were heard, those with exactly one frame passed."""
        once = self.heard - len(self.lost) - len(self.twice)
        return once / self.heard if self.heard else 1.0

    def __str__(self) -> str:
        return (
            f"precision {self.precision:.6f}, recall {self.recall:.6f}: {self.heard} transmissions "
            f"heard, {self.passed} frames passed, {len(self.twice)} twice, {len(self.lost)} lost"
        )


class Truth:
    """The transmissions of one simulation, found by the frames that they became."""

    def __init__(self, directory: Path) -> None:
        self.transmissions = list(read_transmissions(directory))
        self._by_frame = {
            (file, number): sent
            for sent in self.transmissions
            for file, number in sent.heard.items()
        }

    def of(self, frame: Mapping[str, Any]) -> Sent:
        """The transmission behind a frame, by its `file` (path or name) and `frame_number`."""
        return self._by_frame[PurePath(frame["file"]).name, int(frame["frame_number"])]

    @property
    def end_us(self) -> int:
        return max(sent.time_us for sent in self.transmissions if sent.heard)

    def score_dedupe(self, passed: Iterable[Mapping[str, Any]]) -> DedupeScore:
        """Frames without a sequence number can't be told apart: they are left out on both sides."""
        times = Counter(sent.number for sent in map(self.of, passed) if sent.seq is not None)
        heard = [t.number for t in self.transmissions if t.heard and t.seq is not None]
        return DedupeScore(
            passed=times.total(),
            heard=len(heard),
            twice={number: n for number, n in times.items() if n > 1},
            lost=tuple(number for number in heard if number not in times),
        )


@dataclass(frozen=True, order=True)
class Expected:
    """An event that presence owes: NEW at a stay's first frame, ABSENT after its last."""

    time_us: int
    event: str
    address: str


@dataclass(frozen=True)
class PresenceScore:
    expected: int
    missing: tuple[Expected, ...]
    unexpected: tuple[Expected, ...]


def expected_events(
    stays: Iterable[Stay], absent_after_seconds: float, end_us: int
) -> Iterator[Expected]:
    """NEW and ABSENT of every stay; stays of one address closer than the delay are one.

    Raises ValueError where a device was silent for longer than the delay within a stay: then the
    truth itself is not that it was there all along.
    """
    delay = round(absent_after_seconds * 1e6)
    spans: dict[str, list[tuple[int, int]]] = {}
    for stay in sorted(stays, key=lambda stay: stay.first_us):
        if stay.longest_silence_us > delay - 2 * CLOCK_TOLERANCE_US:
            silence = stay.longest_silence_us / 1e6
            raise ValueError(f"{stay.device} is silent for {silence:.1f} s within a stay")
        known = spans.setdefault(stay.address, [])
        if known and stay.first_us - known[-1][1] <= delay:
            known[-1] = known[-1][0], max(known[-1][1], stay.last_us)
        else:
            known.append((stay.first_us, stay.last_us))
    for address, of_address in spans.items():
        for first, last in of_address:
            yield Expected(first, "NEW", address)
            if last + delay <= end_us:
                yield Expected(last + delay, "ABSENT", address)


def score_presence(
    events: Iterable[Mapping[str, Any]], stays: Iterable[Stay],
    absent_after_seconds: float, end_us: int,
) -> PresenceScore:  # fmt: skip
    """Each expected event once, at its time within the sensors' clocks. ACTIVE is not scored."""
    expected = sorted(expected_events(stays, absent_after_seconds, end_us))
    came = [
        Expected(int(event["timestamp"]), event["event"], event["key"])
        for event in events
        if event["event"] in ("NEW", "ABSENT")
    ]
    missing = []
    for wanted in expected:
        found = next((event for event in came if _is(event, wanted)), None)
        if found is None:
            missing.append(wanted)
        else:
            came.remove(found)
    return PresenceScore(len(expected), tuple(missing), tuple(came))


def _is(event: Expected, wanted: Expected) -> bool:
    same = (event.event, event.address) == (wanted.event, wanted.address)
    return same and abs(event.time_us - wanted.time_us) <= CLOCK_TOLERANCE_US
