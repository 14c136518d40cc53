"""Options are declared once, beside the stage; everything else is read from that."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from datastalker.address import Address
from datastalker.annotation import describe, json_schema
from datastalker.options import complete, option, options_of
from datastalker.pipeline import Pipeline, Stage


class Door(Stage):
    """Opens."""

    width: int = option(help="how wide")
    height: float = option(2.0, "how high", minimum=1, maximum=3)
    colour: Literal["red", "blue"] = option("red", "which colour")
    open: bool = option(False, "whether it is open")
    names: list[str] = option([], "who may pass")
    prices: dict[str, int | float] = option({}, "what it costs")
    note: str | None = option(None, "anything to say", check=lambda v: v and "be silent")
    owners: list[Address] = option([], "whose it is")
    keeper: Address | None = option(None, "who minds it")


def check(**given: Any) -> tuple[dict[str, Any], list[tuple[Any, str]]]:
    found: list[tuple[Any, str]] = []
    values = complete(
        options_of(Door) or {}, given, (), lambda path, text: found.append((path, text))
    )
    return values, found


def test_defaults_fill_what_was_not_given() -> None:
    values, problems = check(width=1)

    assert not problems
    assert values == {
        "width": 1, "height": 2.0, "colour": "red", "open": False,
        "names": [], "prices": {}, "note": None, "owners": [], "keeper": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": "5"}, "option 'width' must be a whole number, not the text '5'"),
        ({"width": 5.0}, "option 'width' must be a whole number, not 5.0"),
        ({"width": True}, "option 'width' must be a whole number, not true"),
        ({"width": None}, "option 'width' must be a whole number, not null"),
        ({"width": [1]}, "option 'width' must be a whole number, not a list"),
        ({"height": "2"}, "option 'height' must be a number, not the text '2'"),
        ({"height": False}, "option 'height' must be a number, not false"),
        ({"height": float("nan")}, "option 'height' must be a number, not nan"),
        ({"height": float("inf")}, "option 'height' must be a number, not inf"),
        ({"height": 0}, "option 'height' must be at least 1, not 0"),
        ({"height": -2.5}, "option 'height' must be at least 1, not -2.5"),
        ({"height": 4}, "option 'height' must be at most 3, not 4"),
        ({"colour": "green"}, "option 'colour' must be one of red, blue, not the text 'green'"),
        ({"open": "yes"}, "option 'open' must be true or false, not the text 'yes'"),
        ({"open": 1}, "option 'open' must be true or false, not 1"),
        ({"names": "me"}, "option 'names' must be a list of text, not the text 'me'"),
        ({"names": {}}, "option 'names' must be a list of text, not a mapping"),
        ({"owners": ["02:00:00:00:00"]}, "option 'owners' must be a list of addresses such as "
            "02:00:00:00:00:01, not the text '02:00:00:00:00'"),
        ({"keeper": 20000000001}, "option 'keeper' must be an address such as 02:00:00:00:00:01 "
            "or null, not 20000000001"),
        ({"note": 7}, "option 'note' must be text or null, not 7"),
        ({"note": "psst"}, "option 'note' be silent"),
        ({"hight": 2}, "unknown option 'hight', did you mean 'height'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_it_should_be(given: dict[str, Any], said: str) -> None:
    _, problems = check(**{"width": 1, **given})

    assert [text for _, text in problems] == [said]


def test_what_is_wrong_inside_a_list_or_mapping_is_pointed_at() -> None:
    _, problems = check(width=1, names=["a", 2], prices={"x": 1, "y": "z"}, owners=["", "b"])

    wrong = [("names", 1), ("prices", "y"), ("owners", 0)]
    assert [path for path, _ in problems] == wrong


@pytest.mark.parametrize(
    "written",
    [
        "dc:e9:94:2a:68:31",
        "DC:E9:94:2A:68:31",
        "dc-e9-94-2a-68-31",
        "DCE9.942A.6831",
        "dce9942A6831",
    ],
)
def test_an_address_arrives_in_one_notation_however_it_was_written(written: str) -> None:
    values, problems = check(width=1, owners=["02:00:00:00:00:01", written], keeper=written)

    assert problems == []
    assert values["owners"] == ["02:00:00:00:00:01", "dc:e9:94:2a:68:31"]
    assert values["keeper"] == "dc:e9:94:2a:68:31"


def test_a_missing_option_says_what_it_is_for() -> None:
    _, problems = check()

    assert problems == [((), "option 'width' is missing: how wide")]


def test_a_whole_number_is_a_number() -> None:
    values, _ = check(width=1, height=2)

    assert isinstance(values["height"], float)


def test_no_two_stages_share_a_default_that_one_of_them_changes() -> None:
    check(width=1)[0]["names"].append("me")

    assert check(width=1)[0]["names"] == []


def test_a_class_without_declarations_is_asked_through_its_constructor() -> None:
    class Plain(Stage):
        def __init__(self, stats: Any, a: int, b: str = "x", c: Unknown = None) -> None: ...  # type: ignore[name-defined] # noqa: F821

    options = options_of(Plain) or {}

    assert {name: (o.required, o.default) for name, o in options.items() if not o.required} == {
        "b": (False, "x"),
        "c": (False, None),
    }


def test_a_class_with_a_from_config_of_its_own_takes_what_it_is_given() -> None:
    class Own(Stage):
        @classmethod
        def from_config(cls, config: dict[str, Any], stats: Any) -> Own:
            return cls(stats)

    class Heir(Own):
        pass

    assert options_of(Own) is None
    assert options_of(Heir) is None


def test_options_are_inherited_and_may_be_declared_anew() -> None:
    class Gate(Door):
        width: int = option(4, "wider")

    options = options_of(Gate) or {}

    assert (options["width"].default, options["height"].default) == (4, 2.0)


def test_an_annotation_that_no_yaml_can_meet_is_refused() -> None:
    class Odd(Stage):
        pair: tuple[int, int] = option((1, 2), "two")

    with pytest.raises(TypeError, match="option 'pair' is declared as tuple"):
        options_of(Odd)


@pytest.mark.parametrize("taken", ["state", "name", "log", "when"])
def test_an_option_can_not_be_called_what_the_runner_sets(taken: str) -> None:
    cls = type("Clash", (Stage,), {taken: option(1, "")})

    with pytest.raises(ValueError, match=f"no option can be called '{taken}'"):
        Pipeline.register_stage("clash")(cls)


@pytest.mark.parametrize(
    ("annotation", "words", "schema"),
    [
        (int, "a whole number", {"type": "integer"}),
        (bool, "true or false", {"type": "boolean"}),
        (str | None, "text or null", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (list[int], "a list of a whole number", {"type": "array", "items": {"type": "integer"}}),
        (Address, "an address such as 02:00:00:00:00:01", {"type": "string"}),
        (list, "a list", {"type": "array"}),
        (dict[str, float], "a mapping to a number",
            {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], "one of a, b", {"enum": ["a", "b"]}),
        (Any, "anything", {}),
    ],
)  # fmt: skip
def test_a_type_is_said_in_words_and_as_json_schema(
    annotation: Any, words: str, schema: dict[str, Any]
) -> None:
    assert (describe(annotation), json_schema(annotation)) == (words, schema)
