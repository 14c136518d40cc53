"""Every `stalk …` and `make …` that a page shows is there, with the options that it is given."""

import re
import shlex
from pathlib import Path

import click
import pytest

from datastalker.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"(?:^ {4}.*?|`|^)(?:sudo )?(?:\./)?\b(stalk|make) ([a-z-][^`#\n]*)", re.M)


def shown(program):
    """What the pages call a program with: page and arguments, up to a pipe, a comment, a `…`."""
    for page in PAGES:
        for name, rest in SHOWN.findall(code(page.read_text(encoding="utf-8"))):
            if name == program:
                yield page.name, words(rest)


def words(line):
    """What is in quotes is one word."""
    begin = re.split(r"[|<>;&…]|\s(?=and\b)", line)[0]
    try:
        return shlex.split(begin)
    except ValueError:  # a quote of prose, or cut at a sign of the shell
        return begin.split()


def code(text):
    """The code of a page: its blocks line by line, and what stands between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    lines = re.findall(r"^ {4}\S.*", prose, re.M) + re.findall(r"`[^`\n]+`", prose)
    return "\n".join([*blocks, *lines])


def wrong(arguments):
    """What in the arguments of `stalk` there isn't; None: all of it is there."""
    command, options, words = cli, options_of(cli), iter(arguments)
    for word in words:
        if word.startswith("-"):
            name, has_value, _ = word.rstrip(",.").partition("=")
            if name not in options:
                return f"{command.name}: no option {word}"
            for _ in range(0 if has_value else options[name]):
                next(words, None)
        elif isinstance(command, click.Group):
            below = command.get_command(click.Context(command), word.strip(",."))
            if below is None:
                return f"no command {word}"
            command, options = below, options | options_of(below)
    return None


def options_of(command):
    """Its options: how many words of value each takes."""
    named = {
        name: 0 if getattr(param, "is_flag", False) else param.nargs
        for param in command.params
        for name in param.opts + param.secondary_opts
    }
    return {**named, "--help": 0, "-h": 0}


def test_what_the_pages_call_stalk_with_is_there():
    calls = list(shown("stalk"))

    assert len(calls) > 50
    assert [(page, " ".join(call), said) for page, call in calls if (said := wrong(call))] == []


def test_what_the_pages_make_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    made = {(page, call[0].strip(",.")) for page, call in shown("make") if call}

    assert len(made) > 10
    assert {(page, target) for page, target in made if target not in targets} == set()


@pytest.mark.parametrize("call", ["chek", "run --quit", "topics pln", "spool check --drain"])
def test_what_is_not_there_is_seen(call):
    assert wrong(call.split())
