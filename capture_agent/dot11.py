"""The MAC header of IEEE 802.11-2020, section 9.2 and 9.3: what kind of frame it is, which
addresses and other fields it has, and a reader for them that is made once per kind.

As tshark does: an A-MSDU has no source and (or) destination of its own, they are in its
subframes, which are read if they aren't encrypted; CF-End has no TA; the TA of an RTS is not
unmasked; the Duration of a PS-Poll is an AID, and the uppermost bit of any other Duration isn't
part of it; a fragment behind which others come is no whole body, so its body isn't read.
A frame that was cut short has what is wholly in its bytes, but a management frame that ends
inside its header has no address besides RA.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from struct import Struct

from datastalker.message import KINDS, Message

Body = Callable[[Message, bytes, int, int], None]
"""Reads what follows the MAC header: (message, data, where it starts, where it ends)."""
Reader = Callable[[Message, bytes, int, int], None]
"""Reads a frame: (message, data, where the MAC header starts, where the body ends). The message
has all the header's keys already, as None: that saves making room for them."""

MANAGEMENT, CONTROL, DATA, EXTENSION = range(4)

# Addresses in the order in which they stand; a comma: one address has several roles.
_MANAGEMENT_ADDRESSES = "ra,da ta,sa bssid"
_CONTROL_ADDRESSES = (
    "ra", "ra", "ra ta", "ra ta", "ra ta", "ra ta", "", "ra", "ra ta", "ra ta",
    "ra,bssid ta", "ra ta", "ra", "ra", "ra bssid", "ra ta",
)  # fmt: skip
_CONTROL_EXTENSION_ADDRESSES = dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 10), "ra ta")
# By To DS and From DS, as bits 0 and 1: 9.3.2.1, table 9-30.
_DATA_ADDRESSES = ("ra,da ta,sa bssid", "ra,bssid ta,sa da", "ra,da ta,bssid sa", "ra ta da sa")
_EXTENSION_ADDRESSES = {0: "ra,bssid", 1: "ra,sa"}

_FLAGS = (
    ("retry", 0x08), ("protected", 0x40), ("to_ds", 0x01), ("from_ds", 0x02),
    ("power_mgmt", 0x10), ("more_data", 0x20),
)  # fmt: skip
_CONTROL_EXTENSION, _WRAPPER, _PS_POLL, _S1G_BEACON = 6, 7, 10, 1
_ADDRESS_AT = (4, 10, 16, 24)
PROTECTED, MORE_FRAGMENTS = 0x40, 0x04
LIMIT = 1 << 14
"""Addresses whose text is remembered."""


class AddressNames(dict[bytes, str]):
    """6 bytes → 'aa:bb:cc:dd:ee:ff', remembered; forgets all when there are too many.

    `met`: one of the `watched` addresses has come since they were set. While none has, nobody needs
    to look for them frame by frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = False
        self.watched: Set[str] = frozenset()

    def watch(self, addresses: Set[str]) -> None:
        """Tell from now on whether one of these has come."""
        if addresses != self.watched:
            self.watched, self.met = addresses, False
            self.clear()

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= LIMIT:
            self.clear()
        name = self[raw] = raw.hex(":")
        self.met = self.met or name in self.watched
        return name


@dataclass(frozen=True, slots=True)
class Header:
    """What two bytes of frame control say.

    `has_payload`: a data frame that carries something whole and not encrypted. `addresses`: the
    roles of each address. `size`: bytes of the whole header, QoS and HT control
    included. `qos`: where the QoS Control field is, or 0. `keys`: the keys that a reader sets if
    the header is whole, but for those of an A-MSDU.
    """

    type: int
    subtype: int
    kind: str
    has_payload: bool
    to_ds: bool
    from_ds: bool
    addresses: tuple[tuple[str, ...], ...]
    size: int
    has_duration: bool
    qos: int
    keys: tuple[str, ...]


def header_key(control: int, flags: int) -> tuple[int, int]:
    """Frame control without the flags that don't change the form of a frame (`describe`)."""
    return control, flags & (0xCF if control & 0x0C == CONTROL << 2 else 0xC7)


