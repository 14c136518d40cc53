"""`when:`, the condition that any stage or sink may carry. What does not meet it passes by.

    when: {type: frame, kind: [BEACON, PROBE_RESP]}        # equal; a list: one of these
    when: {signal_dbm: {gte: -70}, ssid: {matches: "^guest"}}
    when: {sensor: {not: lab}, ta_oui: {exists: true}}

All parts must hold. Comparisons: equals, in, not, matches (regular expression, searched), gt, gte,
lt, lte, exists. A field that is null meets only `equals: null` (or null in a list), `not` something,
and `exists: false`. Addresses may be written in any usual notation.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from datastalker.address import normalise
from datastalker.annotation import Path
from datastalker.message import FIELDS, FRAME_FIELDS, KIND_NAMES, PRESENCE_FIELDS, Message
from datastalker.options import Report, suggest

Predicate = Callable[[Message], bool]
Test = Callable[[Any], bool]

_KNOWN_TYPES = (*FIELDS, "message")
_CONTRACT = FRAME_FIELDS | PRESENCE_FIELDS  # a plug-in may use names such as `state` as it likes
COMPARISONS: dict[str, Callable[[Any], Test]] = {
    "equals": lambda wanted: lambda value: bool(value == wanted),
    "in": lambda wanted: lambda value: value in wanted,
    "not": lambda wanted: lambda value: value not in wanted,
    "matches": lambda wanted: lambda value: isinstance(value, str) and bool(wanted.search(value)),
    "gt": lambda wanted: lambda value: _is_number(value) and value > wanted,
    "gte": lambda wanted: lambda value: _is_number(value) and value >= wanted,
    "lt": lambda wanted: lambda value: _is_number(value) and value < wanted,
    "lte": lambda wanted: lambda value: _is_number(value) and value <= wanted,
    "exists": lambda wanted: lambda value: (value is not None) == wanted,
}
"""By name: takes what to compare with (of `matches` compiled, of `not` a list), gives the test."""
NUMERIC = {"gt", "gte", "lt", "lte"}
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int, float),
    "boolean": (bool,),
    "text": (str,),
    "address": (str,),
    "kind": (str,),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def compile_condition(
    when: Any, path: Path, report: Report, warn: Report, emits: Iterable[str] = ()
) -> Predicate:
    """The condition as a function of a message; mistakes go to `report` with their path.

    `emits`: types of messages that stages make, beside those of the contract.
    """
    if not isinstance(when, Mapping) or not when:
        report(path, "'when' must be a mapping such as {kind: BEACON} or {signal_dbm: {gte: -70}}")
        return lambda message: True
    tests: list[tuple[str, Test]] = []
    for field, wanted in when.items():
        here = (*path, field)
        if field not in _CONTRACT and field != "type":
            close = misspelt(str(field), _CONTRACT)
            if close:
                warn(here, f"no built-in field is called '{field}'{close}")
        if field == "type":
            for said in misspelt_types(wanted, {*_KNOWN_TYPES, *emits}):
                warn(here, said)
        if isinstance(wanted, Mapping):
            if not wanted:
                report(here, f"'{field}' compares with nothing; give one of {_names()}")
            for name, operand in wanted.items():
                test = _comparison(str(field), str(name), operand, (*here, name), report)
                if test:
                    tests.append((str(field), test))
        else:
            name = "in" if isinstance(wanted, list) else "equals"
            test = _comparison(str(field), name, wanted, here, report)
            if test:
                tests.append((str(field), test))
    if len(tests) == 1:
        only, check = tests[0]
        if only == "type":
            return lambda message: check(message.type)
        return lambda message: check(message.get(only))
    return lambda message: all(
        test(message.type if field == "type" else message.get(field)) for field, test in tests
    )


def misspelt(field: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """What it probably should be; not for `ta_oui`: a stage names a key after what it is made of."""
    names = list(known)
    if len(field) == 2:  # one letter of two is half of it
        close = [name for name in names if len(name) == 2 and name[0] == field[0]]
    else:
        close = difflib.get_close_matches(field, names, 1, cutoff)
    for name in close:
        if not set(name.split("_")) <= set(field.split("_")):
            return f", did you mean '{name}'?"
    return ""


def misspelt_types(wanted: Any, known: Collection[str]) -> Iterator[str]:
    """What is said of types of messages that are spelt nearly as one that there is."""
    operands = wanted.values() if isinstance(wanted, Mapping) else [wanted]
    for operand in operands:
        for value in operand if isinstance(operand, list) else [operand]:
            if isinstance(value, str) and value not in known:
                for close in difflib.get_close_matches(value, known, 1, 0.7):
                    yield f"no type of messages is called '{value}', did you mean '{close}'?"


def _names() -> str:
    return ", ".join(COMPARISONS)


def _comparison(field: str, name: str, operand: Any, path: Path, report: Report) -> Test | None:
    if name not in COMPARISONS:
        report(path, f"unknown comparison '{name}'{suggest(name, COMPARISONS)}")
        return None
    if name in NUMERIC:
        contract = _CONTRACT.get(field)
        if contract is not None and contract.type != "integer":
            report(path, f"'{field}' is no number ({contract.type}): '{name}' never holds")
            return None
        if not _is_number(operand) or math.isnan(operand):
            report(path, f"'{name}' compares with a number, not {operand!r}")
            return None
    elif name == "matches":
        contract = _CONTRACT.get(field)
        if contract is not None and str not in _TYPES.get(contract.type, ()):
            report(path, f"'{field}' is no text ({contract.type}): 'matches' never holds")
            return None
        if isinstance(operand, (bool, list, dict)) or operand is None:
            report(path, "'matches' takes a regular expression; quote it")
            return None
        try:
            flags = re.IGNORECASE if _is_address(field) else 0
            operand = re.compile(str(operand), flags)
        except (re.error, OverflowError, RecursionError) as error:
            report(path, f"'{operand}' is no regular expression: {error}")
            return None
    elif name == "exists":
        if not isinstance(operand, bool):
            report(path, "'exists' is true or false")
            return None
    else:
        if name == "in" and not isinstance(operand, list):
            report(path, "'in' takes a list")
            return None
        if name == "equals" and isinstance(operand, list) and field in _CONTRACT:
            report(path, "'equals' takes one value; for one of several use 'in'")
            return None
        if name == "not" and not isinstance(operand, list):
            operand = [operand]
        values = operand if isinstance(operand, list) else [operand]
        if not all(_plausible(field, value, path, report) for value in values):
            return None
        values = [form for value in values for form in _forms(field, value)]
        if isinstance(operand, list):
            operand = values
        elif len(values) == 1:
            operand = values[0]
        else:
            name, operand = "in", values
    return COMPARISONS[name](operand)


def _is_address(field: str) -> bool:
    return field in _CONTRACT and _CONTRACT[field].type == "address"


def _forms(field: str, value: Any) -> list[Any]:
    """What a field may hold that a condition compares with `value`: an address has one form.

    What tells a device, or a plug-in's key, may be an address or any other text.
    """
    address = normalise(value) if isinstance(value, str) else None
    if address is None or address == value:
        return [value]
    if _is_address(field):
        return [address]
    return [value, address] if field == "key" or field not in _CONTRACT else [value]


def _plausible(field: str, value: Any, path: Path, report: Report) -> bool:
    """Whether a field of the contract can ever have this value."""
    contract = _CONTRACT.get(field)
    if value is None or contract is None:
        return True
    types = _TYPES.get(contract.type)
    if types is None:
        report(path, f"'{field}' holds {contract.type}; compare it with 'exists'")
        return False
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        report(path, f"'{field}' holds {contract.type}, never {value!r}")
        return False
    if contract.type == "address" and normalise(str(value)) is None:
        text = f"'{field}' is an address, such as 02:00:00:00:00:01, never '{value}'"
        report(path, f'{text}; for a part of one: {{matches: "^02:00"}}')
        return False
    if contract.type == "kind" and value not in KIND_NAMES:
        report(path, f"no frame is of kind '{value}'{suggest(str(value), KIND_NAMES)}")
        return False
    return True
