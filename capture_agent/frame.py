"""From captured records to messages: radio header, MAC header and body put together.

Most frames repeat what came before: the same radio header, the same kind. So a frame's message
starts as a copy of one that is ready for its radio header and frame control, and only what is its
own is set: time, number, length, addresses, sequence and body. What is remembered is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError  # noqa: N812 - as the other exceptions are named
from typing import Any

from capture_agent import dot11, link
from capture_agent.capture_file import Record
from capture_agent.dot11 import Body, Reader
from capture_agent.management import Management, read_dmg_beacon
from capture_agent.radiotap import HeaderError, Layout, Radio
from datastalker.message import Message

LIMIT_ENTRIES = 1 << 13
"""Radio headers with frame control that are remembered."""
LIMIT_LAYOUTS = 1 << 8
"""Layouts of radiotap headers that are remembered."""
LIMIT_HEADER = 1 << 9
"""Bytes of a radio header that is remembered; those of drivers have some 50."""

Entry = tuple[dict[str, Any] | None, Any, int, int]
"""(the message to copy, its Reader, where the MAC header starts, bytes of FCS), or, for frames
that are dropped, (None, the reason, 0, 0)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What parsers of several interfaces may share: addresses and bodies that came lately."""

    names: dot11.AddressNames = field(default_factory=dot11.AddressNames)
    management: Management = field(default_factory=Management)


class FrameParser:
    """Makes messages of the frames of one interface.

    `template`: keys that each message has. `session`: the first half of its id. `numbered`: the
    messages carry their `frame_number`, as those of capture files do. `fcs_length`: bytes of FCS
    at the end where no radio header tells. `memory`: its own unless given.
    `dropped` counts the frames that gave no message, by reason: bad_fcs, no_frame_control,
    protocol_version, radio_header_cut, radio_header_invalid, link_type.
    """

    def __init__(
        self,
        link_type: int,
        template: Mapping[str, Any],
        keep_bad_fcs: bool = False,
        session: str = "",
        *,
        numbered: bool = False,
        fcs_length: int = 0,
        memory: Memory | None = None,
    ) -> None:
        self.dropped: dict[str, int] = {}
        self._link_type, self._session = link_type, session
        self._template: dict[str, Any] = {"type": "frame", "timestamp": 0, "id": "", **template}
        if numbered:
            self._template["frame_number"] = 0
        self._keep_bad_fcs, self._numbered, self._fcs_length = keep_bad_fcs, numbered, fcs_length
        self._memory = memory or Memory()
        self._readers: dict[tuple[int, int, bool], tuple[dot11.Header, Reader]] = {}
        self._layouts: dict[bytes, tuple[Any, dict[Any, Entry], Layout | None]] = {}
        self._entries = 0
        if link_type == link.BARE:
            self._layouts = _Everything((Struct("2s").unpack_from, {}, None))

    def parse(self, records: Iterable[Record], number: int = 1) -> list[Message]:
        """Messages of the records; `number` is that of the first, and numbers go on from it."""
        messages: list[Message] = []
        append, session, layouts = messages.append, self._session, self._layouts.get
        numbered, find = self._numbered, self._find
        for number, (timestamp, data, wire_length) in enumerate(records, number):  # noqa: B020
            layout = layouts(data[:8])
            try:
                entry = layout[1].get(layout[0](data)) if layout is not None else None
            except StructError:
                entry = None
            if entry is None:
                entry = find(data)
            ready, read, start, fcs_length = entry
            if ready is None:
                self.dropped[read] = self.dropped.get(read, 0) + 1
                continue
            message = Message(ready)
            message["timestamp"] = timestamp
            message["id"] = f"{session}-{number}"
            if numbered:
                message["frame_number"] = number
            end = wire_length - fcs_length
            if end < start + 2:  # no FCS can be in there, whatever the radio header says
                end = wire_length
            message["length"] = end - start
            if end <= len(data):
                read(message, data, start, end)
            else:
                read(message, data, start, len(data))
                _forget_what_may_have_been_cut_off(message)
            append(message)
        return messages

    def _find(self, data: bytes) -> Entry:
        """The entry of a frame that wasn't remembered; remembers it."""
        pick = memo = None
        try:
            if self._link_type == link.RADIOTAP:
                layout = self._layout(data)
                if layout.length <= LIMIT_HEADER:
                    pick, memo = layout.pick, layout.memo
                radio = layout.radio(data)
            else:
                radio = link.read(self._link_type, data)
                if self._link_type == link.BARE:
                    pick, memo, _ = self._layouts[b""]
        except HeaderError as error:
            return None, error.args[0], 0, 0
        entry = self._entry(radio, data[radio.start : radio.start + 2])
        if pick is not None and memo is not None and len(data) >= radio.start + 2:
            self._entries += 1
            if self._entries > LIMIT_ENTRIES:
                self._entries = 1
                for _, other, _ in self._layouts.values():
                    other.clear()
            memo[pick(data)] = entry
        return entry

    def _layout(self, data: bytes) -> Layout:
        prefix = data[:8]
        known = self._layouts.get(prefix)
        if known is not None and known[2] is not None and known[2].fits(data):
            return known[2]
        layout = Layout(data)
        if layout.length > LIMIT_HEADER:
            return layout
        if len(self._layouts) >= LIMIT_LAYOUTS:
            self._layouts.clear()
            self._entries = 0
        self._layouts[prefix] = layout.pick, layout.memo, layout
        return layout

    def _entry(self, radio: Radio, control: bytes) -> Entry:
        if len(control) < 2:
            return None, "no_frame_control", 0, 0
        if radio.bad_fcs and not self._keep_bad_fcs:
            return None, "bad_fcs", 0, 0
        if control[0] & 3:
            return None, "protocol_version", 0, 0
        key = (*dot11.header_key(control[0], control[1]), radio.padded)
        known = self._readers.get(key)
        if known is None:
            known = self._readers[key] = self._reader(*key)
        header, read = known
        ready = {
            **self._template,
            "kind": header.kind,
            **dict.fromkeys(header.keys),
            **dot11.named_flags(control[0], control[1]),
            "length": 0,
            **radio.fields,
        }
        return ready, read, radio.start, radio.fcs_length or self._fcs_length

    def _reader(self, control: int, flags: int, padded: bool) -> tuple[dot11.Header, Reader]:
        header = dot11.describe(control, flags)
        body: Body | None = None
        if header.type == dot11.MANAGEMENT:
            hidden = flags & (dot11.PROTECTED | dot11.MORE_FRAGMENTS)
            body = None if hidden else self._memory.management.body(header.subtype)
        elif header.has_payload:
            body = read_eapol
        elif header.kind == "DMG_BEACON" and not flags & dot11.MORE_FRAGMENTS:
            body = read_dmg_beacon
        return header, dot11.reader(header, self._memory.names, padded, body)


