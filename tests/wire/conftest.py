"""What the tests of the wire share: fastavro as a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import pytest

import schemas


def bare(schema: Any) -> Any:
    """Without logical types, so that times are numbers for fastavro too."""
    if isinstance(schema, dict):
        return {key: bare(part) for key, part in schema.items() if key != "logicalType"}
    return [bare(part) for part in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope="session")
def fastavro_write() -> Callable[[str, Any], bytes]:
    """(name of a schema, record) -> the bytes that fastavro writes."""
    parsed = {name: fastavro.parse_schema(bare(schemas.current(name))) for name in schemas.NAMES}

    def write(name: str, record: Any) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed[name], record)
        return out.getvalue()

    return write


@pytest.fixture(scope="session")
def fastavro_read() -> Callable[[str, bytes], Any]:
    """(name of a schema, bytes) -> the record that fastavro reads."""
    parsed = {name: fastavro.parse_schema(bare(schemas.current(name))) for name in schemas.NAMES}
    return lambda name, data: fastavro.schemaless_reader(BytesIO(data), parsed[name], None)
