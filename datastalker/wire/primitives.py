"""Avro's primitive types in its binary encoding, trusting nothing that is read."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from datastalker.errors import WireError

Write = Callable[[Any], bytes]
Read = Callable[[bytes, int], tuple[Any, int]]

_FLOAT, _DOUBLE = Struct("<f"), Struct("<d")
_INT, _LONG = 1 << 31, 1 << 63


class Codec(NamedTuple):
    """How values of a schema are written and read; of a record, also how its fields are."""

    write: Write
    read: Read
    fields: dict[str, Codec] = {}  # noqa: RUF012 - never changed


def write_long(value: int) -> bytes:
    """Zigzag, then seven bits a byte, the lowest first."""
    if value in _SMALL:
        return _SMALL[value]
    return write_unsigned(value << 1 ^ value >> 63)


def write_unsigned(rest: int) -> bytes:
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = {value: bytes((value << 1 ^ value >> 63,)) for value in range(-64, 64)}


def read_long(data: bytes, offset: int) -> tuple[int, int]:
    start, value, shift = offset, 0, 0
    while offset < len(data):
        byte = data[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value >> 1 ^ -(value & 1), offset
        shift += 7
        if shift > 63:
            break
    else:
        raise cut_short(data)
    raise WireError(f"the number at byte {start} is longer than 64 bits")


def cut_short(data: bytes) -> WireError:
    return WireError(f"cut short: it ends inside a value, after {len(data)} bytes")


def whole(value: Any, limit: int = _LONG) -> int:
    """A whole number in [-limit, limit), given as anything that equals one."""
    if type(value) is int and -limit <= value < limit:
        return value
    number = int(value) if not isinstance(value, (str, bytes)) else None
    if number is None or number != value:
        raise TypeError("it is no whole number")
    if not -limit <= number < limit:
        raise ValueError(f"it doesn't fit into {limit.bit_length()} bits")
    return number


def _write_int(value: Any) -> bytes:
    return write_long(whole(value, _INT))


def _read_int(data: bytes, offset: int) -> tuple[int, int]:
    value, end = read_long(data, offset)
    if not -_INT <= value < _INT:
        raise WireError(f"the number at byte {offset} is longer than 32 bits")
    return value, end


def _write_long(value: Any) -> bytes:
    return write_long(whole(value))


def _write_boolean(value: Any) -> bytes:
    if value == 1:
        return b"\1"
    if value == 0:
        return b"\0"
    raise TypeError("it is neither true nor false")


def _read_boolean(data: bytes, offset: int) -> tuple[bool, int]:
    if offset >= len(data):
        raise cut_short(data)
    if data[offset] > 1:
        raise WireError(f"byte {offset} is neither true nor false")
    return data[offset] == 1, offset + 1


def _write_double(value: Any) -> bytes:
    return _DOUBLE.pack(value)


def _read_double(data: bytes, offset: int) -> tuple[float, int]:
    if offset + 8 > len(data):
        raise cut_short(data)
    return _DOUBLE.unpack_from(data, offset)[0], offset + 8


def _write_float(value: Any) -> bytes:
    return _FLOAT.pack(value)


def _read_float(data: bytes, offset: int) -> tuple[float, int]:
    if offset + 4 > len(data):
        raise cut_short(data)
    return _FLOAT.unpack_from(data, offset)[0], offset + 4


def _write_bytes(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError("it is no bytes")
    return write_long(len(value)) + value


def _read_bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    size, begin = read_long(data, offset)
    if size < 0:
        raise WireError(f"the length at byte {offset} is below 0")
    if size > len(data) - begin:
        raise cut_short(data)
    return data[begin : begin + size], begin + size


def write_string(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError("it is no text")
    # What no UTF-8 can hold (half a surrogate pair, from a file's name) becomes a question mark.
    raw = value.encode("utf-8", "replace")
    return write_long(len(raw)) + raw


def read_string(data: bytes, offset: int) -> tuple[str, int]:
    raw, end = _read_bytes(data, offset)
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise WireError(f"the text at byte {offset} is not UTF-8: {error.reason}") from error


def _write_null(value: Any) -> bytes:
    if value is not None:
        raise TypeError("it is not null")
    return b""


PRIMITIVES = {
    "null": Codec(_write_null, lambda data, offset: (None, offset)),
    "boolean": Codec(_write_boolean, _read_boolean),
    "int": Codec(_write_int, _read_int),
    "long": Codec(_write_long, read_long),
    "float": Codec(_write_float, _read_float),
    "double": Codec(_write_double, _read_double),
    "bytes": Codec(_write_bytes, _read_bytes),
    "string": Codec(write_string, read_string),
}
