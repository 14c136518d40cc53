"""802.11 frames as bytes: the MAC header, control frames and data frames, each with its truth.

A `Frame` carries what went into it (kind, transmitter, sequence number …) beside the bytes, so the
truth of a simulation does not come from the parser that is to be tested with it.
IEEE 802.11-2020: 9.2 (header), 9.3.1 (control), 9.3.2 (data), 12.7.2 (EAPOL-Key).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from datastalker.message import KINDS

BROADCAST = b"\xff" * 6

TYPE_OF = {
    name: (number, subtype)
    for number, row in enumerate(KINDS)
    for subtype, name in enumerate(row)
    if name != "RESERVED"
}

TO_DS, FROM_DS, MORE_FRAGMENTS, RETRY, POWER_MGMT, MORE_DATA, PROTECTED = (
    0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40,
)  # fmt: skip
"""Bits of the second byte of a frame."""

EAPOL_KEY_INFORMATION = {1: 0x0088, 2: 0x0108, 3: 0x13C8, 4: 0x0308}
"""Key Information of the four messages of a 4-way handshake, without the descriptor version."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A MAC frame without its FCS. `ta` and `seq` are None where it has none."""

    kind: str
    data: bytes
    ra: bytes
    ta: bytes | None = None
    seq: int | None = None
    frag: int = 0
    tid: int | None = None
    rate_kbps: int = 1000

    @property
    def retry(self) -> bool:
        return bool(self.data[1] & RETRY)

    @property
    def flags(self) -> int:
        return self.data[1]

    def again(self) -> Frame:
        """The same frame with its Retry bit set."""
        return replace(self, data=bytes((self.data[0], self.data[1] | RETRY)) + self.data[2:])

    def with_fcs(self) -> bytes:
        return self.data + struct.pack("<I", zlib.crc32(self.data))


def text(address: bytes | None) -> str:
    """`aa:bb:cc:dd:ee:ff`; nothing for no address."""
    return address.hex(":") if address else ""


def frame_control(kind: str, flags: int = 0) -> bytes:
    number, subtype = TYPE_OF[kind]
    return bytes((number << 2 | subtype << 4, flags))


def header(
    kind: str, addresses: tuple[bytes, bytes, bytes], seq: int,
    frag: int = 0, flags: int = 0, duration: int = 0,
) -> bytes:  # fmt: skip
    """The 24 bytes that management and data frames begin with."""
    sequence_control = struct.pack("<H", seq << 4 | frag)
    start = frame_control(kind, flags) + struct.pack("<H", duration)
    return start + b"".join(addresses) + sequence_control


# Control frames: no sequence number, so nothing tells one from the next.


def ack(ra: bytes, rate_kbps: int = 24_000) -> Frame:
    return Frame("ACK", frame_control("ACK") + bytes(2) + ra, ra, rate_kbps=rate_kbps)


def cts(ra: bytes, duration: int = 300) -> Frame:
    data = frame_control("CTS") + struct.pack("<H", duration) + ra
    return Frame("CTS", data, ra, rate_kbps=24_000)


def rts(ra: bytes, ta: bytes, duration: int = 350) -> Frame:
    data = frame_control("RTS") + struct.pack("<H", duration) + ra + ta
    return Frame("RTS", data, ra, ta, rate_kbps=24_000)


def block_ack(ra: bytes, ta: bytes, tid: int, first_seq: int, received: int) -> Frame:
    """Compressed Block Ack: `received` has bit n set for sequence number first_seq + n."""
    control = struct.pack("<HHQ", 0x0004 | tid << 12, first_seq << 4, received)
    data = frame_control("BLOCK_ACK") + bytes(2) + ra + ta + control
    return Frame("BLOCK_ACK", data, ra, ta, rate_kbps=24_000)


# Data frames.


def data(
    ra: bytes, ta: bytes, third: bytes, seq: int, body: bytes, *,
    flags: int, tid: int | None = None, frag: int = 0, rate_kbps: int = 24_000,
) -> Frame:  # fmt: skip
    """DATA, or QOS_DATA where a `tid` is given. `third` is the third address: DA to, SA from the AP."""
    kind = "DATA" if tid is None else "QOS_DATA"
    qos = b"" if tid is None else bytes((tid, 0))
    duration = 0 if ra[0] & 1 else 44
    start = header(kind, (ra, ta, third), seq, frag, flags, duration)
    return Frame(kind, start + qos + body, ra, ta, seq, frag, tid, rate_kbps)


def null(bssid: bytes, ta: bytes, seq: int, *, asleep: bool, qos: bool = True) -> Frame:
    """Says to the access point, with no data, whether the station goes to sleep."""
    kind = "QOS_NULL" if qos else "NULL"
    flags = TO_DS | (POWER_MGMT if asleep else 0)
    body = header(kind, (bssid, ta, bssid), seq, 0, flags, 44) + (b"\x00\x00" if qos else b"")
    return Frame(kind, body, bssid, ta, seq, 0, 0 if qos else None, 24_000)


def ccmp(packet_number: int, ciphertext: bytes) -> bytes:
    """An encrypted body: CCMP header, ciphertext, and the MIC as its last eight bytes."""
    low, high = packet_number & 0xFFFF, packet_number >> 16
    return struct.pack("<HBBI", low, 0, 0x20, high) + ciphertext


def snap(ethertype: int, packet: bytes) -> bytes:
    return bytes.fromhex("aaaa03000000") + struct.pack(">H", ethertype) + packet


def eapol_key(
    message: int, version: int, replay: int, nonce: bytes, mic: bytes, key_data: bytes = b""
) -> bytes:
    """Body of message 1 to 4 of the 4-way handshake; the first has no MIC whatever is given."""
    down = message in (1, 3)
    information = EAPOL_KEY_INFORMATION[message] | version
    key = struct.pack(">BHHQ", 2, information, 16 if down else 0, replay)
    key += nonce.ljust(32, b"\x00") + bytes(32) + (bytes(16) if message == 1 else mic)
    key += struct.pack(">H", len(key_data)) + key_data
    return snap(0x888E, struct.pack(">BBH", 2, 3, len(key)) + key)


def ping(source: bytes, destination: bytes, number: int, payload: bytes) -> bytes:
    """Body of an unencrypted ICMP echo between two IPv4 addresses."""
    icmp = _checksummed(struct.pack(">BBHHH", 8, 0, 0, 1, number & 0xFFFF) + payload, 2)
    length = 20 + len(icmp)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 1, 0, source, destination)
    return snap(0x0800, _checksummed(ip, 10) + icmp)


def _checksummed(packet: bytes, at: int) -> bytes:
    padded = packet + b"\x00" * (len(packet) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:at] + struct.pack(">H", ~total & 0xFFFF) + packet[at + 2 :]
