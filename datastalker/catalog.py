"""Which module holds which stage: as strings, so that only what a configuration names is imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from datastalker.errors import InputError

BUILTIN: dict[str, str] = {
    "pcap": "capture_agent.pcap",
    "limit": "datastalker.stages.limit",
    "strip": "datastalker.stages.strip",
    "print": "datastalker.stages.print",
    "beacon_filter": "datastalker.stages.beacon_filter",
    "oui": "datastalker.stages.oui",
    "dedupe": "datastalker.stages.dedupe",
    "presence": "datastalker.stages.presence",
    "moving_average": "datastalker.stages.moving_average",
    "csv": "sinks.csv_files",
}
"""Built-in sources, stages and sinks, in the order in which a frame meets them."""

GROUP = "datastalker.stages"
"""Entry point group of installed packages that bring stages: `name = "package.module"`."""


def third_party() -> dict[str, str]:
    """Stages that installed packages offer: name and where it lies."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def load(name: str) -> bool:
    """Import the module that registers the stage `name`. False: nobody offers it.

    Raises InputError where an installed package offers it but can't be imported.
    """
    module = BUILTIN.get(name)
    if module is not None:
        importlib.import_module(module)
        return True
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                entry.load()
            except Exception as error:
                raise InputError(
                    f"the installed package behind stage '{name}' ({entry.value}) can't be "
                    f"imported: {type(error).__name__}: {error}"
                ) from error
            return True
    return False


def load_plugin(plugin: str, base: Path) -> None:
    """Import a plug-in: a module's name, or the path of a .py file relative to `base`.

    Raises InputError naming the plug-in and the line where it fails.
    """
    try:
        if plugin.endswith(".py"):
            _load_file(base / Path(plugin).expanduser())
        else:
            importlib.import_module(plugin)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"plug-in '{plugin}' can't be imported: {_where(error, plugin)}"
        ) from error


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"plug-in file {path} does not exist")
    name = f"datastalker_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _where(error: Exception, plugin: str) -> str:
    """The innermost line of the plug-in itself that the traceback names."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(Path(plugin).name):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = f"{type(error).__name__}: {error}"
    return f"{text} (line {line})" if line and "line" not in text else text
