"""Reading what another version of a schema wrote: Avro's schema resolution, by fastavro."""

from __future__ import annotations

import functools
from io import BytesIO
from typing import Any

import schemas
from datastalker.errors import DataStalkerError, WireError
from datastalker.wire.framing import Writer

MOST_NESTED = 32
"""How deep a schema may be nested."""


def resolve(writer: Writer, data: bytes, offset: int) -> dict[str, Any]:
    """The record at `offset`, as one of the current schema. Raises WireError."""
    try:
        import fastavro
    except ImportError as error:
        raise DataStalkerError(
            "another version of DataStalker wrote this; to read it: pip install fastavro"
        ) from error
    try:
        theirs, ours = _parsed(writer)
        stream = BytesIO(data)
        stream.seek(offset)
        record = fastavro.schemaless_reader(stream, theirs, ours)
    except WireError:
        raise
    except Exception as error:  # whatever fastavro raises for bytes that are no such record
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise WireError(f"it can't be read by the schema it was written with: {reason}") from error
    if stream.tell() != len(data):
        raise WireError(f"{len(data) - stream.tell()} bytes follow its end")
    return record  # type: ignore[return-value]


@functools.lru_cache(64)
def _parsed(writer: Writer) -> tuple[Any, Any]:
    import fastavro

    assert writer.name is not None
    _check(writer.schema, 0)
    theirs = fastavro.parse_schema(_bare(writer.schema))
    return theirs, fastavro.parse_schema(_bare(schemas.current(writer.name)))


def _bare(schema: Any) -> Any:
    """Without logical types: times stay numbers."""
    if isinstance(schema, dict):
        return {key: _bare(part) for key, part in schema.items() if key != "logicalType"}
    return [_bare(part) for part in schema] if isinstance(schema, list) else schema


def _check(schema: Any, depth: int) -> None:
    """Refuse a schema with which a few bytes could make us count for ever: one with an array of
    what takes no bytes, or with a type that takes none."""
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
