"""Writes docs/wire.md: the fields of the schemas, and what else a Kafka message of ours has."""

from __future__ import annotations

import json
from typing import Any

import schemas
from datastalker.dead_letter import PREFIX
from datastalker.delivery import NUMBER, ORIGIN

_ABOUT = """\
# Wire schemas

Made by `make reference` from `schemas/*.avsc`. A topic of frames carries `FrameBatch`, one batch of
frames of one partition in a message; `presence` events are `Presence`, messages of every other type
`Event`, one in a message. [The keys of messages](reference.md) are what a stage sees; this is how
they travel.

Which schema wrote a message is told by Avro's single-object encoding (`C3 01` and the fingerprint),
or with `schema_registry:` by Confluent's format (`00` and the registry's id). Every version that was
released is kept in `schemas/released` and can be read for ever.
"""

_HEADERS = [
    (f"`{ORIGIN}`", "what workers send", "`TOPIC/PARTITION/OFFSET` of what it was made from"),
    (f"`{NUMBER}`", "what workers send", "which of what was made from that, from 0"),
    (f"`{PREFIX}topic`, `…partition`, `…offset`", "dead letters", "where the message lay"),
    (f"`{PREFIX}who`, `…reason`", "dead letters", "the stage or sink that gave up, and why"),
    (f"`{PREFIX}time`", "dead letters", "when it did, microseconds since 1970"),
    (f"`{PREFIX}traceback`", "dead letters", "of an exception"),
    (f"`{PREFIX}ids`", "dead letters", "the messages in it that were refused, if not all"),
]


def wire() -> str:
    """The text of docs/wire.md."""
    lines = [_ABOUT]
    for name in schemas.NAMES:
        lines += _record(schemas.current(name), "##")
    lines += [
        "## Headers of a Kafka message",
        "",
        "| header | on | what |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(row)} |" for row in _HEADERS]
    lines += [
        "",
        "A dead letter's key, value and other headers are those of the message as it came.",
        "",
    ]
    return "\n".join(lines)


def _record(schema: dict[str, Any], level: str) -> list[str]:
    versions = len(schemas.released(_file(schema["name"]))) if level == "##" else 0
    said = f" Released versions: {versions}." if versions else ""
    lines = [f"{level} {schema['name']}", "", f"{schema.get('doc', '')}{said}".strip(), ""]
    lines += ["| field | type | default | what |", "| --- | --- | --- | --- |"]
    nested: list[dict[str, Any]] = []
    for field in schema["fields"]:
        default = f"`{json.dumps(field['default'])}`" if "default" in field else "required"
        kind = _type(field["type"], nested)
        lines.append(f"| `{field['name']}` | {kind} | {default} | {field.get('doc', '')} |")
    lines.append("")
    for inner in nested:
        if inner["type"] == "record":
            lines += _record(inner, "###")
        elif inner["type"] == "enum":
            symbols = " ".join(f"`{symbol}`" for symbol in inner["symbols"])
            lines += [f"### {inner['name']}", "", f"{inner.get('doc', '')}. One of {symbols}.", ""]
    return lines


def _type(schema: Any, nested: list[dict[str, Any]]) -> str:
    """A type in words; records and enums that it defines are added to `nested`."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return " or ".join(_type(member, nested) for member in schema)
    kind = schema["type"]
    if kind == "array":
        return f"array of {_type(schema['items'], nested)}"
    if kind == "map":
        return f"map of ({_type(schema['values'], nested)})"
    if kind in ("record", "enum"):
        nested.append(schema)
        return f"[{schema['name']}](#{schema['name'].lower()})"
    if kind == "fixed":
        return f"{schema['name']}, fixed({schema['size']})"
    return str(schema.get("logicalType", kind))


def _file(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
