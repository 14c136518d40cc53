"""State blocks: what all stages of a partition changed in a batch, as one record.

Block number N lies in slot N % 256 of a ring, so a partition's state is 256 records of its
changelog at most, whatever it holds. Before a slot is used again, what its old block still holds
(not gone, not stored again since) is handed on into the new block: a key's latest value is always
in one of the last 256 blocks. That a key is gone is told once: by the time its slot is used again,
every older block is gone too. What expires isn't told key by key: a block says until when what had
expired was taken out (`swept`).

A block also says which message was read last (`offsets`) and what was seen, so a batch that comes
again after its block was written is known.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from datastalker.errors import DataStalkerError
from datastalker.state import Journal
from processors.plain import pack, unpack

SLOTS = 256


class Ring:
    """The blocks of one partition: says what the next must hold, and restores states from them."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.slots = slots
        self._forget()

    def _forget(self) -> None:
        self.number = -1
        """Of the last block."""
        self._newest: dict[tuple[str, Hashable], int] = {}  # number of the block with the value
        self._held: dict[int, list[tuple[str, Hashable]]] = {}  # by slot: the values of its block

    def block(self, states: Mapping[str, Journal], head: Mapping[str, Any]) -> tuple[int, bytes]:
        """The slot and the bytes of the next block: what changed in `states`, and `head`.

        Raises DataStalkerError for what is no plain data: restore before going on.
        """
        number = self.number + 1
        slot = number % self.slots
        leaving = self._held.pop(slot, [])
        held: list[tuple[str, Hashable]] = []
        changes: dict[str, list[Any]] = defaultdict(list)
        swept: dict[str, int] = {}
        taken: list[tuple[str, Hashable]] = []
        for label, state in states.items():
            keys, until = state.take()
            taken += [(label, key) for key in keys]
            if until is not None:
                swept[label] = until
        old = number - self.slots
        handed_on = (place for place in leaving if self._newest.get(place) == old)
        newest = self._newest
        for place in dict.fromkeys([*taken, *handed_on]):
            label, key = place
            entry = states[label].entry(key)
            try:
                if entry is not None:
                    changes[label].append((pack(key), pack(entry[0]), entry[1]))
                    newest[place] = number
                    held.append(place)
                elif newest.pop(place, old) > old:
                    changes[label].append((pack(key),))
            except DataStalkerError as error:
                raise DataStalkerError(f"stage '{label}': {error}") from None
        self._held[slot] = held
        self.number = number
        nows = {label: state.now for label, state in states.items()}
        block = {"number": number, "slots": self.slots, "changes": changes, "swept": swept}
        return slot, _write({**head, **block, "nows": nows})

    def restore(self, blocks: Iterable[bytes], states: Mapping[str, Journal]) -> dict[str, Any]:
        """Put the states back to what they were with the last block; gives its head, or {}.

        Raises DataStalkerError where a block is damaged.
        """
        self._forget()
        found = sorted(map(_read, blocks), key=lambda block: int(block["number"]))
        latest: dict[tuple[str, Hashable], tuple[int, Any, int]] = {}
        for index, block in enumerate(found):
            for label, changes in block["changes"].items():
                for key, *rest in changes:
                    place = label, unpack(key)
                    latest.pop(place, None)
                    if rest:
                        latest[place] = index, rest[0], rest[1]
        if found and len(found) != min(found[-1]["number"] + 1, found[-1]["slots"]):
            raise DataStalkerError(
                f"{len(found)} blocks of state up to number {found[-1]['number']}: some are missing"
            )
        later = _swept_later(found)
        entries: dict[str, list[tuple[Hashable, Any, int]]] = {label: [] for label in states}
        for (label, key), (index, value, expires) in latest.items():
            if label in states and expires > later[index].get(label, -1):
                entries[label].append((key, unpack(value), expires))
                number = found[index]["number"]
                self._newest[label, key] = number
                self._held.setdefault(number % self.slots, []).append((label, key))
        head = found[-1] if found else {}
        for label, state in states.items():
            state.load(entries[label], head.get("nows", {}).get(label, 0))
        if head:
            self.number, self.slots = head["number"], head["slots"]
        return head


def _swept_later(blocks: list[dict[str, Any]]) -> list[dict[str, int]]:
    """For each block, by stage: until when the blocks behind it took out what had expired."""
    later: list[dict[str, int]] = [{} for _ in blocks]
    swept: dict[str, int] = {}
    for index in range(len(blocks) - 1, -1, -1):
        later[index] = dict(swept)
        for label, until in blocks[index]["swept"].items():
            swept[label] = max(until, swept.get(label, until))
    return later


def _write(block: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(block, separators=(",", ":")).encode(), 1)


def _read(data: bytes) -> dict[str, Any]:
    try:
        block: dict[str, Any] = json.loads(zlib.decompress(data))
        if block["slots"] < 1 or block["number"] < 0:
            raise ValueError("its number is none")
        return block
    except Exception as error:  # whatever zlib and json raise for what is none
        raise DataStalkerError(
            f"a block of state can't be read ({error}): was it written by something else?"
        ) from error
