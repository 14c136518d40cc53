"""`stalk schema`: the JSON Schema with which editors complete and check the YAML as it is typed."""

from __future__ import annotations

import json
from typing import Any

import click

from datastalker.cases import CAPTURE, CASE, CRASHES, EXPECT, HEX
from datastalker.commands.stages import everything, summary
from datastalker.config import CUT, SETTINGS
from datastalker.options import Option, option_schema, options_of
from datastalker.stage import Component

_WHEN = {
    "type": "object",
    "minProperties": 1,
    "description": "Only messages that meet this; the others pass by. Fields to a value, a list "
    "of values, or comparisons: equals, in, not, matches, gt, gte, lt, lte, exists.",
}


def _entry(name: str, cls: type[Component]) -> list[dict[str, Any]]:
    declared = options_of(cls)
    body: dict[str, Any] = {"type": ["object", "null"], "description": summary(cls)}
    if declared is not None:
        body["properties"] = {o.name: option_schema(o) for o in declared.values()}
        body["properties"]["when"] = _WHEN
        body["additionalProperties"] = False
        required = [o.name for o in declared.values() if o.required]
        if required:
            body["required"] = required
            body["type"] = "object"
    full = {
        "type": "object",
        "properties": {name: body, "when": _WHEN},
        "required": [name],
        "additionalProperties": False,
    }
    bare = {"const": name, "description": summary(cls)}
    return [full] if body.get("required") else [bare, full]


def schema(plugins: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file."""
    entries: list[dict[str, Any]] = []
    for name, cls in everything(plugins).items():
        entries += _entry(name, cls)
    topics = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    entries.append(
        {
            "type": "object",
            "properties": {CUT: {**topics, "description": "A cut: publish here, go on from here."}},
            "required": [CUT],
            "additionalProperties": False,
        }
    )
    properties = {o.name: option_schema(o) for o in SETTINGS.values()}
    properties["pipeline"] = {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": entries},
        "description": "From top to bottom: a source (or a topic to read), stages, sinks.",
    }
    properties["tests"] = {**properties["tests"], "items": _case()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "DataStalker configuration",
        "type": "object",
        "properties": properties,
        "required": ["pipeline"],
        "additionalProperties": False,
    }


def _case() -> dict[str, Any]:
    """One of `tests:`."""
    message = {"type": "object", "description": "A message, by its keys."}
    messages = {"anyOf": [message, {"type": "array", "items": message}]}
    duration = {"type": ["string", "number"], "examples": ["61s", "250ms", "1h30m"]}
    capture = {"anyOf": [{"type": "string"}, _options(CAPTURE)]}
    text = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    expect = {"anyOf": [messages["anyOf"][1], {"const": "nothing"}, _options(EXPECT)]}
    step = {
        "type": "object",
        "properties": {
            "given": messages,
            "hex": {"anyOf": [*text["anyOf"], _options(HEX)]},
            "capture": capture,
            "advance": duration,
            "crash": {"enum": [None, *CRASHES]},
            "expect": expect,
            "times": {"type": "integer", "minimum": 1},
            "every": duration,
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
    case = _options(CASE)
    case["properties"]["steps"]["items"] = {"anyOf": [{"const": "crash"}, step]}
    return case


def _options(options: dict[str, Option]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: option_schema(opt) for name, opt in options.items()},
        "required": [name for name, opt in options.items() if opt.required],
        "additionalProperties": False,
    }


@click.command("schema")
@click.option("--plugin", "plugins", multiple=True, help="A module or .py file with more stages.")
def schema_command(plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema of configuration files.

    Save it, and let the editor know with a first line in the YAML such as:

    # yaml-language-server: $schema=datastalker.schema.json
    """
    click.echo(json.dumps(schema(plugins), indent=2))
