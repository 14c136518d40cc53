"""What the vendor registry costs: `python bench/oui_lookup.py`. Best of five, one core."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from datastalker.message import Message
from datastalker.oui import SHIPPED, Registry
from datastalker.stages.oui import Oui
from datastalker.stats import Stats

N = 100_000
LOAD = """
import re, time
def memory():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before, start = memory(), time.perf_counter()
from datastalker.oui import Registry
imported, code = time.perf_counter(), memory()
registry = Registry.load()
print(f"import {(imported - start) * 1e3:.0f} ms, load {(time.perf_counter() - imported) * 1e3:.0f} ms; "
      f"memory: Python {before:.1f} MB, code {code - before:.1f}, registry {memory() - code:.1f}")
"""


def per_item(call: Callable[[Any], object], batches: Callable[[], Iterator[list[Any]]]) -> float:
    """Microseconds of one call, fed as a pipeline is: batch by batch."""
    best = float("inf")
    for _ in range(5):
        spent = 0.0
        for batch in batches():
            start = perf_counter()
            for item in batch:
                call(item)
            spent += perf_counter() - start
        best = min(best, spent / N)
    return best * 1e6


def messages(addresses: list[str]) -> list[Message]:
    return [Message(type="frame", ta=address) for address in addresses]


def main() -> None:
    subprocess.run([sys.executable, "-c", LOAD], check=True)
    rng = random.Random(802_11)
    registry = Registry.load(SHIPPED)
    blocks = list(registry.blocks)

    def address(prefix: str = "") -> str:
        digits = prefix.replace(":", "")
        digits += "".join(rng.choices("0123456789abcdef", k=12 - len(digits)))
        return ":".join(digits[at : at + 2] for at in range(0, 12, 2))

    kinds = {
        "50 devices, again and again": [address(rng.choice(blocks)) for _ in range(50)] * (N // 50),
        "ever new, registered": [address(rng.choice(blocks)) for _ in range(N)],
        "ever new, random bits": [address() for _ in range(N)],
    }
    for name, addresses in kinds.items():
        batches = [addresses[at : at + 200] for at in range(0, N, 200)]
        stage = Oui(Stats(), fields=["ta"], suffix="_oui", registry=str(SHIPPED))
        look = per_item(registry.lookup, lambda b=batches: iter(b))  # type: ignore[misc]
        handle = per_item(stage.handle, lambda b=batches: map(messages, b))  # type: ignore[misc]
        print(f"{name:30} lookup {look:.2f} µs, stage {handle:.2f} µs")


if __name__ == "__main__":
    main()
