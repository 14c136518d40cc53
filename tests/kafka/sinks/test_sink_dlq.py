"""`stalk dlq`: dead letters are seen, sent again, dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from datastalker import dead_letter, segments
from datastalker.cli import cli


def test_dead_letters_are_listed_shown_sent_again_and_dropped(
    site: Callable[..., Any], tmp_path: Path
) -> None:
    here = site([{"csv": {"directory": str(tmp_path / "site-0" / "out")}}])

    def dlq(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["dlq", *arguments, "-c", str(here.path)])
        assert result.exit_code == 0, result.output
        return str(result.output)

    assert "is empty" in dlq("ls")
    here.send(here.frames, b"poison \x1b[2J")
    ids = here.publish(1)
    here.run("csv")
    (letter,) = here.dead_letters()
    name = f"{letter.partition()}:{letter.offset()}"
    assert f"{here.frames}[0]@0" in dlq("ls")
    shown = dlq("show", name)
    assert "who: sink csv" in shown
    assert "poison .[2J" in shown
    assert "1 sent again" in dlq("retry", "--all")
    assert "is empty" in dlq("ls")
    here.run("csv")  # poison it is still
    assert f"{here.frames}[0]@2" in dlq("ls")
    assert "1 dropped" in dlq("drop", "--all")
    assert "is empty" in dlq("ls")
    assert [row["id"] for row in here.rows()] == ids


def test_what_a_dead_letter_says_commands_no_terminal(
    site: Callable[..., Any], tmp_path: Path
) -> None:
    here = site([{"csv": {"directory": str(tmp_path / "site-0" / "out")}}])
    topic = segments.dead_letters_topic(here.config).name
    said = {"who": "x\x1b[2J", "time": "soon", "traceback": "Traceback\nValueError: \x1b]0;x\x07"}
    headers = [(f"{dead_letter.PREFIX}{name}", text.encode()) for name, text in said.items()]
    here.send(topic, b"x", headers=headers)
    here.producer.flush(30)

    def dlq(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["dlq", *arguments, "-c", str(here.path)])
        assert result.exit_code == 0, result.output
        return str(result.output)

    assert "x\\x1b[2J" in dlq("ls")
    shown = dlq("show", "0:0")
    assert "traceback: Traceback\nValueError: \\x1b]0;x\\x07\n" in shown
    assert "\x1b" not in dlq("ls") + shown
