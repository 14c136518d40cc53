"""What one types to see fewer rows: some text, or a condition as `when:` has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from datastalker.condition import compile_condition
from datastalker.errors import ConfigError, InputError
from datastalker.message import Message
from datastalker.yamlfile import Document

Matches = Callable[[Message, str], bool]


def compile_filter(typed: str) -> Matches | None:
    """`signal_dbm: {gte: -60}` (a mapping: of the columns' names) or text that a cell contains.

    None for nothing typed. Raises InputError for a condition that is none, or not whole yet.
    """
    typed = typed.strip()
    if not typed:
        return None
    if (condition := _mapping(typed)) is None:
        if ": " in typed or typed[0] == "{":
            raise InputError(f"filter: '{typed}' is no condition, such as signal_dbm: {{gte: -60}}")
        wanted = typed.casefold()
        return lambda row, text: wanted in text.casefold()
    wrong: list[str] = []
    predicate = compile_condition(
        condition, (), lambda path, said: wrong.append(said), lambda path, said: None
    )
    if wrong:
        raise InputError(f"filter: {wrong[0]}")
    return lambda row, text: predicate(row)


def _mapping(typed: str) -> Mapping[str, object] | None:
    for text in (typed, f"{{{typed}}}"):  # `channel: 6, security: OPEN` is one without its braces
        try:
            document = Document(text, "filter", {})
        except ConfigError:
            continue
        found = document.value
        if document.problems or not isinstance(found, Mapping):
            continue
        if any(value is not None for value in found.values()):  # `{guest}` is guest to nothing
            return found
    return None