def named_flags(control: int, flags: int) -> dict[str, bool]:
    """The flags of frame control that mean in this frame what they are called."""
    named = {name: bool(flags & bit) for name, bit in _FLAGS}
    if control & 0xFC == _CONTROL_EXTENSION << 4 | CONTROL << 2:  # four are part of its subtype
        return {name: named[name] for name in ("power_mgmt", "more_data")}
    if control & 0xFC == _S1G_BEACON << 4 | EXTENSION << 2:  # mean something else (9.3.4.3)
        return {}
    return named


def describe(control: int, flags: int) -> Header:
    """Read the frame control field's two bytes (9.2.4.1)."""
    frame_type, subtype = control >> 2 & 3, control >> 4
    size = qos = 0
    has_duration = True
    if frame_type == MANAGEMENT:
        addresses = _MANAGEMENT_ADDRESSES
        size = 28 if flags & 0x80 else 24
    elif frame_type == DATA:
        addresses = _DATA_ADDRESSES[flags & 3]
        size = 30 if flags & 3 == 3 else 24
        if subtype & 8:
            qos = size
            size += 6 if flags & 0x80 else 2
    elif frame_type == CONTROL:
        addresses = _CONTROL_ADDRESSES[subtype]
        has_duration = subtype != _PS_POLL
        if subtype == _CONTROL_EXTENSION:
            addresses = _CONTROL_EXTENSION_ADDRESSES.get(flags & 15, "ra")
    else:
        addresses = _EXTENSION_ADDRESSES.get(subtype, "ra")
    roles = tuple(tuple(word.split(",")) for word in addresses.split())
    keys = ["duration"] if has_duration else []
    keys += [role for words in roles for role in words]
    if frame_type in (MANAGEMENT, DATA):
        keys += ["seq", "frag"]
    if qos:
        keys.append("tid")
    return Header(
        frame_type,
        subtype,
        KINDS[frame_type][subtype],
        has_payload=frame_type == DATA
        and not subtype & 4
        and not flags & (PROTECTED | MORE_FRAGMENTS),
        to_ds=bool(flags & 0x01),
        from_ds=bool(flags & 0x02),
        addresses=roles,
        size=size or _ADDRESS_AT[len(roles) - 1] + 6,
        has_duration=has_duration,
        qos=qos,
        keys=tuple(keys),
    )


def reader(header: Header, names: AddressNames, padded: bool, body: Body | None) -> Reader:
    """Make the function that reads all frames of this header. It reads nothing beyond `end`,
    except for a header that takes the place where an FCS should be."""
    cut = _cut_reader(header, names)
    roles = header.addresses
    if header.type in (MANAGEMENT, DATA):
        size = (header.size + 3) & ~3 if padded else header.size
        if header.qos:
            return _qos_reader(header, names, size, body, cut)
        if len(roles) == 3:
            return _three_reader(header, names, size, body, cut)
        return _qos_reader(header, names, size, body, cut)
    if len(roles) == 1 and body is not None:
        return _beacon_reader(body, cut)
    if header.type == CONTROL and header.subtype == _WRAPPER:
        return _wrapper_reader(names, cut)
    if roles == (("ra",),):
        return _one_reader(names, cut)
    if len(roles) == 2 and header.has_duration:
        return _two_reader(roles[1][0], names, cut)
    return cut


def _one_reader(names: AddressNames, cut: Reader) -> Reader:
    unpack = Struct("<H6s").unpack_from

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        if end - start < 10:
            cut(message, data, start, end)
            return
        duration, address = unpack(data, start + 2)
        message["duration"] = duration & 0x7FFF
        message["ra"] = names[address]

    return read


def _two_reader(second: str, names: AddressNames, cut: Reader) -> Reader:
    unpack = Struct("<H6s6s").unpack_from

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        if end - start < 16:
            cut(message, data, start, end)
            return
        duration, address1, address2 = unpack(data, start + 2)
        message["duration"] = duration & 0x7FFF
        message["ra"] = names[address1]
        message[second] = names[address2]

    return read


