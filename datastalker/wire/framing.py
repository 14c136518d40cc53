"""What stands before the record in a Kafka message, and tells with which schema it was written.

- Single-object encoding, without a registry: C3 01, then the CRC-64-AVRO fingerprint of the
  schema's Parsing Canonical Form, little-endian. A reader knows every schema ever released.
- The Confluent wire format, with one: a zero byte, then the schema's id in the registry; see
  `datastalker.wire.registry`.
"""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from typing import Any

import schemas
from datastalker.errors import WireError

_MAGIC = b"\xc3\x01"
_EMPTY = 0xC15D213AA4D7A795


class Writer:
    """The schema that something was written with.

    `name`: which of `schemas.NAMES` it is a version of. `is_current`: it is the newest of ours, so
    what it wrote can be read without resolving one schema to another.
    """

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        full = (
            f"{schema.get('namespace', '')}.{schema.get('name')}"
            if isinstance(schema, dict)
            else ""
        )
        self.name = next(
            (n for n in schemas.NAMES if full == f"datastalker.{schemas.current(n)['name']}"), None
        )
        self.is_current = self.name is not None and (
            canonical(schema) == canonical(schemas.current(self.name))
        )

    def expect(self, *names: str) -> None:
        """Raise WireError unless it is one of these."""
        if self.name not in names:
            wanted = " or ".join(schemas.current(name)["name"] for name in names)
            found = self.schema.get("name") if isinstance(self.schema, dict) else self.schema
            raise WireError(f"it holds {found}, where {wanted} belongs")


class Framing(ABC):
    """How a schema is told."""

    @abstractmethod
    def prefix(self, name: str, topic: str) -> bytes:
        """The bytes to put before a record of the current schema `name` for a topic."""

    @abstractmethod
    def writer(self, data: bytes) -> tuple[Writer, int]:
        """The schema that a Kafka message was written with, and where its record starts."""

    def close(self) -> None:  # noqa: B027 - nothing to do is what most do
        """Let go of connections."""


class SingleObject(Framing):
    """Avro's single-object encoding: needs nothing but the schemas we have."""

    def prefix(self, name: str, topic: str = "") -> bytes:
        return single_object_prefix(name)

    def writer(self, data: bytes) -> tuple[Writer, int]:
        known = _known().get(data[:10])
        if known is not None:
            return known, 10
        raise WireError(_what_is(data))


@functools.cache
def single_object_prefix(name: str) -> bytes:
    """C3 01 and the fingerprint of a current schema."""
    return _prefix(schemas.current(name))


def _prefix(schema: Any) -> bytes:
    return _MAGIC + fingerprint(canonical(schema).encode()).to_bytes(8, "little")


@functools.cache
def _known() -> dict[bytes, Writer]:
    every = [schemas.current(name) for name in schemas.NAMES]
    for name in schemas.NAMES:
        every += schemas.released(name).values()
    return {_prefix(schema): Writer(schema) for schema in reversed(every)}


def _what_is(data: bytes) -> str:
    """Why these bytes can't be told a schema."""
    if not data:
        return "there is nothing in it"
    if data[:2] == _MAGIC and len(data) >= 10:
        return (
            f"it was written with a schema that isn't known here (fingerprint {data[9:1:-1].hex()}): "
            "by a later version? Bring who reads up to date before who writes"
        )
    if data[0] == 0 and len(data) >= 5:
        return (
            f"it is in the format of a schema registry (schema id {int.from_bytes(data[1:5], 'big')}): "
            "set schema_registry: {url: ...}"
        )
    return f"it is no Avro of ours: it starts with {data[:10].hex(' ')}"


def canonical(schema: Any, namespace: str = "") -> str:
    """The Parsing Canonical Form: what readers go by, nothing else, always written the same."""
    if isinstance(schema, list):
        return "[" + ",".join(canonical(member, namespace) for member in schema) + "]"
    if not isinstance(schema, dict):
        return json.dumps(_full_name(schema, namespace) if schema not in _PRIMITIVES else schema)
    kind = schema["type"]
    if kind in ("array", "map"):
        item = "items" if kind == "array" else "values"
        return f'{{"type":"{kind}","{item}":{canonical(schema[item], namespace)}}}'
    if kind not in ("record", "enum", "fixed"):
        return canonical(kind, namespace)  # {"type": "long", "logicalType": ...} is "long"
    name = _full_name(schema["name"], schema.get("namespace", namespace))
    inner = name.rpartition(".")[0]
    parts = [f'"name":{json.dumps(name)}', f'"type":"{kind}"']
    if kind == "record":
        fields = (
            f'{{"name":{json.dumps(field["name"])},"type":{canonical(field["type"], inner)}}}'
            for field in schema["fields"]
        )
        parts.append(f'"fields":[{",".join(fields)}]')
    elif kind == "enum":
        parts.append(f'"symbols":{json.dumps(schema["symbols"], separators=(",", ":"))}')
    else:
        parts.append(f'"size":{schema["size"]}')
    return "{" + ",".join(parts) + "}"


_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def fingerprint(data: bytes) -> int:
    """CRC-64-AVRO."""
    table = _table()
    value = _EMPTY
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 255]
    return value


@functools.cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_EMPTY if value & 1 else 0)
        table.append(value)
    return table
