"""The configuration: one YAML file, read and checked as a whole.

What it may hold is in `settings`, what is wrong with it finds `check`, what runs makes `build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

from datastalker.build import build, build_segment, build_sink
from datastalker.check import Checker, goes_nowhere
from datastalker.errors import ConfigError, Problem
from datastalker.settings import CUT, NESTED, SETTINGS, Config, Step
from datastalker.yamlfile import Document

__all__ = [
    "CUT",
    "NESTED",
    "SETTINGS",
    "Config",
    "Step",
    "build",
    "build_segment",
    "build_sink",
    "goes_nowhere",
    "load",
    "parse",
]


def load(
    path: str, environment: Mapping[str, str] | None = None, *, named_by: str = "-c FILE"
) -> Config:
    """Read and check a configuration file. `named_by`: how who asks names another.

    Raises ConfigError where it can't be read or is no YAML; other mistakes are in `problems`.
    """
    try:
        text = FilePath(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            [Problem(path, 0, 0, f"there is no such file; name another with {named_by}")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError([Problem(path, 0, 0, f"can't be read: {said}")]) from None
    return parse(text, path, environment)


def parse(text: str, file: str, environment: Mapping[str, str] | None = None) -> Config:
    """Check a configuration's text; see `load`."""
    document = Document(text, file, environment)
    config = Config(file, problems=document.problems)
    Checker(document, config).check()
    config.problems = _sorted(config.problems)
    config.test_problems = _sorted(config.test_problems)
    return config


def _sorted(problems: list[Problem]) -> list[Problem]:
    found = dict.fromkeys(problems)  # what an alias repeats is wrong once
    return sorted(found, key=lambda problem: (problem.line, problem.column))
