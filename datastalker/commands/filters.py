"""`--filter`: which messages, in the language of `when:`, the same for every command that asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from datastalker.condition import Predicate, compile_condition
from datastalker.errors import ConfigError
from datastalker.yamlfile import Document, Path


@dataclass(frozen=True)
class Filter:
    """A condition as it was written, and as a function of a message."""

    when: dict[str, Any]
    meets: Predicate


class _FilterType(click.ParamType):
    name = "CONDITION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Filter):
            return value
        wrong: list[str] = []

        def report(path: Path, text: str) -> None:
            wrong.append(text)

        try:
            document = Document(value, "--filter")
        except ConfigError as error:
            said = error.problems[0].text
            self.fail(f"{said}; write it as under when:, '{{kind: BEACON}}'", param, ctx)
        meets = compile_condition(document.value, (), report, report)
        wrong += [problem.text for problem in document.problems]
        if wrong:
            self.fail(wrong[0].replace("'when'", "it"), param, ctx)
        return Filter(document.value, meets)


FILTER = _FilterType()
