"""The contract of what is on the wire: Avro schemas, and every version of them ever released.

    frame_batch.avsc   what a topic of frames carries     presence.avsc, event.avsc   one record a message

`released/NAME/1.avsc`, `2.avsc`, ... are never changed; `check` refuses a change that a reader of
before, or one of afterwards, could not follow.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent  # importlib.resources would be 1.5 MiB in each process

NAMES = ("frame_batch", "presence", "event")


@functools.cache
def text(name: str) -> str:
    """The current schema of that name, as it stands in its file."""
    return (_HERE / f"{name}.avsc").read_text(encoding="utf-8")


@functools.cache
def current(name: str) -> Any:
    """The current schema of that name, as JSON; not to be changed."""
    return json.loads(text(name))


@functools.cache
def released(name: str) -> dict[int, Any]:
    """Every version of that schema ever released, as JSON, by its number; not to be changed."""
    folder = _HERE / "released" / name
    if not folder.is_dir():
        return {}
    versions = {
        int(file.name.removesuffix(".avsc")): json.loads(file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".avsc")
    }
    return dict(sorted(versions.items()))


def named(schema: Any) -> dict[str, Any]:
    """The named types that a schema defines, by their names without and with namespace."""
    found: dict[str, Any] = {}
    _collect(schema, "", found)
    return found


def _collect(schema: Any, namespace: str, found: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for member in schema:
            _collect(member, namespace, found)
    elif isinstance(schema, dict):
        if schema.get("type") in ("record", "enum", "fixed"):
            namespace = schema.get("namespace", namespace)
            found[schema["name"]] = found[f"{namespace}.{schema['name']}"] = schema
        for part in ("type", "items", "values", "fields"):
            if isinstance(schema.get(part), (dict, list)):
                _collect(schema[part], namespace, found)
