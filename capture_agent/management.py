"""Bodies of management frames: IEEE 802.11-2020, section 9.3.3: fixed fields, then elements.

Beacons, probe responses and probe requests repeat themselves, so what was read from their
elements is remembered by their bytes, less those that change from beacon to beacon (the traffic
map, the load). What is remembered is bounded in number and bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any

from capture_agent import elements
from capture_agent.dot11 import Body
from capture_agent.shared import SharedList
from datastalker.message import Message

ASSOC_REQ, ASSOC_RESP, REASSOC_REQ, REASSOC_RESP, PROBE_REQ, PROBE_RESP, TIMING_ADV = range(7)
BEACON, ATIM, DISASSOC, AUTH, DEAUTH, ACTION, ACTION_NO_ACK = range(8, 15)

LIMIT = 1 << 13
LIMIT_BYTES = 1 << 22
"""Bodies that are remembered, and their bytes."""

_PRIVACY = 0x10
_SAE, _FILS_WITH_GROUP = 3, (5, 6)

_WITH_GROUP = ((1, 0), (1, 1), (2, 0))

Keys = dict[str, Any]

_CATEGORIES: dict[int, dict[int, int]] = {
    0: {0: 1, 1: 1, 2: 1, 3: 1},  # spectrum management
    1: {0: 1, 1: 3, 2: 5},  # QoS
    2: {0: 16, 1: 14, 2: 14},  # DLS
    4: {4: 4, 10: 1, 11: 5, 12: 1, 13: 6, 14: 3, 16: 13, 17: 13, 32: 1, 33: 18, 34: 13},  # public
    5: {0: 3, 1: 1, 2: 3, 3: 9, 4: 1, 5: 1},  # radio measurement
    6: {1: 12, 2: 14, 3: 12, 4: 14},  # fast BSS transition
    7: {0: 1, 1: 1, 2: 2, 3: 1, 6: 7, 7: 1, 8: 1},  # HT
    8: {0: 2, 1: 2},  # SA query
    9: {4: 4, 10: 1, 11: 5, 12: 1, 13: 6, 14: 3, 16: 13, 17: 13, 32: 1, 33: 18, 34: 13},  # the same
    10: {6: 2, 7: 5, 8: 3, 13: 1, 14: 1, 16: 1, 17: 3},  # WNM
    11: {0: 19, 1: 2},  # unprotected WNM
    12: {0: 3, 1: 5, 2: 3, 3: 2, 4: 1, 5: 2, 6: 2, 7: 1, 8: 3, 9: 1, 10: 1},  # TDLS
    13: {10: 2},  # mesh
    14: {},  # multihop
    15: {1: 2, 2: 4},  # self-protected
    16: {0: 2, 1: 3, 2: 6, 3: 6, 4: 2, 5: 2, 6: 1, 7: 1, 8: 3, 9: 3, 10: 1, 12: 7, 13: 1, 14: 9,
         15: 6, 18: 5, 19: 1, 20: 2, 21: 2, 22: 3},  # DMG
    17: {},  # WMM
    18: {0: 5, 1: 3, 2: 4, 3: 5, 4: 5, 5: 4},  # FST
    19: {0: 1, 4: 1, 5: 3},  # robust AV streaming
    20: {0: 10, 1: 5},  # unprotected DMG
    21: {},  # VHT
    22: {0: 1, 1: 1, 2: 2, 6: 1, 7: 1, 9: 2, 11: 1},  # S1G
    30: {1: 7},  # HE
    31: {0: 5},  # protected HE
}  # fmt: skip
"""Where the elements of an action frame start behind category and action code (9.6); 0 where
an action isn't named."""
_CATEGORY_OFFSET = {14: 6, 17: 2}
_NO_ELEMENTS = frozenset(
    ((7, 4), (7, 5), (10, 26), (16, 11), (19, 1), (21, 0), (21, 1), (21, 2), (30, 0))
)
_BLOCK_ACK, _BLOCK_ACK_OFFSETS = 3, {0: 7, 1: 7, 2: 4}
_PUBLIC, _VENDOR_SPECIFIC, _GAS = (4, 9), 9, (10, 11, 13)
_MULTIHOP = 14
_P2P = b"\x50\x6f\x9a\x09"
_VENDOR, _P2P_VENDOR_OFFSET = 127, 5
_TRANSITION_REQUEST, _TRANSITION_RESPONSE = (10, 7), (10, 8)


