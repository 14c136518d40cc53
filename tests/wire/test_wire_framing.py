"""Schemas are told by their fingerprint, as Avro's specification says."""

from __future__ import annotations

import pytest
from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form

import schemas
from datastalker.wire import SingleObject
from datastalker.wire.framing import Writer, canonical, fingerprint

SCHEMAS = [schemas.current(name) for name in schemas.NAMES] + [
    schema for name in schemas.NAMES for schema in schemas.released(name).values()
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_canonical_form_and_fingerprint_are_those_of_fastavro(schema: object) -> None:
    form = to_parsing_canonical_form(schema)  # type: ignore[arg-type]
    assert canonical(schema) == form
    raw = fingerprint(form.encode()).to_bytes(8, "little")
    assert raw.hex() == fastavro_fingerprint(form, "CRC-64-AVRO")


def test_the_fingerprint_of_null_is_that_of_the_specification() -> None:
    assert fingerprint(canonical("null").encode()) == 0x63DD24E7CC258F8A


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_released_version_is_known(name: str) -> None:
    for schema in schemas.released(name).values():
        prefix = b"\xc3\x01" + fingerprint(canonical(schema).encode()).to_bytes(8, "little")
        writer, offset = SingleObject().writer(prefix + b"rest")
        assert (writer.name, offset) == (name, 10)


def test_what_only_people_read_changes_no_fingerprint() -> None:
    schema = {**schemas.current("event"), "doc": "another"}
    assert Writer(schema).is_current


def test_a_schema_of_somebody_else_has_no_name() -> None:
    assert Writer({"type": "record", "name": "FrameBatch", "fields": []}).name is None
    assert Writer("string").name is None
