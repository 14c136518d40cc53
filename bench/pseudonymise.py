"""What `pseudonymise` costs: `python bench/pseudonymise.py`. Best of five, one core."""

from __future__ import annotations

import random
from time import perf_counter

from datastalker.message import Message
from datastalker.testing import build, frame

N = 100_000


def measure(devices: int) -> float:
    """Microseconds a frame, in batches as a pipeline gives them."""
    rng = random.Random(802_11)
    known = [rng.randbytes(6).hex(":") for _ in range(devices)]
    best = float("inf")
    for _ in range(5):
        stage = build([{"pseudonymise": {"key": "0123456789abcdef"}}]).entries[0].component
        spent = 0.0
        for _ in range(0, N, 250):
            batch = [_frame(rng, known) for _ in range(250)]
            start = perf_counter()
            stage.handle_bulk(batch)
            spent += perf_counter() - start
        best = min(best, spent / N)
    return best * 1e6


def _frame(rng: random.Random, known: list[str]) -> Message:
    """An ordinary data frame: 22 keys, four of them addresses."""
    ta, bssid = rng.choice(known), known[0]
    plain = dict.fromkeys(("sensor", "id", "interface"), "mon0")
    numbers = ("seq", "frag", "duration", "length", "signal_dbm", "freq_mhz", "channel", "antenna")
    flags = ("retry", "protected", "to_ds", "from_ds", "power_mgmt", "more_data")
    addresses = {"ta": ta, "ra": bssid, "sa": ta, "bssid": bssid}
    return frame(**plain, **dict.fromkeys(numbers, 1), **dict.fromkeys(flags, False), **addresses)


if __name__ == "__main__":
    for devices in (100, 5_000, 1_000_000):
        print(f"{devices:>9,} devices: {measure(devices):.2f} us a frame")
