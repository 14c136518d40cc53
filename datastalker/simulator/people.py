"""Who lives in the scene, where they walk, and the plan of the house, in metres."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence

from datastalker.simulator.air import SECOND, Position

ROOMS: dict[str, Position] = {
    "living room": (7.0, 4.0),
    "kitchen": (17.0, 3.0),
    "bedroom": (5.0, 12.0),
    "study": (22.0, 12.0),
    "garage": (26.0, 4.0),
}
SENSORS: dict[str, Position] = {
    "hall": (3.0, 3.0),
    "study": (25.0, 14.0),
    "garage": (28.0, 2.0),
    "attic": (14.0, 9.0),
    "garden": (12.0, -8.0),
    "porch": (-4.0, 6.0),
}
"""In the order in which a scene takes them."""
STREET: Position = (-62.0, -50.0)
"""From where people come, and where nobody hears their devices any more."""
NEIGHBOUR: Position = (50.0, 38.0)
WALK_US, ROOM_TO_ROOM_US = 60 * SECOND, 8 * SECOND

Stay = tuple[int, int]


class Person:
    """Comes from the street, goes from room to room, and leaves: a place for every microsecond.

    Who is there from the start has a stay that begins at 0; who never leaves, one that ends after
    the scene does. `pace` shortens walks and rests in a scene shorter than an hour.
    """

    def __init__(self, name: str, stays: Sequence[Stay], pace: float, rng: random.Random) -> None:
        self.name = name
        self.stays = tuple(stays)
        self.walk_us = round(WALK_US * pace)
        self._times: list[int] = []
        self._places: list[Position] = []
        for begin, end in self.stays:
            self._walk_through(begin, end, pace, rng)

    def position(self, now: int) -> Position:
        number = bisect_right(self._times, now)
        if number == 0:
            return self._places[0]
        if number == len(self._times):
            return self._places[-1]
        earlier, later = self._times[number - 1], self._times[number]
        (x, y), (to_x, to_y) = self._places[number - 1], self._places[number]
        part = (now - earlier) / (later - earlier)
        return x + (to_x - x) * part, y + (to_y - y) * part

    def _walk_through(self, begin: int, end: int, pace: float, rng: random.Random) -> None:
        rooms = list(ROOMS.values())
        now, room = begin, rng.choice(rooms)
        if begin > 0:
            self._at(now, STREET)
            now += self.walk_us
        self._at(now, room)
        while True:
            rest = round(rng.uniform(120, 360) * SECOND * pace)
            if now + rest + ROOM_TO_ROOM_US >= end - self.walk_us:
                break
            self._at(now + rest, room)
            now, room = now + rest + ROOM_TO_ROOM_US, rng.choice(rooms)
            self._at(now, room)
        self._at(max(now + 1, end - self.walk_us), room)
        self._at(max(now + 2, end), STREET)

    def _at(self, when: int, place: Position) -> None:
        self._times.append(when)
        self._places.append(place)
