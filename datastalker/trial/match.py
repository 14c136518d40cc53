"""Whether messages are what was expected, and where they are not, how they differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datastalker import moment
from datastalker.address import normalise
from datastalker.condition import COMPARISONS
from datastalker.expected import TIMES, is_matcher
from datastalker.message import FRAME_FIELDS, Message


@dataclass(frozen=True, slots=True)
class Clock:
    """What `start` and `now` are."""

    start: int
    now: int


@dataclass(slots=True)
class Compared:
    """`pairs`: (index of what was expected, of what came), None where one has no other. `wrong`:
    those without. In the order of what came."""

    pairs: list[tuple[int | None, int | None]] = field(default_factory=list)

    @property
    def missing(self) -> list[int]:
        return [wanted for wanted, got in self.pairs if wanted is not None and got is None]

    @property
    def unexpected(self) -> list[int]:
        return [got for wanted, got in self.pairs if got is not None and wanted is None]


def holds(wanted: Any, value: Any, clock: Clock, key: str = "") -> bool:
    """Whether a value is what was wanted: the same, or what the comparisons say."""
    if is_matcher(wanted):
        return all(_compare(name, operand, value, clock, key) for name, operand in wanted.items())
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            holds(inner, value.get(name), clock) for name, inner in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(wanted)
            and all(holds(w, v, clock) for w, v in zip(wanted, value, strict=True))
        )
    return _equal(_operand(wanted, clock, key), value)


def _compare(name: str, operand: Any, value: Any, clock: Clock, key: str) -> bool:
    if name == "time":
        return _equal(moment.moment(operand, clock.start, clock.now), value)
    if name == "matches":
        return COMPARISONS[name](re.compile(operand))(value)
    if name in ("in", "not"):
        listed = operand if isinstance(operand, list) else [operand]
        found = any(_equal(_operand(item, clock, key), value) for item in listed)
        return found is (name == "in")
    if name == "equals":
        return _equal(_operand(operand, clock, key), value)
    return COMPARISONS[name](_operand(operand, clock, key))(value)


def _operand(wanted: Any, clock: Clock, key: str) -> Any:
    if not isinstance(wanted, str):
        return wanted
    if key in TIMES:
        return moment.moment(wanted, clock.start, clock.now)
    contract = FRAME_FIELDS.get(key)
    if contract is None or contract.type != "address":
        return wanted
    return normalise(wanted) or wanted


def _equal(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def differences(
    wanted: Mapping[str, Any], got: Mapping[str, Any], clock: Clock, *, exact: bool = False
) -> list[str]:
    """The keys in which a message is not what was expected."""
    wrong = []
    for key, value in wanted.items():
        if key == "type" and isinstance(got, Message):
            same = holds(value, got.type, clock)
        else:
            same = holds(value, got.get(key), clock, key)
        if not same:
            wrong.append(key)
    if exact:
        wrong += [key for key in got if key not in wanted]
    return wrong


def compare(
    wanted: Sequence[Mapping[str, Any]],
    got: Sequence[Mapping[str, Any]],
    clock: Clock,
    *,
    exact: bool = False,
    any_order: bool = False,
) -> Compared:
    """Match what came with what was expected, as much of it as possible."""

    def same(w: int, g: int) -> bool:
        return not differences(wanted[w], got[g], clock, exact=exact)

    chosen = (_assign if any_order else _align)(len(wanted), len(got), same)
    found = {g: w for w, g in chosen}
    out = Compared()
    left = [w for w in range(len(wanted)) if w not in found.values()]
    for g in range(len(got)):
        w = found.get(g)
        while not any_order and w is not None and left and left[0] < w:
            out.pairs.append((left.pop(0), None))
        out.pairs.append((w, g))
    out.pairs += [(w, None) for w in left]
    return out


def _align(wanted: int, got: int, same: Any) -> list[tuple[int, int]]:
    """The longest row of matches in which both orders hold."""
    at = 0  # what begins alike needs no table: nearly always, that is all
    while at < min(wanted, got) and same(at, at):
        at += 1
    head = [(n, n) for n in range(at)]
    wanted, got = wanted - at, got - at
    best = [[0] * (got + 1) for _ in range(wanted + 1)]
    alike = [[same(at + w, at + g) for g in range(got)] for w in range(wanted)]
    for w in range(wanted - 1, -1, -1):
        for g in range(got - 1, -1, -1):
            skip = max(best[w + 1][g], best[w][g + 1])
            best[w][g] = max(skip, best[w + 1][g + 1] + 1) if alike[w][g] else skip
    w = g = 0
    while w < wanted and g < got:
        if alike[w][g] and best[w][g] == best[w + 1][g + 1] + 1:
            head.append((at + w, at + g))
            w, g = w + 1, g + 1
        elif best[w + 1][g] >= best[w][g + 1]:
            w += 1
        else:
            g += 1
    return head


def _assign(wanted: int, got: int, same: Any) -> list[tuple[int, int]]:
    """As many matches as there can be, in any order."""
    owner: dict[int, int] = {}

    def place(w: int, tried: set[int]) -> bool:
        for g in range(got):
            if g not in tried and same(w, g):
                tried.add(g)
                if g not in owner or place(owner[g], tried):
                    owner[g] = w
                    return True
        return False

    for w in range(wanted):
        place(w, set())
    return [(w, g) for g, w in owner.items()]


def closest(
    wanted: Mapping[str, Any], got: Sequence[Mapping[str, Any]], clock: Clock, *, exact: bool
) -> int | None:
    """Which of those that came is most like what was expected; None: there is none."""
    order = [
        (len(differences(wanted, message, clock, exact=exact)), index)
        for index, message in enumerate(got)
    ]
    return min(order)[1] if order else None
