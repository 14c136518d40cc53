"""Damage to frames, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator


def mutated(frames: list[tuple[int, bytes]], count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """(link type, bytes) of `count` frames with flipped bits, cuts, insertions, wrong lengths."""
    chance = random.Random(seed)
    for _ in range(count):
        link_type, data = chance.choice(frames)
        raw = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4))):
            if not raw:
                break
            at = chance.randrange(len(raw))
            match chance.randrange(6):
                case 0:
                    raw[at] ^= 1 << chance.randrange(8)
                case 1:
                    raw[at] = chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF, 0xFE, 48, 221, 255))
                case 2:
                    del raw[at:]
                case 3:
                    raw[at:at] = chance.randbytes(chance.randrange(1, 9))
                case 4:
                    del raw[at : at + chance.randrange(1, 9)]
                case _:
                    other = chance.choice(frames)[1]
                    raw[at:] = other[chance.randrange(len(other) + 1) :]
        yield link_type, bytes(raw)
