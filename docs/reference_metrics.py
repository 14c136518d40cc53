"""Writes the table of docs/metrics.md from `datastalker.metrics`."""

from __future__ import annotations

from pathlib import Path

from datastalker.metrics import METRICS

PAGE = Path(__file__).resolve().parent / "metrics.md"
BEGIN = "<!-- made by `make reference` -->\n"


def metrics() -> str:
    """The page, with its table anew: what stands behind the mark is replaced."""
    written, mark, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert mark, f"{PAGE} has lost its mark"
    rows = ["| name | kind | labels | served by | what |", "| --- | --- | --- | --- | --- |"]
    for name, metric in METRICS.items():
        labels = ", ".join(metric.labels)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.served_by} | {metric.help} |")
    return written + mark + "\n" + "\n".join(rows) + "\n"