def _three_reader(
    header: Header, names: AddressNames, size: int, body: Body | None, cut: Reader
) -> Reader:
    unpack = Struct("<H6s6s6sH").unpack_from
    (_, role1), (_, role2), (role3,) = header.addresses

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        if end - start < 24:
            cut(message, data, start, end)
            return
        duration, address1, address2, address3, sequence = unpack(data, start + 2)
        message["duration"] = duration & 0x7FFF
        message["ra"] = message[role1] = names[address1]
        message["ta"] = message[role2] = names[address2]
        message[role3] = names[address3]
        message["seq"] = sequence >> 4
        message["frag"] = sequence & 15
        if body is not None:
            body(message, data, start + size, end)

    return read


def _qos_reader(
    header: Header, names: AddressNames, size: int, body: Body | None, cut: Reader
) -> Reader:
    """Data frames with a QoS Control field, a fourth address, or both."""
    unpack = Struct("<H6s6s6sH").unpack_from
    roles = [(role, number) for number, words in enumerate(header.addresses) for role in words]
    four, qos = len(header.addresses) == 4, header.qos
    needed = max(qos + 1, 30 if four else 24)
    hidden = [
        (name, at)
        for name, is_hidden, at in (("sa", header.from_ds, 6), ("da", header.to_ds, 0))
        if is_hidden
    ]
    carries = not header.subtype & 4
    readable = header.has_payload

    def _amsdu(message: Message, data: bytes, start: int, end: int) -> None:
        """An A-MSDU (9.3.2.2.2): the ends are those of its first subframe, if they can be read."""
        if four:
            message["bssid"] = names[data[start - size + 16 : start - size + 22]]
        for role, at in hidden:
            if readable and end - start >= 14:
                message[role] = names[data[start + at : start + at + 6]]
            else:
                del message[role]
        if body is not None:
            body(message, data, start + 14, end)

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        if end - start < needed:
            cut(message, data, start, end)
            return
        duration, *found, sequence = unpack(data, start + 2)
        message["duration"] = duration & 0x7FFF
        if four:
            found.append(data[start + 24 : start + 30])
        for role, number in roles:
            message[role] = names[found[number]]
        message["seq"] = sequence >> 4
        message["frag"] = sequence & 15
        if qos:
            control = data[start + qos]
            message["tid"] = control & 15
            if control & 0x80 and carries:
                _amsdu(message, data, start + size, end)
                return
        if body is not None:
            body(message, data, start + size, end)

    return read


def _beacon_reader(body: Body, cut: Reader) -> Reader:
    """Beacons of the extension type: a body behind one address."""

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        cut(message, data, start, end)
        body(message, data, start + 10, end)

    return read


def _wrapper_reader(names: AddressNames, cut: Reader) -> Reader:
    """Control Wrapper (9.3.1.9): RA, the carried frame's Frame Control, HT Control, and what the
    carried frame has behind its own RA."""

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        cut(message, data, start, end)
        if end - start < 12 or data[start + 10] & 0x0C != CONTROL << 2:
            return
        first, *second = _CONTROL_ADDRESSES[data[start + 10] >> 4].split() or [""]
        if first == "ra,bssid":
            message["bssid"] = message["ra"]
        if second and end - start >= 22:
            message[second[0]] = names[data[start + 16 : start + 22]]

    return read


def _cut_reader(header: Header, names: AddressNames) -> Reader:
    """Reads what there is of a frame that ends inside its header, or is no longer than that."""

    def read(message: Message, data: bytes, start: int, end: int) -> None:
        size = len(data) - start
        whole = 24 if header.type == MANAGEMENT else 0
        if size >= 4 and header.has_duration:
            message["duration"] = (data[start + 2] | data[start + 3] << 8) & 0x7FFF
        for roles, at in zip(header.addresses, _ADDRESS_AT, strict=False):
            for role in roles:
                if size >= (at + 6 if role == "ra" else max(at + 6, whole)):
                    message[role] = names[data[start + at : start + at + 6]]
        if header.type in (MANAGEMENT, DATA) and size >= 24:
            sequence = int.from_bytes(data[start + 22 : start + 24], "little")
            message["seq"], message["frag"] = sequence >> 4, sequence & 15
        if header.qos and size > header.qos:
            message["tid"] = data[start + header.qos] & 15
        for name in header.keys:
            if message[name] is None:
                del message[name]

    return read
