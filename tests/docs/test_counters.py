"""docs/metrics.md says what each counter of the summary counts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def counted() -> Iterator[str]:
    """Names that the code counts under, as patterns: `[^/]+` where they are made up as it runs."""
    for folder in ("datastalker", "capture_agent", "sinks"):
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            constants = {
                target.id: node.value.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("incr", "set")
                    and isinstance(node.func.value, ast.Attribute)
                    and node.func.value.attr == "stats"
                ):
                    yield pattern(node.args[0], constants)


def pattern(name: ast.expr, constants: dict[str, object]) -> str:
    if isinstance(name, ast.Name):
        return re.escape(str(constants[name.id]))
    if isinstance(name, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else None for p in name.values)
        return "".join("[^/]+" if part is None else re.escape(str(part)) for part in parts)
    assert isinstance(name, ast.Constant)
    return re.escape(str(name.value))


def test_every_counter_of_the_summary_is_explained() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = page.partition("## What stages count themselves")[2].partition("\n## ")[0]
    explained = re.findall(r"`([a-z_A-Z]+(?:/[a-z_…]+)+)`", section)

    names = set(counted())

    assert len(names) > 30
    assert {name for name in names if not any(re.fullmatch(name, e) for e in explained)} == set()
    assert {e for e in explained if not any(re.fullmatch(name, e) for name in names)} == set()
