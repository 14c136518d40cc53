"""Addresses of devices: as people write them, and the one form that messages have."""

from __future__ import annotations

import re
from typing import NewType

Address = NewType("Address", str)
"""Type of an option that takes an address: written in any notation, it arrives as messages have it."""

ADDRESS = re.compile(
    r"(?<![0-9a-f])(?:"
    r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}"
    r"|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}"
    r"|[0-9a-f]{12}"
    r")(?![0-9a-f])",
    re.IGNORECASE,
)
"""An address in a text, in any of the forms that people write."""


def normalise(text: str) -> Address | None:
    """`DC-E9-94-2A-68-31` as `dc:e9:94:2a:68:31`; None where it is no address."""
    text = text.strip()
    if not ADDRESS.fullmatch(text):
        return None
    return Address(bytes.fromhex(re.sub("[:.-]", "", text)).hex(":"))
