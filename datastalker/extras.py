"""Packages that only some roles need: which extra has them, and how it is installed here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datastalker.errors import DataStalkerError, InputError

_ROOT = Path(__file__).resolve().parent.parent


def install(extra: str) -> str:
    """The command that installs an extra: in a checkout its `make`, else pip.

    Nothing of ours lies on a package index, so a checkout is named by its path.
    """
    if not (_ROOT / "infra" / "setup.sh").is_file():
        return f"pip install 'datastalker[{extra}]'"
    if Path(sys.prefix) == _ROOT / ".venv":
        return f"make -C {_ROOT} setup EXTRAS={extra}"
    return f"{sys.executable} -m pip install -e '{_ROOT}[{extra}]'"


def require(module: str, what: str, extra: str) -> None:
    """Raises InputError where a module that `what` needs later can't be imported."""
    if importlib.util.find_spec(module) is None:
        name = module.replace("_", "-")
        raise InputError(f"{what} needs the package {name}: {install(extra)}")


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Imports inside that fail are one sentence: what needs the package, and what to do."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataStalkerError(
            f"{what} needs a package that is not installed ({error.name}): {install(extra)}"
        ) from error
