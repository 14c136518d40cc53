"""YAML with positions: what is wrong is shown where it stands, whatever the file is."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastalker.errors import ConfigError
from datastalker.yamlfile import Document

NO_NUMBER = "c.yaml:1:1: no number of 64 bits; if it is text, put quotes around it"


def read(text: str, **environment: str) -> Any:
    document = Document(text, "c.yaml", environment)
    assert not document.problems, document.problems
    return document.value


def problems(text: str, file: str = "c.yaml", **environment: str) -> list[str]:
    try:
        return [str(problem) for problem in Document(text, file, environment).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("False", False),
        ("~", None), ("null", None), ("", None), ("''", ""),
        ("12", 12), ("-7", -7), ("0x1f", 31), ("0o17", 15), ("017", 17), ("1_000", "1_000"),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-.inf", float("-inf")),
        ("11:22:33:44:55:10", "11:22:33:44:55:10"), ("12:30", "12:30"),
        ("2026-03-02", "2026-03-02"), ("'5'", "5"), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    assert read(f"a: {text}") == {"a": value}


def test_line_ends_and_a_byte_order_mark_do_not_matter() -> None:
    assert read("\ufeffa: 1\r\nb:\r\n- x\r\n") == {"a": 1, "b": ["x"]}


def test_unicode_is_text_and_columns_count_characters() -> None:
    document = Document("ünï: {ß: 1, 🏠: 2}\n", "c.yaml")

    assert document.value == {"ünï": {"ß": 1, "🏠": 2}}
    assert document.where(("ünï", "🏠")) == (1, 13)


def test_positions_are_of_the_key_else_the_value_else_the_parent() -> None:
    document = Document("a:\n  b:\n  - 1\n  - {c: 2}\n", "c.yaml")

    assert document.where(("a", "b")) == (2, 3)
    assert document.where(("a", "b", 0)) == (3, 5)
    assert document.where(("a", "b", 1, "c")) == (4, 6)
    assert document.where(("a", "b", 1, "nothing")) == (4, 5)
    assert document.where(("nothing",)) == (1, 1)


def test_anchors_aliases_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [*a, {x: 9, z: 4}]}\n"

    value = read(text)

    assert value["b"] == {"x": 1, "y": 2}
    assert value["c"] == {"x": 1, "y": 3}
    assert value["d"] == {"x": 1, "y": 2, "z": 4}


def test_what_a_merge_brought_stands_where_it_was_written() -> None:
    document = Document("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n", "c.yaml")

    assert document.where(("b", "x")) == (2, 3)
    assert document.where(("b", "y")) == (5, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\t- b", "c.yaml:2:1: no valid YAML: while scanning for the next token found "
            "character '\\t' that cannot start any token (indent with spaces, not tabs)"),
        ("a: {b: ${NOPE}}", "c.yaml:1:9: no valid YAML: while parsing a flow mapping expected "
            "',' or '}', but got '{' (between braces or brackets, quote it: \"${NAME}\")"),
        ("a: [1", "c.yaml:1:6: no valid YAML: while parsing a flow sequence expected ',' or ']', "
            "but got '<stream end>'"),
        ("- {a: 1\n- b: 2", "c.yaml:2:4: no valid YAML: while parsing a flow mapping expected ',' or "
            "'}', but got ':' (is the '{' of line 1 closed?)"),
        ("- [a\nb: 2", "c.yaml:2:2: no valid YAML: while parsing a flow sequence expected ',' or ']', "
            "but got ':' (is the '[' of line 1 closed?)"),
        ("a:\n  - b\n  -c: 1", "c.yaml:3:3: no valid YAML: while parsing a block collection expected "
            "<block end>, but found '?' (is it indented as its neighbours are, and is there a space "
            "behind each dash?)"),
        ("- a: b: 1", "c.yaml:1:7: no valid YAML: mapping values are not allowed here (options stand "
            "in braces, {option: value}; text with ': ' in quotes)"),
        ("a: *b", "c.yaml:1:4: no valid YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2", "c.yaml:2:1: no valid YAML: expected a single document in the stream "
            "but found another document"),
        ("a: 1\nb\0: 2", "c.yaml:2:2: no valid YAML: the character U+0000 may not stand in it"),
        ("a: \x1b[31m", "c.yaml:1:4: no valid YAML: the character U+001B may not stand in it"),
        ("a: " + "[" * 4000, "c.yaml: no valid YAML: nested too deeply"),
        ("a: 1\nb: 2\na: 3", "c.yaml:3:1: 'a' stands twice, first in line 1; keep one of them"),
        ("? [a, b]\n: 1", "c.yaml:1:3: a key must be plain text"),
        ("a: !include other.yaml", "c.yaml:1:1: unknown tag '!include': leave it out"),
        ("a: !!int five", NO_NUMBER),
        ("a: 123456789012345678901", NO_NUMBER),
        ("a: " + "9" * 5000, NO_NUMBER),
        ("a: &a [*a]", "c.yaml:1:4: an alias that contains itself"),
        ("a: ${NOPE}", "c.yaml:1:4: environment variable NOPE is not set; set it, or give a "
            "default: ${NOPE:-value}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_shown_where_it_stands(text: str, said: str) -> None:
    assert problems(text) == [said]


def test_a_few_lines_of_aliases_do_not_fill_the_memory() -> None:
    text = "a: &a [" + "1," * 10 + "]\n"
    for name, inner in zip("bcdefgh", "abcdefg", strict=True):
        text += f"{name}: &{name} [" + f"*{inner}," * 10 + "]\n"

    (said,) = problems(text)

    assert "more than 100,000 values, those that aliases repeat included" in said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}", "box"),
        ("http://${HOST}:${PORT}", "http://box:9200"),
        ("${PORT}", 9200),
        ('"${PORT}"', "9200"),
        ("${NONE:-7}", 7),
        ("${NONE:-}", None),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${HOST}", "${HOST}"),
        ("$HOST", "$HOST"),
    ],
)
def test_an_environment_variable_is_as_if_its_value_stood_there(text: str, value: Any) -> None:
    assert read(f"a: {text}", HOST="box", PORT="9200") == {"a": value}


def test_a_files_content_is_read_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p:ss #word\n")

    document = Document("a: ${file:secret}", str(tmp_path / "c.yaml"), {})

    assert document.value == {"a": "p:ss #word"}


def test_a_secret_that_was_saved_on_windows_is_the_same_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfp:ss #word\r\n")

    document = Document("a: ${file:secret}", str(tmp_path / "c.yaml"), {})

    assert document.value == {"a": "p:ss #word"}


@pytest.mark.parametrize(
    ("name", "why"), [("none", "No such file or directory"), ("binary", "not UTF-8 text")]
)
def test_a_file_that_can_not_be_read_is_a_mistake(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    file = str(tmp_path / "c.yaml")

    assert problems(f"a: ${{file:{name}}}", file) == [
        f"{file}:1:4: ${{file:{name}}}: {tmp_path / name}: {why}"
    ]


@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"#%@`\n\t ?ab$", max_size=30))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        Document(text, "c.yaml", {})
