"""How long a person waits for `stalk --help`."""

from __future__ import annotations

from bench.process import ROOT, run


def table() -> str:
    walls = sorted(run([str(ROOT / "stalk"), "--help"]).wall for _ in range(7))
    return f"### Start\n\n`./stalk --help`: {walls[3] * 1000:.0f} ms (median of 7)"
