"""Options, declared once: parsing, `stalk check`, `stalk stages`, docs and JSON Schema read them.

    class Limit(Stage):
        messages: int | None = option(None, "stop after this many messages", minimum=1)

An option's annotation is its type: bool, int, float, str, Address, Literal[...], list[T],
dict[str, T], any union of them, None for "may be null". A class without such declarations is asked
through the parameters of its `__init__`; one that has its own `from_config` and declares nothing
takes what it is given.
"""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from datastalker.annotation import Path, describe, fit, json_schema, supported

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "required"})()
"""The default of an option that must be given."""

Report = Callable[[Path, str], None]
"""Called with where in the configuration a mistake is, and a sentence about it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, type (an annotation), default, one sentence of help, bounds."""

    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], str | None] | None = None
    fields: bool | tuple[str, ...] = False
    nested: type | None = None
    secret: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def type_name(self) -> str:
        return describe(self.type)


def option(
    default: Any = REQUIRED,
    help: str = "",  # noqa: A002 - it is what it is
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    check: Callable[[Any], str | None] | None = None,
    fields: bool | tuple[str, ...] = False,
    nested: type | None = None,
    secret: bool = False,
) -> Any:
    """Declare an option as a class attribute; see the module.

    `minimum` and `maximum` bound a number. `check` gets the value and returns what is wrong with
    it in words, or None. `fields`: it names keys of messages, so a likely typo is warned of; a
    tuple has what may stand there beside them. `nested`: a class whose options are those of the
    mapping that may stand here. `secret`: no error shows what was given.
    """
    return Option("", Any, default, help, minimum, maximum, check, fields, nested, secret)


def flat(options: Mapping[str, Option]) -> list[Option]:
    """Each option, and behind one that has a mapping of its own those of it, as `name.inner`."""
    found: list[Option] = []
    for opt in options.values():
        found.append(opt)
        inner = flat(options_of(opt.nested) or {}) if opt.nested is not None else []
        found += [replace(each, name=f"{opt.name}.{each.name}") for each in inner]
    return found


def options_of(cls: type) -> dict[str, Option] | None:
    """The options of a stage, source or sink by name; None: it reads its configuration itself.

    Raises TypeError or NameError where an option's annotation is no type that an option can have.
    """
    return _options_of(cls)


@functools.cache
def _options_of(cls: Any) -> dict[str, Option] | None:
    declared: dict[str, Option] = {}
    for base in reversed(cls.__mro__):
        found = {k: v for k, v in vars(base).items() if isinstance(v, Option)}
        hints = typing.get_type_hints(base) if found else {}
        for name, value in found.items():
            annotation = hints.get(name, Any)
            if not supported(annotation):
                raise TypeError(
                    f"option '{name}' is declared as {annotation}; its type may be bool, int, "
                    "float, str, Literal, list, dict, None, or several of them"
                )
            declared[name] = replace(value, name=name, type=annotation)
    if declared:
        return declared
    own = getattr(cls, "from_config", None)
    if own is not None and own.__qualname__ != "Component.from_config":
        return None
    return _from_signature(cls)


def _from_signature(cls: type) -> dict[str, Option]:
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # written for people and checkers: no declaration of ours
        hints = {}
    return {
        name: Option(
            name,
            hint if supported(hint := hints.get(name, Any)) else Any,
            REQUIRED if parameter.default is parameter.empty else parameter.default,
            "",
        )
        for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]  # type: ignore[misc]
        if name != "stats" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }  # fmt: skip


def complete(
    options: Mapping[str, Option], given: Mapping[str, Any], path: Path, report: Report
) -> dict[str, Any]:
    """Check what was given against the options and fill in the defaults.

    Every mistake goes to `report` with its path; a value that is wrong is replaced by the default,
    so that the check goes on.
    """
    values: dict[str, Any] = {}
    for name in given:
        if name not in options:
            near = suggest(str(name), options) or " (it takes no options)"
            report((*path, name), f"unknown option '{name}'{near}")
    for name, opt in options.items():
        if name not in given:
            if opt.required:
                report(path, f"option '{name}' is missing: {opt.help or opt.type_name}")
            values[name] = None if opt.required else copy.copy(opt.default)
            continue
        ok, value, wrong = fit(opt.type, given[name])
        if not ok:
            shown = _hide(value) if opt.secret else _show(value)
            report((*path, name, *wrong), f"option '{name}' must be {opt.type_name}, not {shown}")
            values[name] = opt.default
            continue
        if opt.nested is not None and isinstance(value, dict):
            value = complete(options_of(opt.nested) or {}, value, (*path, name), report)
        values[name] = value
        if value is not None and (text := _bounds(opt, value)):
            report((*path, name), f"option '{name}' {text}")
    return values


def a_folder(value: str) -> str | None:
    """A `check`: an empty name would quietly be the folder that a process happens to start in."""
    return None if value.strip() else "is empty; '.' is the folder that this is started in"


def suggest(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`, else the list of what there is, else nothing."""
    names = [str(name) for name in known]
    return closest(word, names) or (f" (there is: {', '.join(names)})" if names else "")


def closest(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`, else nothing."""
    close = difflib.get_close_matches(word, known, 1, 0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _bounds(opt: Option, value: Any) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if opt.minimum is not None and value < opt.minimum:
            return f"must be at least {opt.minimum:g}, not {value:g}"
        if opt.maximum is not None and value > opt.maximum:
            return f"must be at most {opt.maximum:g}, not {value:g}"
    return opt.check(value) if opt.check else None


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value)
    if len(text) > 40:
        text = text[:37] + "..."
    return f"the text '{text}'" if isinstance(value, str) else text


def _hide(value: Any) -> str:
    """What a secret is instead of text: digits alone are a number in YAML."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "a number (not shown here); put quotes around it"
    return _show(value) if value is None else "what was given (not shown here)"


def option_schema(opt: Option) -> dict[str, Any]:
    """An option as JSON Schema, with its help and default."""
    schema = json_schema(opt.type)
    if opt.nested is not None:
        inner = (options_of(opt.nested) or {}).values()
        for each in schema.get("anyOf", [schema]):
            if each.get("type") == "object":
                each["properties"] = {o.name: option_schema(o) for o in inner}
                each["additionalProperties"] = False
    if opt.help:
        schema["description"] = opt.help
    if not opt.required:
        schema["default"] = opt.default
    if opt.minimum is not None:
        schema["minimum"] = opt.minimum
    if opt.maximum is not None:
        schema["maximum"] = opt.maximum
    return schema
