"""Runs of fields that repeat together, remembered by their bytes: heads, addresses, bodies."""

from __future__ import annotations

from typing import Any

from datastalker.wire import frames
from datastalker.wire.frames import ADDRESSES, IN_WPS, INHERITED, LISTS, Origin

LIMIT = 1 << 14
"""Runs of fields that are remembered."""
LONGEST_RUN = 1 << 12
"""Bytes of the longest run that is remembered."""
SIZES = 16
"""Sizes that are tried for a run."""

RADIO = ("kind", "frag", "tid", "retry", "protected", "to_ds", "from_ds", "power_mgmt",
         "more_data", "signal_dbm", "noise_dbm", "freq_mhz", "channel", "rate_kbps", "antenna",
         "fcs_ok", "eapol")  # fmt: skip
BODY = ("beacon_interval", "ssid", "ssid_hex", "security", "group_cipher", "pmf", "bss_channel",
         "country", "ht", "vht", "he", "eht", "reason", "status", "wps", *LISTS)  # fmt: skip

READ = {
    **{name: codec.read for name, codec in frames.FRAME.fields.items()},
    **{name: codec.read for name, codec in frames.MANAGEMENT.fields.items()},
}
ZEROS = {name: read(b"\0", 0)[0] for name, read in READ.items()}
"""What a byte of 0 says: null, false, an empty list, the first kind."""
Head = tuple[dict[str, Any], int, tuple[Any, ...]]
"""The keys that messages may share; the size of what stands before `sender`, 0 where these bytes
are not the only ones for it; the sender, the same object for all that say the same of it."""
Addresses = tuple[dict[str, str], list[int]]
"""The keys, and the sizes of bodies to try behind them."""
Body = tuple[dict[str, Any], list[tuple[str, list[Any]]], bool]
"""The keys that messages may share; the lists, of which each gets its own; whether these bytes are
the only ones for it."""


class Runs:
    """What was read of runs, and which sizes to try for the next. Bounded: emptied when full."""

    def __init__(self) -> None:
        self._count = 0
        self.heads: dict[Any, dict[bytes, Head]] = {}
        """By what the batch says of all its frames."""
        self._senders: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.addresses: dict[bytes, Addresses] = {}
        self.bodies: dict[bytes, Body] = {}
        # The sizes to try: by the kind's byte, and by transmitter.
        self.head_sizes: list[list[int]] = [[] for _ in range(256)]
        self.address_sizes: list[list[int]] = [[] for _ in range(256)]
        self._body_sizes: dict[str | None, list[int]] = {}
        self._recent_sizes: list[int] = []

    def heads_of(self, origin: Origin) -> dict[bytes, Head]:
        """The heads of batches that say this of all their frames."""
        key = _key(origin)
        if key not in self.heads:
            self.may_remember(0)
        return self.heads.setdefault(key, {})

    def learn_head(
        self, data: bytes, at: int, origin: Origin, heads: dict[bytes, Head]
    ) -> tuple[Head, int]:
        keys: dict[str, Any] = {"type": "frame", "timestamp": 0, "id": ""}
        end, canonical = at, True
        for name in RADIO:
            begin = end
            if data[end]:
                keys[name], end = READ[name](data, end)
                # One byte, or a 1 for "not null" and a number that doesn't end in a 0.
                short = end - begin == 1 or (data[begin] == 2 and end - begin == 2)
                canonical = canonical and (short or (data[begin] == 2 and data[end - 1] > 0))
            else:
                end += 1
                if ZEROS[name] is not None:
                    keys[name] = ZEROS[name]
        sender_at = end
        record, end = _read_run(INHERITED, data, end)
        for name, value in record.items():
            if value is None:
                value = getattr(origin, name) or None
            if value is not None:
                keys[name] = value
        head: Head = keys, 0, ()
        if self.may_remember(end - at):
            place = (*_key(origin), data[sender_at:end])
            sender = self._senders.setdefault(place, place)
            heads[data[at:end]] = head = keys, sender_at - at if canonical else 0, sender
        _first(self.head_sizes[data[at]], end - at)
        return head, end - at

    def learn_addresses(self, data: bytes, at: int, sizes: list[int]) -> tuple[Addresses, int]:
        keys, end = {}, at
        for name in ADDRESSES:
            if data[end] == 2:
                raw, end = READ[name](data, end)
                keys[name] = raw.hex(":")
            elif data[end]:
                raise ValueError
            else:
                end += 1
        known = self.addresses.get(data[at:end])
        if known is None:
            remember = self.may_remember(end - at)
            # A transmitter's bodies are of few sizes, to whomever it sends them.
            known = keys, self._body_sizes.setdefault(keys.get("ta"), [])
            if remember:
                self.addresses[data[at:end]] = known
        _first(sizes, end - at)
        return known, end - at

    def learn_body(self, data: bytes, at: int, sizes: list[int]) -> tuple[Body, int]:
        for size in self._recent_sizes:  # others, with another address, may have said the same
            known = self.bodies.get(data[at : at + size])
            if known is not None:
                _first(sizes, size)
                return known, size
        record, end = _read_run(BODY, data, at)
        known = self.bodies.get(data[at:end])
        if known is None:
            wps = record.pop("wps") or {}
            record.update((key, wps.get(name)) for key, name in IN_WPS.items())
            lists = [(name, record.pop(name)) for name in LISTS]
            shared = {name: value for name, value in record.items() if value is not None}
            own = [(name, values) for name, values in lists if values]
            known = shared, own, _is_canonical(shared, own, data[at:end])
            if self.may_remember(end - at):
                self.bodies[data[at:end]] = known
        _first(sizes, end - at)
        _first(self._recent_sizes, end - at)
        return known, end - at

    def may_remember(self, size: int) -> bool:
        """Whether a run is short enough; forgets all when there are too many."""
        if size > LONGEST_RUN:
            return False
        self._count += 1
        if self._count > LIMIT:
            for heads in self.heads.values():
                heads.clear()
            for known in (
                self.heads,
                self._senders,
                self.addresses,
                self.bodies,
                self._body_sizes,
            ):
                known.clear()
            self._count = 1
        return True


def _key(origin: Origin) -> tuple[Any, ...]:
    return (*origin[:3], *origin.labels.items())


def _read_run(names: tuple[str, ...], data: bytes, at: int) -> tuple[dict[str, Any], int]:
    record = {}
    for name in names:
        if data[at]:
            record[name], at = READ[name](data, at)
        else:
            record[name] = ZEROS[name]
            at += 1
    return record, at


def _is_canonical(shared: dict[str, Any], own: list[tuple[str, list[Any]]], written: bytes) -> bool:
    """Whether a body was written as we write it: Avro allows other ways, and empty records."""
    values: dict[str, Any] = {**{name: [] for name in LISTS}, **shared, **dict(own)}
    wps = {name: shared.get(key) for key, name in IN_WPS.items()}
    values["wps"] = wps if any(value is not None for value in wps.values()) else None
    fields = frames.MANAGEMENT.fields
    raw = b"".join([fields[name].write(values.get(name)) for name in BODY])
    return raw == written and bool(shared or own)


def _first(sizes: list[int], size: int) -> None:
    """Put a size in front of those that are tried."""
    if size in sizes:
        sizes.remove(size)
    sizes.insert(0, size)
    del sizes[SIZES:]
