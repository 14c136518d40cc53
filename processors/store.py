"""State blocks: what all stages of a partition changed with the messages that are stored together.

A partition's state is its last 256 blocks, whatever it holds. Before a block leaves this ring, what
it still holds (not gone, not stored again since) is handed on into the new block: a key's latest value
is always in one of the last 256. That a key is gone is told once: by the time that block leaves the
ring, every older one is gone too. What expires isn't told key by key: a block says until when what had
expired was taken out (`swept`).

A block also says which message was read last (`offsets`) and what was seen, so a batch that comes
again after its block was written is known.

A block is a record of the changelog, or several where the broker takes none so large: then it counts
when all are there. The key says which block it is, which part of it, and whose: each worker that
takes the partition over is of a later epoch, and says with which number it `begin`s. So what one that
was taken for dead writes late replaces nothing, and does not count: it has a number from which on a
later epoch's count. For the same reason a block is taken out of the changelog only some blocks after
it left the ring: the other may be ahead.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from datastalker.errors import DataStalkerError
from datastalker.state import Journal
from processors.plain import pack, unpack

SLOTS = 256
LATE = 16
"""Blocks behind the ring that are still in the changelog."""
MOST_BYTES = 700_000
"""Of a part: a broker takes a million unless told more."""

Entry = tuple[bytes, bytes | None]
"""Key and value of a record; None: what was under the key is taken out."""

_KEY = re.compile(rb"(\d+)\.(\d+)\.(\d+)@(\d+)\.(-?\d+)")
"""Number, part, how many parts; epoch."""


@dataclass(slots=True)
class _Block:
    number: int
    epoch: tuple[int, int]
    keys: list[bytes]
    content: dict[str, Any]


class Ring:
    """The blocks of one partition: says what the next must hold, and restores states from them."""

    def __init__(
        self, slots: int = SLOTS, *, generation: int = 0, most_bytes: int = MOST_BYTES
    ) -> None:
        """`generation`: of the consumer group. Of two that took over from the same worker the later
        one has the greater."""
        self.slots, self._most_bytes = slots, most_bytes
        self._epoch, self._begin, self._took_over = (1, generation), 0, False
        self._forget()

    def _forget(self) -> None:
        self.number = -1
        """Of the last block."""
        self._newest: dict[tuple[str, Hashable], int] = {}  # number of the block with the value
        self._held: dict[int, list[tuple[str, Hashable]]] = {}  # by number: the block's values
        self._keys: dict[int, list[bytes]] = {}  # by number, in order: where it is
        self._strays: list[bytes] = []  # what doesn't count

    def block(self, states: Mapping[str, Journal], head: Mapping[str, Any]) -> list[Entry]:
        """The records of the next block: what changed in `states`, and `head`.

        Raises DataStalkerError for what is no plain data: restore before going on.
        """
        number = self.number + 1
        old = number - self.slots
        leaving = self._held.pop(old, [])
        held: list[tuple[str, Hashable]] = []
        changes: dict[str, list[Any]] = defaultdict(list)
        swept: dict[str, int] = {}
        taken: list[tuple[str, Hashable]] = []
        for label, state in states.items():
            keys, until = state.take()
            taken += [(label, key) for key in keys]
            if until is not None:
                swept[label] = until
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
        self._held[number] = held
        self.number = number
        nows = {label: state.now for label, state in states.items()}
        said = {"number": number, "slots": self.slots, "begin": self._begin}
        data = _write({**head, **said, "changes": changes, "swept": swept, "nows": nows})
        most = self._most_bytes
        parts = [data[at : at + most] for at in range(0, len(data), most)]
        names = [
            b"%d.%d.%d@%d.%d" % (number, n, len(parts), *self._epoch) for n in range(len(parts))
        ]
        self._keys[number] = names
        gone, self._strays = self._strays, []
        while (oldest := next(iter(self._keys))) <= old - LATE:
            gone += self._keys.pop(oldest)
        return [*zip(names, parts, strict=True), *((key, None) for key in gone)]

    def restore(
        self, entries: Iterable[tuple[bytes, bytes]], states: Mapping[str, Journal]
    ) -> dict[str, Any]:
        """Put the states back to what they were with the last block; gives its head, or {}.

        The first time it takes over from who wrote them. Raises DataStalkerError where a block is
        damaged.
        """
        self._forget()
        blocks = self._sorted_out(_put_together(entries, self._strays))
        self._keys = {block.number: block.keys for block in blocks}
        found = [block.content for block in blocks]
        if found:
            last, slots = found[-1]["number"], found[-1]["slots"]
            found = [block for block in found if block["number"] > last - slots]
            if len(found) != min(last + 1, slots):
                raise DataStalkerError(
                    f"{len(found)} blocks of state up to number {last}: some are missing"
                )
        latest: dict[tuple[str, Hashable], tuple[int, Any, int]] = {}
        for index, block in enumerate(found):
            for label, changes in block["changes"].items():
                for key, *rest in changes:
                    place = label, unpack(key)
                    latest.pop(place, None)
                    if rest:
                        latest[place] = index, rest[0], rest[1]
        later = _swept_later(found)
        alive: dict[str, list[tuple[Hashable, Any, int]]] = {label: [] for label in states}
        for (label, key), (index, value, expires) in latest.items():
            if label in states and expires > later[index].get(label, -1):
                alive[label].append((key, unpack(value), expires))
                number = found[index]["number"]
                self._newest[label, key] = number
                self._held.setdefault(number, []).append((label, key))
        head = found[-1] if found else {}
        for label, state in states.items():
            state.load(alive[label], head.get("nows", {}).get(label, 0))
        if head:
            self.number, self.slots = head["number"], head["slots"]
        if not self._took_over:
            self._begin, self._took_over = self.number + 1, True
        return head

    def _sorted_out(self, blocks: list[_Block]) -> list[_Block]:
        """Those that count, by their numbers; the others are strays."""
        if blocks and not self._took_over:
            self._epoch = max(block.epoch[0] for block in blocks) + 1, self._epoch[1]
        count: list[_Block] = []
        limit: int | None = None
        for _, mine in groupby(sorted(blocks, key=_by_epoch, reverse=True), _by_epoch):
            begins = limit
            for block in mine:
                if limit is None or block.number < limit:
                    count.append(block)
                else:
                    self._strays += block.keys
                begin = block.content["begin"]
                begins = begin if begins is None else min(begin, begins)
            limit = begins
        return sorted(count, key=lambda block: block.number)


def _by_epoch(block: _Block) -> tuple[int, int]:
    return block.epoch


def _put_together(entries: Iterable[tuple[bytes, bytes]], strays: list[bytes]) -> list[_Block]:
    """The blocks of which all parts are there; the keys of others become strays."""
    found: dict[tuple[int, ...], dict[int, Entry]] = {}
    for key, value in entries:
        match = _KEY.fullmatch(key)
        if match is None:
            raise DataStalkerError(
                f"the state has a record {key!r}: was it written by something else?"
            )
        number, part, parts, *epoch = map(int, match.groups())
        found.setdefault((number, parts, *epoch), {})[part] = key, value
    blocks = []
    for (number, parts, count, generation), pieces in found.items():
        keys = [key for key, _ in pieces.values()]
        if len(pieces) != parts:
            strays += keys
            continue
        data = b"".join(pieces[n][1] or b"" for n in range(parts))
        blocks.append(_Block(number, (count, generation), keys, _read(data)))
    return blocks


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
        if block["slots"] < 1 or block["number"] < 0 or block["begin"] < 0:
            raise ValueError("its number is none")
        return block
    except Exception as error:  # whatever zlib and json raise for what is none
        raise DataStalkerError(
            f"a block of state can't be read ({error}): was it written by something else?"
        ) from error
