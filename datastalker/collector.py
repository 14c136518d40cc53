"""The garbage collector, set for processes through which messages flow."""

from __future__ import annotations

import gc


def spare_the_collector() -> None:
    """Messages are dicts by the thousand and hold no cycles: looking for some cost 8 % of parsing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