def _forget_what_may_have_been_cut_off(message: Message) -> None:
    """A capture with a snap length keeps the front of a frame: what isn't in there may have been
    behind it."""
    for name in ("ht", "vht", "he", "eht"):
        if message[name] is False:
            del message[name]
    if message["security"] in ("OPEN", "WEP"):
        del message["security"]


class _Everything(dict[bytes, tuple[Any, dict[Any, Entry], Layout | None]]):
    """Bare 802.11 has no radio header: one layout for all."""

    def __init__(self, layout: tuple[Any, dict[Any, Entry], Layout | None]) -> None:
        super().__init__({b"": layout})
        self._layout = layout

    def get(self, key: bytes, default: Any = None) -> Any:
        return self._layout


# The SNAP headers of EAPOL: as in Ethernet, for pre-authentication, in a bridge tunnel.
_EAPOL = tuple(
    bytes.fromhex("aaaa03" + rest) for rest in ("000000888e", "00000088c7", "0000f8888e")
)
_EAPOL_KEY, _RSN_KEY, _WPA_KEY = 3, 2, 254
_PAIRWISE, _INSTALL, _ACK, _REQUEST = 0x0008, 0x0040, 0x0080, 0x0800
_KEY_DATA_LENGTH_AT = 93


def read_eapol(message: Message, data: bytes, start: int, end: int) -> None:
    """The number of an EAPOL-Key message (802.11-2020, 12.7.2 and 12.7.6), told as tshark does:
    from a station the fourth is the one without key data."""
    if not data.startswith(_EAPOL, start) or end < start + 15:
        return
    key = start + 12
    if data[start + 9] != _EAPOL_KEY or data[key] not in (_RSN_KEY, _WPA_KEY):
        return
    information = data[key + 1] << 8 | data[key + 2]
    if information & _REQUEST:
        return
    pairwise = information & _PAIRWISE
    if information & _ACK:
        message["eapol"] = 3 if pairwise and information & _INSTALL else 1
    elif not pairwise:
        message["eapol"] = 2
    elif end >= key + _KEY_DATA_LENGTH_AT + 2:
        at = key + _KEY_DATA_LENGTH_AT
        message["eapol"] = 2 if data[at] or data[at + 1] else 4
