"""What an option's annotation means: whether a value is of that type, in words, as JSON Schema."""

from __future__ import annotations

import math
import types
from typing import Any, Literal, Union, get_args, get_origin

from datastalker.address import Address, normalise

Path = tuple[str | int, ...]


def supported(annotation: Any) -> bool:
    """Whether YAML can hold it, and `fit` can tell."""
    if get_origin(annotation) in (Union, types.UnionType, list, dict):
        return bool(get_args(annotation)) and all(map(supported, get_args(annotation)))
    return get_origin(annotation) is Literal or annotation in (*_WORDS, None, list)


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def fit(annotation: Any, value: Any) -> tuple[bool, Any, Path]:
    """(fits, the value as that type, path to what doesn't fit inside it)."""
    deeper: Path = ()
    culprit = value
    for member in _members(annotation):
        ok, fitted, wrong = _fit_one(member, value)
        if ok:
            return True, fitted, ()
        if wrong:
            deeper, culprit = wrong, fitted
    return False, culprit, deeper


def _fit_one(annotation: Any, value: Any) -> tuple[bool, Any, Path]:
    origin = get_origin(annotation)
    if annotation is Any:
        return True, value, ()
    if annotation in (None, type(None)):
        return value is None, value, ()
    if origin is Literal:
        return value in get_args(annotation), value, ()
    if origin is list or annotation is list:
        if not isinstance(value, list):
            return False, value, ()
        if annotation is list:
            return True, value, ()
        fitted_list = []
        for index, item in enumerate(value):
            ok, fitted, wrong = fit(get_args(annotation)[0], item)
            if not ok:
                return False, fitted, (index, *wrong)
            fitted_list.append(fitted)
        return True, fitted_list, ()
    if origin is dict or annotation is dict:
        if not isinstance(value, dict):
            return False, value, ()
        if annotation is dict:
            return True, value, ()
        fitted_dict = {}
        for key, item in value.items():
            ok, fitted, wrong = fit(get_args(annotation)[1], item)
            if not ok:
                return False, fitted, (key, *wrong)
            fitted_dict[key] = fitted
        return True, fitted_dict, ()
    if annotation is float:
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        ok = ok and math.isfinite(value)
        return ok, float(value) if ok else value, ()
    if annotation is Address:
        address = normalise(value) if isinstance(value, str) else None
        return address is not None, address or value, ()
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool), value, ()
    return isinstance(value, annotation), value, ()


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Address: "an address such as 02:00:00:00:00:01",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
    Any: "anything",
}


def describe(annotation: Any) -> str:
    """A type in words."""
    parts = []
    for member in _members(annotation):
        origin = get_origin(member)
        if origin is Literal:
            parts.append("one of " + ", ".join(str(arg) for arg in get_args(member)))
        elif origin is list:
            item = get_args(member)[0]
            many = "addresses such as 02:00:00:00:00:01" if item is Address else describe(item)
            parts.append(f"a list of {many}")
        elif origin is dict:
            parts.append(f"a mapping to {describe(get_args(member)[1])}")
        else:
            parts.append(_WORDS.get(member, getattr(member, "__name__", str(member))))
    return " or ".join(parts)


_SCHEMA = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Address: "string",
    type(None): "null",
}


def json_schema(annotation: Any) -> dict[str, Any]:
    """A type as JSON Schema."""
    members = _members(annotation)
    if len(members) > 1:
        return {"anyOf": [json_schema(member) for member in members]}
    origin = get_origin(annotation)
    if origin is Literal:
        return {"enum": list(get_args(annotation))}
    if origin is list:
        return {"type": "array", "items": json_schema(get_args(annotation)[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": json_schema(get_args(annotation)[1])}
    if annotation in (list, dict):
        return {"type": "array" if annotation is list else "object"}
    return {"type": _SCHEMA[annotation]} if annotation in _SCHEMA else {}
