"""Reading what another version of a schema wrote, as a record of the current one.

Avro's schema resolution, as far as compatible versions need it (`schemas.check` sees to that they
are): fields that the writer hadn't get their default, fields that are no longer there are left out,
a name that an enum hasn't becomes its default. fastavro isn't asked: of a union with string and
bytes it reads bytes as text, which the specification allows.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import schemas
from datastalker.errors import WireError
from datastalker.wire.codec import compile_schema
from datastalker.wire.framing import Writer
from datastalker.wire.primitives import Read

MOST_NESTED = 32
"""How deep a schema may be nested."""

Convert = Callable[[Any], Any]


def resolve(writer: Writer, data: bytes, offset: int) -> dict[str, Any]:
    """The record at `offset`, as one of the current schema. Raises WireError."""
    read, convert = _resolution(writer)
    record, end = read(data, offset)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes follow its end")
    found: dict[str, Any] = convert(record)
    return found


@functools.lru_cache(64)
def _resolution(writer: Writer) -> tuple[Read, Convert]:
    assert writer.name is not None
    try:
        _check(writer.schema, 0)
        read = compile_schema(writer.schema).read
        current = schemas.current(writer.name)
        resolution = _Resolution(schemas.named(current), schemas.named(writer.schema))
        return read, resolution.converter(current, writer.schema, writer.schema["name"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WireError(
            f"it was written with a schema that can't be followed: {error!r}"
        ) from error


class _Resolution:
    def __init__(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        self._ours, self._theirs = ours, theirs

    def converter(self, ours: Any, theirs: Any, at: str) -> Convert:
        """What makes a value of their type one of ours, for the place `at`."""
        ours, theirs = self._ours.get(str(ours), ours), self._theirs.get(str(theirs), theirs)
        if ours == theirs:
            return _same
        if isinstance(ours, list) or isinstance(theirs, list):
            return self._union(ours, theirs, at)
        kind = theirs["type"] if isinstance(theirs, dict) else theirs
        if kind != (ours["type"] if isinstance(ours, dict) else ours):
            raise WireError(f"{at}: {kind} was written, where {ours} belongs")
        if kind == "record":
            return self._record(ours, theirs, at)
        if kind == "enum":
            return functools.partial(_enum, ours["symbols"], ours.get("default"), at)
        if kind == "array":
            convert = self.converter(ours["items"], theirs["items"], at)
            return lambda values: [convert(value) for value in values]
        if kind == "map":
            convert = self.converter(ours["values"], theirs["values"], at)
            return lambda values: {key: convert(value) for key, value in values.items()}
        if kind == "fixed" and ours["size"] != theirs["size"]:
            raise WireError(
                f"{at}: {theirs['size']} bytes were written, where {ours['size']} belong"
            )
        return _same

    def _union(self, ours: Any, theirs: Any, at: str) -> Convert:
        """Of null and one type, or of the same types: others are not told apart by a value."""
        mine = [member for member in _members(ours) if member != "null"]
        others = [member for member in _members(theirs) if member != "null"]
        nullable = "null" in _members(ours) or "null" not in _members(theirs)
        if len(mine) != 1 or len(others) != 1 or not nullable:
            if all(member in _members(ours) for member in _members(theirs)):
                return _same
            raise WireError(f"{at}: {theirs} was written, where {ours} belongs")
        convert = self.converter(mine[0], others[0], at)
        return lambda value: None if value is None else convert(value)

    def _record(self, ours: Any, theirs: Any, at: str) -> Convert:
        written = {field["name"]: field["type"] for field in theirs["fields"]}
        kept: list[tuple[str, str, Convert]] = []
        added: dict[str, Any] = {}
        for field in ours["fields"]:
            name = field["name"]
            names = [name, *field.get("aliases", ())]
            source = next((known for known in names if known in written), None)
            if source is not None:
                converter = self.converter(field["type"], written[source], f"{at}.{name}")
                kept.append((name, source, converter))
            elif "default" in field:
                added[name] = field["default"]
            else:
                raise WireError(f"{at}.{name} was not written, and has no default")

        def convert(value: dict[str, Any]) -> dict[str, Any]:
            record = {name: change(value[source]) for name, source, change in kept}
            return record | copy.deepcopy(added)

        return convert


def _same(value: Any) -> Any:
    return value


def _enum(symbols: list[str], default: str | None, at: str, value: str) -> str:
    if value in symbols:
        return value
    if default is None:
        raise WireError(f"{at}: there is no {value}")
    return default


def _members(schema: Any) -> list[Any]:
    return schema if isinstance(schema, list) else [schema]


def _check(schema: Any, depth: int) -> None:
    """Refuse a schema with which a few bytes could make us count for ever: one with a type whose
    values take none."""
    if depth > MOST_NESTED:
        raise WireError("its schema is nested too deeply")
    if isinstance(schema, list):
        for member in schema:
            _check(member, depth + 1)
    elif isinstance(schema, dict):
        item = schema.get("items", "string") if schema.get("type") == "array" else schema
        if not _takes_bytes(item, depth):
            raise WireError("its schema has a type whose values take no bytes")
        for part in schema.values():
            if isinstance(part, (dict, list)):
                _check(part, depth + 1)


def _takes_bytes(schema: Any, depth: int) -> bool:
    """Whether a value takes a byte at least; a named type does, or it was refused."""
    if depth > MOST_NESTED:
        raise WireError("its schema is nested too deeply")
    if not isinstance(schema, dict):
        return bool(schema != "null")
    kind = schema.get("type")
    if kind == "record":
        return any(_takes_bytes(field["type"], depth + 1) for field in schema["fields"])
    if kind == "fixed":
        return bool(schema["size"])
    return _takes_bytes(kind, depth + 1) if isinstance(kind, dict) else bool(kind != "null")
