"""`python -m schemas.check`: may the schemas as they stand be released after those that were?

Each must be able to read what every released version wrote, and be read by each, by Avro's rules of
schema resolution; and a number keeps its meaning (a logical type never changes), which Avro doesn't
ask. Otherwise the field and the rule are named, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import schemas

_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""What is written → as what it may be read."""


def problems(name: str) -> list[str]:
    """What is wrong with the current schema of that name, in sentences."""
    found = []
    for version, before in schemas.released(name).items():
        for text, reader, writer in (
            (f"can't read what version {version} wrote", schemas.current(name), before),
            (f"can't be read by version {version}", before, schemas.current(name)),
        ):
            found += [f"{text}: {reason}" for reason in incompatibilities(reader, writer)]
    return found


def incompatibilities(reader: Any, writer: Any) -> list[str]:
    """Why a reader can't read all that a writer may write: 'FIELD: REASON'."""
    return list(_Resolution(reader, writer).compare(reader, writer, reader["name"]))


class _Resolution:
    def __init__(self, reader: Any, writer: Any) -> None:
        self._readers, self._writers = schemas.named(reader), schemas.named(writer)

    def compare(self, reader: Any, writer: Any, at: str) -> Iterator[str]:
        """The reasons against, for the place `at`."""
        reader, writer = (
            self._readers.get(str(reader), reader),
            self._writers.get(str(writer), writer),
        )
        if isinstance(writer, list):
            for branch in writer:
                yield from self._branch(reader, branch, at)
        elif isinstance(reader, list):
            yield from self._branch(reader, writer, at)
        else:
            yield from self._same(reader, writer, at)

    def _branch(self, reader: Any, branch: Any, at: str) -> Iterator[str]:
        """A value of one branch of the writer's union, or of no union."""
        branch = self._writers.get(str(branch), branch)
        candidates = (
            [self._readers.get(str(r), r) for r in reader] if isinstance(reader, list) else [reader]
        )
        for candidate in candidates:
            if _kind(candidate) == _kind(branch) and _name(candidate) == _name(branch):
                yield from self._same(candidate, branch, at)
                return
        if not any(not list(self._same(candidate, branch, at)) for candidate in candidates):
            yield f"{at}: may be {_said(branch)}, which the reader's type has no place for"

    def _same(self, reader: Any, writer: Any, at: str) -> Iterator[str]:
        kind = _kind(writer)
        if kind != _kind(reader):
            if _kind(reader) not in _PROMOTIONS.get(kind, ()):
                yield f"{at}: {_said(writer)} can't be read as {_said(reader)}"
            return
        if _logical(reader) != _logical(writer):
            yield f"{at}: logical type {_logical(writer)} would be read as {_logical(reader)}"
        if _name(reader) != _name(writer):
            yield f"{at}: the type {_name(writer)} must keep its name, not be {_name(reader)}"
        elif kind == "record":
            yield from self._fields(reader, writer, at)
        elif kind == "enum":
            unknown = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if unknown and "default" not in reader:
                yield f"{at}: the reader's enum lacks {', '.join(unknown)}, and has no default"
        elif kind == "fixed" and reader["size"] != writer["size"]:
            yield f"{at}: {writer['size']} bytes can't be read as {reader['size']}"
        elif kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            yield from self.compare(reader[inner], writer[inner], at)

    def _fields(self, reader: Any, writer: Any, at: str) -> Iterator[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            here = f"{at}.{field['name']}"
            names = [field["name"], *field.get("aliases", ())]
            found = next((written[name] for name in names if name in written), None)
            if found is not None:
                yield from self.compare(field["type"], found["type"], here)
            elif "default" not in field:
                yield f"{here}: the writer hasn't this field, and for the reader it has no default"


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _name(schema: Any) -> str | None:
    return schema.get("name") if isinstance(schema, dict) else None


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _said(schema: Any) -> str:
    return f"{_kind(schema)} {_name(schema) or ''}".strip()


def main() -> int:
    failed = 0
    for name in schemas.NAMES:
        found = problems(name)
        failed += bool(found)
        for problem in found:
            print(f"schemas/{name}.avsc {problem}", file=sys.stderr)
        newest = max(schemas.released(name), default=0)
        if not newest or schemas.released(name)[newest] != schemas.current(name):
            print(f"schemas/{name}.avsc is not released; python -m infra.release_schemas does it")
        elif not found:
            print(f"schemas/{name}.avsc is version {newest}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
