"""Mistakes of a configuration as findings of `stalk doctor`: what is wrong apart from what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from datastalker.errors import Problem
from datastalker.finding import Finding, failed, halves, warning

_ADVICE = (
    (r"(.*), did you mean ('.*')\?", "write {2} in {line}, if that is what you mean"),
    (r"(.*) \(there is: (.*)\)", "in {line} use one of {2}, or take it out"),
    (r"(.*option '(\w+)' is missing): (.*)", "add {2} to {line}: {3}"),
    (r"((?:.* )?option '\w+' must be (.*), not .*)", "write {2} in {line}"),
    (r"(no valid YAML: .*) \((.*)\)", "look at {line} and the one before: {2}"),
)
"""How a sentence of the check ends that has no remedy of its own, and the remedy."""


def mistakes(problems: Iterable[Problem]) -> Iterator[Finding]:
    """Each with its remedy."""
    for problem in problems:
        where = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        make = warning if problem.warning else failed
        cause, remedy = _advice(problem)
        if not os.path.isfile(problem.file) or not os.access(problem.file, os.R_OK):
            cause = problem.text
            remedy = "give the file of this machine, one that this user may read: -c FILE"
        yield make("configuration", where, cause, remedy)


def _advice(problem: Problem) -> tuple[str, str]:
    """The cause, and what to do."""
    line = f"line {problem.line}" if problem.line else problem.file
    for form, remedy in _ADVICE:
        if match := re.fullmatch(form, problem.text, re.DOTALL):
            parts = (problem.text, *match.groups())
            return match[1], remedy.format(*parts, line=line)
    cause, own = halves(problem.text)
    return cause, own or f"change {line} of {problem.file} accordingly"
