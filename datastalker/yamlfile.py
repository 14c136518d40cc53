"""YAML with positions: plain values, and for each the line and column where it stands.

Scalars follow YAML 1.2's core rules where YAML 1.1 surprises: `no` is text (a country), and
`11:22:33:44:55:10` is an address, not a number to the base of 60. `${NAME}`, `${NAME:-default}`
and `${file:PATH}` are replaced in any scalar; `$${` is a plain `${`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

import yaml

from datastalker.errors import ConfigError, Problem

Path = tuple[str | int, ...]
Position = tuple[int, int]

_MOST = 100_000  # values in a file: aliases of aliases can make any number of a few lines
_NO_NUMBER = "no number of 64 bits; if it is text, put quotes around it"  # it may be a secret
_KINDS = ("null", "bool", "int", "float", "str", "map", "seq")
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")


class _Resolver(yaml.resolver.BaseResolver):
    """Implicit types of the YAML 1.2 core schema."""


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Resolver.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


_RESOLVER = _Resolver()


def is_text(written: str) -> bool:
    """Whether it is read as text where it stands without quotes, not as a number, true or null."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, written, (True, False))  # type: ignore[no-untyped-call]
    return bool(tag == "tag:yaml.org,2002:str")


class _Loader(
    yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, _Resolver
):
    def __init__(self, stream: str) -> None:
        yaml.reader.Reader.__init__(self, stream)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Resolver.__init__(self)


class Document:
    """A YAML file's value, and where its parts stand.

    `problems` holds what was wrong with its references and keys; the value is still usable.
    """

    def __init__(self, text: str, file: str, environment: Mapping[str, str] | None = None) -> None:
        """Parse `text`; `file` is its name in messages, and what `${file:...}` is relative to.

        Raises ConfigError where the text is no YAML at all.
        """
        self.file = file
        self.problems: list[Problem] = []
        self.unresolved: set[Path] = set()
        """Where a reference leads to nothing: what stands there instead is nobody's mistake."""
        self._environment = os.environ if environment is None else environment
        self._keys: dict[Path, Position] = {}
        self._values: dict[Path, Position] = {}
        self._count = 0
        self.value: Any = None
        try:
            node = _Loader(text.removeprefix("\ufeff")).get_single_node()
            if node is not None:
                self.value = self._convert(node, (), frozenset())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            said = " ".join(part for part in (error.context, error.problem) if part) + _hint(error)
            raise ConfigError([Problem(file, line, column, f"no valid YAML: {said}")]) from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            said = f"the character U+{error.character:04X} may not stand in it"
            raise ConfigError([Problem(file, line, column, f"no valid YAML: {said}")]) from None
        except RecursionError:
            raise ConfigError([Problem(file, 0, 0, "no valid YAML: nested too deeply")]) from None

    def where(self, path: Path) -> Position:
        """Line and column, from 1, of the key (else value, else nearest parent) at a path."""
        while path:
            found = self._keys.get(path) or self._values.get(path)
            if found:
                return found
            path = path[:-1]
        return self._values.get((), (1, 1))

    def problem(self, path: Path, text: str, warning: bool = False) -> Problem:
        """A problem of what stands at `path`."""
        return Problem(self.file, *self.where(path), text, warning)

    def _convert(self, node: yaml.Node, path: Path, above: frozenset[int]) -> Any:
        self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if self._count > _MOST:
            text = f"more than {_MOST:,} values, those that aliases repeat included"
            raise ConfigError([Problem(self.file, *self._values[path], text)])
        if node.tag not in _TAGS:
            self.problems.append(self.problem(path, f"unknown tag '{node.tag}': leave it out"))
        if id(node) in above:
            self.problems.append(self.problem(path, "an alias that contains itself"))
            return None
        above |= {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(n, (*path, i), above) for i, n in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, above: frozenset[int]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            position = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(self.file, *position, "a key must be plain text"))
                continue
            key = key_node.value
            here = (*path, key)
            first = self._keys.get(here)
            self._keys[here] = position
            if key in result and first:
                text = f"'{key}' stands twice, first in line {first[0]}; keep one of them"
                self.problems.append(self.problem(here, text))
            value = self._convert(value_node, here, above)
            if key == "<<" and isinstance(value, (dict, list)):
                for index, part in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(part, dict):
                        merged = {**part, **merged}
                        self._merge(path, (*here, index) if part is not value else here, part)
            else:
                result[key] = value
        return {**merged, **result}

    def _merge(self, path: Path, source: Path, keys: Iterable[str]) -> None:
        """What `<<` brought stands where it was written, unless it is given here too."""
        for key in keys:
            if (*source, key) in self._keys:
                self._keys.setdefault((*path, key), self._keys[*source, key])

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text, tag = node.value, node.tag
        if "${" in text:
            text = _REFERENCE.sub(lambda match: self._reference(match, path), text)
            if node.style is None:  # plain: what came in is typed as if it had stood there
                tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        kind = tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            if kind == "int":
                return _int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self.problems.append(self.problem(path, _NO_NUMBER))
            return 0
        return text

    def _reference(self, match: re.Match[str], path: Path) -> str:
        if match[1]:
            return match[1]
        name, dash, default = match[2].partition(":-")
        if name.startswith("file:"):
            file = FilePath(self.file).parent / name[5:]
            try:
                file = FilePath(self.file).parent / FilePath(name[5:]).expanduser()
                return file.read_text(encoding="utf-8-sig").rstrip("\r\n")
            except (OSError, ValueError, RuntimeError) as error:
                said = getattr(error, "strerror", None) or "not UTF-8 text"
                self._unresolved(path, f"${{{match[2]}}}: {file}: {said}")
                return ""
        if name in self._environment:
            return self._environment[name]
        if dash:
            return default
        text = f"environment variable {name} is not set; set it, or give a default: "
        self._unresolved(path, f"{text}${{{name}:-value}}")
        return ""

    def _unresolved(self, path: Path, text: str) -> None:
        self.unresolved.add(path)
        self.problems.append(Problem(self.file, *self._values[path], text))


def _int(text: str) -> int:
    if len(text) > 24:
        raise ValueError(text)
    number = int(text, 0 if text[:2] in ("0x", "0o") else 10)
    if abs(number) >= 1 << 63:
        raise ValueError(text)
    return number


def _hint(error: yaml.MarkedYAMLError) -> str:
    """What is probably behind it."""
    said = error.problem or ""
    if "\\t" in said:
        return " (indent with spaces, not tabs)"
    mark = error.problem_mark
    if mark and mark.buffer and "${" in mark.buffer[max(0, mark.pointer - 2) : mark.pointer + 2]:
        return ' (between braces or brackets, quote it: "${NAME}")'
    context, opened = error.context or "", error.context_mark
    if mark and opened and mark.line > opened.line and "parsing a flow" in context:
        bracket = "{" if "mapping" in context else "["
        return f" (is the '{bracket}' of line {opened.line + 1} closed?)"
    if "expected <block end>" in said:
        return " (is it indented as its neighbours are, and is there a space behind each dash?)"
    if "mapping values are not allowed" in said:
        return " (options stand in braces, {option: value}; text with ': ' in quotes)"
    return ""
