"""Many frames of many transmitters, each heard once: what fills the memory of a careless stage."""

from __future__ import annotations

import random
from collections.abc import Iterator

from datastalker.simulator import elements as ie
from datastalker.simulator import management
from datastalker.simulator.frames import BROADCAST, PROTECTED, TO_DS, ccmp, data
from datastalker.simulator.radiotap import Copy, channel_mhz, radiotap

_BSSID = bytes.fromhex("50c7bf000001")
_MOST_BODY = 200


def flood(n: int, seed: int = 1) -> Iterator[bytes]:
    """`n` radiotap frames from `n` random addresses: half probe requests, half encrypted data."""
    rng = random.Random(f"{seed}/flood")
    elements = ie.ds(6) + ie.ht_capabilities() + ie.extended_capabilities()
    freq_mhz = channel_mhz(6)
    ciphertext = rng.randbytes(_MOST_BODY)
    for number in range(n):
        # A counter within the address keeps them apart, whatever chance says.
        address = bytes((rng.randrange(256) & 0xFC | 0x02,)) + rng.randbytes(1)
        address += number.to_bytes(4, "big")
        seq = rng.randrange(4096)
        if number % 2:
            body = ccmp(number + 1, ciphertext[: rng.randrange(40, _MOST_BODY)])
            frame = data(
                _BSSID, address, BROADCAST, seq, body, flags=TO_DS | PROTECTED, tid=0
            )  # fmt: skip
        else:
            frame = management.probe_request(address, seq, b"", elements)
        copy = Copy(0, 1000 * number, rng.randint(-90, -40), -95, 0)
        yield radiotap(copy, frame.rate_kbps, freq_mhz) + frame.with_fcs()