class Management:
    """Readers for the bodies of management frames, which share what they remember."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[bytes, int], tuple[Callable[[bytes], Any], dict[Any, Keys]]] = {}
        self._requests: dict[bytes, Keys] = {}
        self._count = self._bytes = 0

    def body(self, subtype: int) -> Body | None:
        """The reader for a subtype; None where it has nothing to read."""
        readers: dict[int, Body] = {
            ASSOC_REQ: self._after(4),
            ASSOC_RESP: self._after(6, status_at=2),
            REASSOC_REQ: self._after(10),
            REASSOC_RESP: self._after(6, status_at=2),
            PROBE_REQ: self._probe_request,
            PROBE_RESP: self._beacon,
            TIMING_ADV: self._after(10),
            BEACON: self._beacon,
            DISASSOC: self._after(2, reason_at=0),
            AUTH: self._authentication,
            DEAUTH: self._after(2, reason_at=0),
            ACTION: self._action,
            ACTION_NO_ACK: self._action,
        }
        return readers.get(subtype)

    def _beacon(self, message: Message, data: bytes, start: int, end: int) -> None:
        """Timestamp, Beacon Interval, Capability Information, elements."""
        if end - start < 12:
            if end - start >= 8:
                message["tsf"] = int.from_bytes(data[start : start + 8], "little")
            if end - start >= 10:
                message["beacon_interval"] = int.from_bytes(data[start + 8 : start + 10], "little")
            return
        message["tsf"], message["beacon_interval"], capability = _BEACON(data, start)
        body = data[start + 10 : end]
        shape = self._shapes.get((data[start - 14 : start - 8], len(body)))
        known = shape[1].get(shape[0](body)) if shape is not None else None
        if known is None:
            known = self._learn_beacon(data[start - 14 : start - 8], body, capability)
        message.update(known)

    def _learn_beacon(self, sender: bytes, body: bytes, capability: int) -> Keys:
        found = elements.read(body, 2, len(body))
        known = _share(elements.keys(found, bool(capability & _PRIVACY)))
        self._remember(len(body))
        shape = self._shapes.get((sender, len(body)))
        # All bytes are kept but the contents of changing elements, whose places follow from the
        # bytes kept: so what is equal there has the same elements.
        begin, kept = 0, []
        for hole, after in found.changing:
            kept.append(slice(begin, hole))
            begin = after
        kept.append(slice(begin, len(body)))
        pick = itemgetter(*kept)
        if shape is None or shape[0] != pick:
            shape = self._shapes[sender, len(body)] = (pick, shape[1] if shape else {})
        shape[1][pick(body)] = known
        return known

    def _probe_request(self, message: Message, data: bytes, start: int, end: int) -> None:
        body = data[start:end]
        known = self._requests.get(body)
        if known is None:
            self._remember(len(body))
            known = _share(elements.keys(elements.read(body, 0, len(body)), None))
            self._requests[body] = known
        message.update(known)

    def _remember(self, size: int) -> None:
        self._count += 1
        self._bytes += size
        if self._count > LIMIT or self._bytes > LIMIT_BYTES:
            self._shapes.clear()
            self._requests.clear()
            self._count, self._bytes = 1, size

    def _after(
        self, fixed: int, status_at: int | None = None, reason_at: int | None = None
    ) -> Body:
        """A reader for `fixed` bytes, a status or a reason in them, and elements behind."""

        def read(message: Message, data: bytes, start: int, end: int) -> None:
            for name, at in (("status", status_at), ("reason", reason_at)):
                if at is not None and end >= start + at + 2:
                    code = data[start + at : start + at + 2]
                    message[name] = int.from_bytes(code, "little")
            _elements(message, data, start + fixed, end)

        return read

    def _authentication(self, message: Message, data: bytes, start: int, end: int) -> None:
        """9.3.3.11: algorithm, transaction, status; what SAE adds (12.4) isn't elements."""
        if end - start < 6:
            return
        algorithm, transaction, status = _AUTHENTICATION(data, start)
        message["status"] = status
        offset = start + 6
        if algorithm == _SAE:
            if not (transaction == 1 and status == 77):  # refused: Finite Cyclic Group alone
                return
            offset += 2
        elif algorithm in _FILS_WITH_GROUP and (transaction, status and 1) in _WITH_GROUP:
            offset += 2
        _elements(message, data, offset, end)

    def _action(self, message: Message, data: bytes, start: int, end: int) -> None:
        if end - start < 2:
            return
        category, action = data[start], data[start + 1]
        offset = _action_elements(category, action, data[start + 2 : end])
        if offset is None:
            return
        offset += start + 2
        if category in _PUBLIC and action in _GAS:
            _elements(message, data, offset, end, queries=True)
        else:
            _elements(message, data, offset, end)


