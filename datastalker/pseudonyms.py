"""Pseudonyms: what stands for an address, a name or a text, by a secret key and a period.

HMAC-SHA-256 of what it is, the period, and the bytes. So everyone with the key gives the same, nobody
without it can try all addresses through, and two periods have nothing in common.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import Any

from datastalker.address import ADDRESS

_MEMO = 8192
"""Pseudonyms of a kind that are kept. A flood of made-up addresses empties the memo; it never grows."""
_GROUP, _LOCAL = 1, 2  # bits of the first octet, IEEE 802-2014 clause 8.2
_OF_NOBODY = {"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}


class Memo(dict[Any, Any]):
    """What → its pseudonym, remembered."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __missing__(self, value: Any) -> Any:
        made = self._make(value)
        if len(self) >= _MEMO:
            self.clear()
        self[value] = made
        return made


class Pseudonyms:
    """Those of one key and one period; each memo gives None for None."""

    def __init__(self, key: bytes, period: str, *, keep_oui: bool, keep_local_bit: bool) -> None:
        self._key, self._period = key, period.encode()
        self._keep_oui, self._keep_local_bit = keep_oui, keep_local_bit
        self.addresses = Memo(self._address)
        """By an address as messages have it; what is no address counts as a name."""
        self.ssids = Memo(lambda value: self._named("ssid", value))
        """By an SSID's text or bytes; the empty one, which names no network, stays."""
        self.names = Memo(lambda value: self._named("name", value))
        self.texts = Memo(lambda text: ADDRESS.sub(self._in_text, text) if text else text)
        """By a text: the same with other addresses in it, each in the form that it had."""

    def anything(self, value: Any) -> Any:
        """What a plug-in's key holds, with other addresses in its texts; bytes become other bytes."""
        if isinstance(value, str):
            return self.texts[value]
        if isinstance(value, (bytes, bytearray)):
            return self._hash("bytes", bytes(value))[:8]
        if isinstance(value, (list, tuple)):
            return [self.anything(item) for item in value]
        if isinstance(value, dict):
            return {self.anything(key): self.anything(item) for key, item in value.items()}
        return value

    def _hash(self, kind: str, raw: bytes) -> bytes:
        return hmac.digest(self._key, b"\0".join((kind.encode(), self._period, raw)), "sha256")

    def _address(self, value: str | None) -> Any:
        if value is None or value in _OF_NOBODY:
            return value
        if not ADDRESS.fullmatch(value):
            return self.names[value]
        return self._octets(re.sub("[:.-]", "", value)).hex(":")

    def _in_text(self, found: re.Match[str]) -> str:
        text = found[0]
        digits = re.sub("[:.-]", "", text)
        if bytes.fromhex(digits).hex(":") in _OF_NOBODY:
            return text
        other = iter(self._octets(digits).hex())
        return "".join(next(other) if char.isalnum() else char for char in text)

    def _octets(self, digits: str) -> bytes:
        raw = bytes.fromhex(digits)
        # The group's pseudonym is the device's own with the group bit: an RTS that signals its
        # bandwidth has that bit set in its transmitter's address.
        raw, group = bytes((raw[0] & ~_GROUP,)) + raw[1:], raw[0] & _GROUP
        out = bytearray(self._hash("address", raw)[:6])
        local = raw[0] & _LOCAL
        if self._keep_oui and not local:  # of a made-up address they are made up too, and its own
            out[:3] = raw[:3]
        out[0] = out[0] & ~(_GROUP | _LOCAL) | group | (local if self._keep_local_bit else _LOCAL)
        return bytes(out)

    def _named(self, kind: str, value: Any) -> Any:
        if value is None or not len(value):
            return value
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        return f"{kind}-{self._hash(kind, raw)[:8].hex()}"
