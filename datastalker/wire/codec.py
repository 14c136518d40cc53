"""Avro's binary encoding, for one schema: https://avro.apache.org/docs/1.12.0/specification/

    write, read = compile_schema(schema)
    write(value)            # -> bytes, those that fastavro writes
    read(data, offset)      # -> (value, the offset behind it)

`read` trusts nothing: what is cut short, out of range or not UTF-8 is a WireError that says at
which byte, and a count or length is believed only as far as bytes follow. Logical types are left
to the caller: a timestamp is a number of microseconds.
"""

from __future__ import annotations

from typing import Any

from datastalker.errors import WireError
from datastalker.text import a_or_an
from datastalker.wire.primitives import (
    PRIMITIVES,
    Codec,
    Write,
    cut_short,
    read_long,
    read_string,
    write_long,
    write_string,
)

_END = b"\0"


def compile_schema(schema: Any, names: dict[str, Codec] | None = None) -> Codec:
    """The codec of a schema that was read from JSON. `names`: of named types, filled on the way."""
    names = {} if names is None else names
    if isinstance(schema, list):
        return _union(schema, names)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (list, dict)):
        return compile_schema(kind, names)
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if _short(kind) in names:
        return names[_short(kind)]
    if kind in ("array", "map"):
        item = compile_schema(schema["items" if kind == "array" else "values"], names)
        return _array(item) if kind == "array" else _map(item)
    made = {"fixed": _fixed, "enum": _enum, "record": _record}[kind](schema, names)
    names[_short(schema["name"])] = made
    return made


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _fixed(schema: dict[str, Any], names: dict[str, Codec]) -> Codec:
    size = schema["size"]

    def write(value: Any) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise TypeError(f"it is no {size} bytes")
        return value

    def read(data: bytes, offset: int) -> tuple[bytes, int]:
        if offset + size > len(data):
            raise cut_short(data)
        return data[offset : offset + size], offset + size

    return Codec(write, read)


def _enum(schema: dict[str, Any], names: dict[str, Codec]) -> Codec:
    symbols = schema["symbols"]
    numbers = {symbol: write_long(number) for number, symbol in enumerate(symbols)}

    def write(value: Any) -> bytes:
        if value not in numbers:
            raise ValueError(f"{schema['name']} has no such name")
        return numbers[value]

    def read(data: bytes, offset: int) -> tuple[str, int]:
        number, end = read_long(data, offset)
        if not 0 <= number < len(symbols):
            raise WireError(f"byte {offset}: {schema['name']} has no name with number {number}")
        return symbols[number], end

    return Codec(write, read)


def _record(schema: dict[str, Any], names: dict[str, Codec]) -> Codec:
    fields = {field["name"]: compile_schema(field["type"], names) for field in schema["fields"]}
    defaults = {f["name"]: f["default"] for f in schema["fields"] if "default" in f}
    readers = [(name, codec.read) for name, codec in fields.items()]

    def write(value: Any) -> bytes:
        parts = []
        for name, codec in fields.items():
            try:
                parts.append(codec.write(value[name] if name in value else defaults[name]))
            except KeyError as error:
                raise TypeError(f"there is no '{error.args[0]}'") from None
        return b"".join(parts)

    def read(data: bytes, offset: int) -> tuple[dict[str, Any], int]:
        out = {}
        for name, reader in readers:
            out[name], offset = reader(data, offset)
        return out, offset

    return Codec(write, read, fields)


def blocks(data: bytes, offset: int, least: int) -> tuple[int, int]:
    """The count of a block of an array or map, 0 at its end, and the offset of its first item.

    `least`: bytes that an item takes at least, so a count is refused that no bytes could follow.
    """
    count, begin = read_long(data, offset)
    if count < 0:
        count = -count
        _, begin = read_long(data, begin)
    if count * least > len(data) - begin:
        raise WireError(
            f"byte {offset} speaks of {count} items, and {len(data) - begin} bytes follow"
        )
    return count, begin


def _array(item: Codec) -> Codec:
    def write(value: Any) -> bytes:
        if not isinstance(value, (list, tuple)):
            raise TypeError("it is no list")
        if not value:
            return _END
        return b"".join([write_long(len(value)), *map(item.write, value), _END])

    def read(data: bytes, offset: int) -> tuple[list[Any], int]:
        out: list[Any] = []
        while True:
            count, offset = blocks(data, offset, 1)
            if not count:
                return out, offset
            for _ in range(count):
                value, offset = item.read(data, offset)
                out.append(value)

    return Codec(write, read)


def _map(item: Codec) -> Codec:
    def write(value: Any) -> bytes:
        if not isinstance(value, dict):
            raise TypeError("it is no mapping")
        if not value:
            return _END
        pairs = [write_string(key) + item.write(found) for key, found in value.items()]
        return b"".join([write_long(len(value)), *pairs, _END])

    def read(data: bytes, offset: int) -> tuple[dict[str, Any], int]:
        out: dict[str, Any] = {}
        while True:
            count, offset = blocks(data, offset, 1)
            if not count:
                return out, offset
            for _ in range(count):
                key, offset = read_string(data, offset)
                out[key], offset = item.read(data, offset)

    return Codec(write, read)


def _union(schema: list[Any], names: dict[str, Codec]) -> Codec:
    members = [compile_schema(member, names) for member in schema]
    readers = [member.read for member in members]
    branches: dict[type, tuple[bytes, Write]] = {}
    for number, (member, codec) in enumerate(zip(schema, members, strict=True)):
        kind = member["type"] if isinstance(member, dict) else member
        for accepted in _PYTHON.get(kind, ()):
            branches.setdefault(accepted, (write_long(number), codec.write))
    nullable = len(members) == 2 and schema[0] == "null"
    fields = members[1].fields if nullable else {}
    only = members[1].write

    def write_nullable(value: Any) -> bytes:
        return b"\0" if value is None else b"\2" + only(value)

    def write(value: Any) -> bytes:
        branch = branches.get(type(value))
        if branch is None:
            for accepted, branch in branches.items():  # noqa: B007
                if isinstance(value, accepted):
                    break
            else:
                raise TypeError(f"{a_or_an(type(value).__name__)} can't be written")
        return branch[0] + branch[1](value)

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        number, begin = read_long(data, offset)
        if not 0 <= number < len(readers):
            raise WireError(f"byte {offset}: the union has no branch {number}")
        return readers[number](data, begin)

    return Codec(write_nullable if nullable else write, read, fields)


_PYTHON: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes, bytearray),
    "array": (list, tuple),
    "map": (dict,),
    "record": (dict,),
}
"""What Python type is written as what in a union of more than null and another."""
