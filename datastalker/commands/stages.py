"""`stalk stages`: what a pipeline can be made of, read from the options' one declaration."""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from datastalker import catalog
from datastalker import config as configuration
from datastalker.commands.tables import terminal_width
from datastalker.config import CUT
from datastalker.errors import InputError
from datastalker.options import Option, flat, options_of, suggest
from datastalker.stage import REGISTRY, Component, Sink, SourceStage
from datastalker.text import one_line
from datastalker.yamlfile import is_text

_CUT = """topic (cut)

What stands above it publishes to this Kafka topic, what stands below it reads from there. In an
embedded run (stalk run) messages are handed over in memory. A mapping of message type to topic
carries those types alone.

Example:
  - topic: wifi.frames
  - topic: {frame: wifi.decorated, presence: wifi.presence}"""


def role(cls: type[Component]) -> str:
    """source, stage or sink."""
    if issubclass(cls, SourceStage):
        return "source"
    return "sink" if issubclass(cls, Sink) else "stage"


def everything(plugins: tuple[str, ...] = ()) -> dict[str, type[Component]]:
    """All stages there are: built in, in installed packages, in the plug-ins named."""
    for plugin in plugins:
        catalog.load_plugin(plugin, Path.cwd())
    for name in [*catalog.BUILTIN, *catalog.third_party()]:
        try:
            catalog.load(name)
        except InputError as error:  # the others can be used all the same
            click.echo(f"not listed: {one_line(str(error))}", err=True)
    order = list(catalog.BUILTIN)
    names = sorted(REGISTRY, key=lambda n: (order.index(n) if n in order else len(order), n))
    return {name: REGISTRY[name] for name in names}


def summary(cls: type[Component]) -> str:
    """The first sentence of its docstring."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


@click.command("stages")
@click.argument("name", required=False)
@click.option("--plugin", "plugins", multiple=True, help="A module or .py file with more stages.")
@click.option("-c", "--config", "path", help="A configuration whose plug-ins bring more stages.")
def stages_command(name: str | None, plugins: tuple[str, ...], path: str | None) -> None:
    """List sources, stages and sinks; with a NAME, explain one and its options."""
    if path is not None:
        config = configuration.load(path)
        for plugin in config.settings["plugins"] or []:
            catalog.load_plugin(plugin, config.base)
    found = everything(plugins)
    if name is None:
        width = max(map(len, found))
        for each, cls in found.items():
            click.echo(_wrapped(f"{each:<{width}}  {role(cls):<6}  {summary(cls)}", width + 10))
        click.echo()
        click.echo(
            _wrapped("stalk stages NAME explains one. `topic` cuts a pipeline at a Kafka topic.")
        )
        return
    if name == CUT:
        click.echo(_CUT)
        return
    if name not in found:
        text = f"there is no stage '{name}'{suggest(name, found)}"
        raise click.BadParameter(text, param_hint="NAME")
    click.echo(explain(name, found[name]))


def _wrapped(line: str, indent: int = 0) -> str:
    """A line as lines that fit the terminal."""
    width = terminal_width(sys.stdout)
    if width is None:
        return line
    hanging = " " * min(indent, width // 3)
    return textwrap.fill(line, width, subsequent_indent=hanging, break_on_hyphens=False)


def explain(name: str, cls: type[Component]) -> str:
    """A stage's manual: what it does, its options, an example to paste."""
    lines = [f"{name} ({role(cls)})", "", inspect.getdoc(cls) or "(no description)", ""]
    options = options_of(cls)
    if options is None:
        lines += ["It reads its options itself."]
    elif options:
        lines += ["Options:"]
        for opt in flat(options):
            lines += [f"  {opt.name}: {opt.type_name}; {_default(opt)}", f"      {opt.help}"]
    else:
        lines += ["It has no options."]
    return "\n".join([*lines, "", "Example:", f"  - {_example(name, cls, options or {})}"])


def _default(opt: Option) -> str:
    return "required" if opt.required else f"default {as_yaml(opt.default)}"


def _example(name: str, cls: type[Component], options: dict[str, Option]) -> str:
    if not options:
        return name
    values = {o.name: "..." if o.required else o.default for o in options.values()} | cls.example
    shown = [f"{key}: {as_yaml(value)}" for key, value in values.items()]
    return f"{name}: {{{', '.join(shown)}}}"


def as_yaml(value: Any) -> str:
    """A value as it is written in a configuration."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not (value.replace("_", "").isalnum() and is_text(value)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