def read_dmg_beacon(message: Message, data: bytes, start: int, end: int) -> None:
    """802.11-2020, 9.3.4.2: Timestamp, Sector Sweep, Beacon Interval, then much else."""
    if end - start >= 8:
        message["tsf"] = int.from_bytes(data[start : start + 8], "little")
    if end - start >= 13:
        message["beacon_interval"] = int.from_bytes(data[start + 11 : start + 13], "little")


def _action_elements(category: int, action: int, rest: bytes) -> int | None:
    """Where the elements of an action frame start in what is behind its action code."""
    if category == _BLOCK_ACK:
        return _BLOCK_ACK_OFFSETS.get(action)
    if category == _VENDOR:
        return _P2P_VENDOR_OFFSET if action == _P2P[0] and rest.startswith(_P2P[1:]) else None
    if category not in _CATEGORIES or (category, action) in _NO_ELEMENTS:
        return None
    if category in _PUBLIC and action == _VENDOR_SPECIFIC:
        return 6 if rest.startswith(_P2P) else None
    offset = _CATEGORIES[category].get(action, _CATEGORY_OFFSET.get(category, 0))
    if (category, action) == _TRANSITION_REQUEST and len(rest) > 1:
        mode = rest[1]
        offset += 12 if mode & 0x08 else 0  # BSS Termination Duration
        if mode & 0x10 and offset < len(rest):  # Session Information URL
            offset += 1 + rest[offset]
    elif category == _MULTIHOP and rest:
        offset += 6 * (rest[0] & 3)  # Address Extension of the Mesh Control field
    elif (category, action) == _TRANSITION_RESPONSE and len(rest) > 1 and rest[1] == 0:
        offset += 6  # Target BSSID
    return offset


_BEACON = Struct("<QHH").unpack_from
_AUTHENTICATION = Struct("<HHH").unpack_from


def _elements(
    message: Message, data: bytes, offset: int, end: int, *, queries: bool = False
) -> None:
    """Read elements; with `queries` there is a query, after its length, behind the first (9.6.7)."""
    if offset >= end:
        return
    if not queries:
        found = elements.read(data, offset, end)
    else:
        first = min(offset + 2 + data[offset + 1], end) if offset + 2 <= end else end
        found = elements.read(data, offset, first)
        if first + 2 <= end:
            query = int.from_bytes(data[first : first + 2], "little")
            found = elements.read(data, min(first + 2 + query, end), end, found)
    message.update(elements.keys(found, None))


def _share(keys: Keys) -> Keys:
    return {
        name: SharedList(value) if isinstance(value, list) else value
        for name, value in keys.items()
    }
