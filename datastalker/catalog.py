"""Which module holds which stage: as strings, so that only what a configuration names is imported."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zlib
from pathlib import Path

from datastalker.errors import InputError

BUILTIN: dict[str, str] = {
    "pcap": "capture_agent.pcap",
    "wifi_sniffer": "capture_agent.sniffer",
    "limit": "datastalker.stages.limit",
    "strip": "datastalker.stages.strip",
    "print": "datastalker.stages.print",
    "beacon_filter": "datastalker.stages.beacon_filter",
    "oui": "datastalker.stages.oui",
    "pseudonymise": "datastalker.stages.pseudonymise",
    "dedupe": "datastalker.stages.dedupe",
    "presence": "datastalker.stages.presence",
    "moving_average": "datastalker.stages.moving_average",
    "csv": "sinks.csv_files",
    "elasticsearch": "sinks.elasticsearch",
}
"""Built-in sources, stages and sinks, in the order in which a frame meets them."""

PLUGIN = "datastalker_plugin_"
"""What the names of modules that are plug-in files begin with."""

GROUP = "datastalker.stages"
"""Entry point group of installed packages that bring stages: `name = "package.module"`."""


def third_party() -> dict[str, str]:
    """Stages that installed packages offer: name and where it lies."""
    from importlib.metadata import entry_points  # with all of email: 1.9 MiB

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def load(name: str) -> bool:
    """Import the module that registers the stage `name`. False: nobody offers it.

    Raises InputError where it is offered but can't be imported.
    """
    module = BUILTIN.get(name)
    if module is not None:
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError)
            said = "needs a package that is not installed" if missing else "can't be imported"
            raise InputError(f"'{name}' {said}: {error}") from error
        return True
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                entry.load()
            except (Exception, SystemExit) as error:
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
    except (Exception, SystemExit) as error:
        hint = ""
        if not plugin.endswith(".py") and (base / f"{plugin}.py").is_file():
            hint = f"; did you mean the file '{plugin}.py'?"
        raise InputError(
            f"plug-in '{plugin}' can't be imported: {_where(error, plugin)}{hint}"
        ) from error


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"plug-in file {path} does not exist")
    # The path is in the name: two files may be called the same.
    name = f"{PLUGIN}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _where(error: BaseException, plugin: str) -> str:
    """The innermost line of the plug-in itself that the traceback names."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(Path(plugin).name):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = f"{type(error).__name__}: {error}"
    return f"{text} (line {line})" if line and f"line {line}" not in text else text
