"""Information elements of management frames, as bytes (IEEE 802.11-2020, 9.4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_OUI_RSN = bytes.fromhex("000fac")
_OUI_MICROSOFT = bytes.fromhex("0050f2")

CCMP, BIP_CMAC = 4, 6
"""Cipher suites of 00-0F-AC (table 9-149)."""
PSK, SAE, OWE = 2, 8, 18
"""Authentication and key management suites of 00-0F-AC (table 9-151)."""
RSN_SUITES: dict[str, tuple[Sequence[int], str]] = {
    "WPA2": ((PSK,), "none"),
    "WPA2/WPA3": ((PSK, SAE), "capable"),
    "WPA3": ((SAE,), "required"),
    "OWE": ((OWE,), "required"),
}
"""What an access point announces, by the name of its security: AKMs and management frame protection."""
_PMF_BITS = {"none": 0x0000, "capable": 0x0080, "required": 0x00C0}

_WPS_ATTRIBUTES = (
    # name in our message, attribute type (Wi-Fi Simple Configuration 2.0.8, table 28)
    ("wps_state", 0x1044),
    ("wps_manufacturer", 0x1021),
    ("wps_model_name", 0x1023),
    ("wps_model_number", 0x1024),
    ("wps_device_name", 0x1011),
    ("wps_uuid", 0x1047),
)


def element(number: int, body: bytes) -> bytes:
    return bytes((number, len(body))) + body


def extension(number: int, body: bytes) -> bytes:
    return element(255, bytes((number,)) + body)


def vendor(oui: bytes, kind: int, body: bytes) -> bytes:
    return element(221, oui + bytes((kind,)) + body)


def ssid(name: bytes) -> bytes:
    return element(0, name)


def rates(half_mbps: Sequence[int], basic: Iterable[int] = ()) -> bytes:
    """Supported Rates: the first eight, in units of 500 kbit/s."""
    required = frozenset(basic)
    return element(1, bytes(rate | (0x80 if rate in required else 0) for rate in half_mbps[:8]))


def extended_rates(half_mbps: Sequence[int]) -> bytes:
    """Extended Supported Rates: those that did not fit."""
    return element(50, bytes(half_mbps[8:]))


def ds(channel: int) -> bytes:
    return element(3, bytes((channel,)))


def tim(count: int, period: int, aids: Iterable[int], group: bool = False) -> bytes:
    """For whom the access point holds frames: association ids 1 to 15 fit the two bytes sent."""
    bitmap = sum(1 << aid for aid in aids)
    return element(5, bytes((count, period, int(group))) + struct.pack("<H", bitmap))


def country(code: str, first_channel: int, channels: int, power_dbm: int) -> bytes:
    return element(7, code.encode("ascii") + b" " + bytes((first_channel, channels, power_dbm)))


def rsn(akms: Sequence[int], pmf: str, pairwise: Sequence[int] = (CCMP,)) -> bytes:
    def suites(numbers: Sequence[int]) -> bytes:
        return struct.pack("<H", len(numbers)) + b"".join(_OUI_RSN + bytes((n,)) for n in numbers)

    body = struct.pack("<H", 1) + _OUI_RSN + bytes((CCMP,)) + suites(pairwise) + suites(akms)
    body += struct.pack("<H", _PMF_BITS[pmf])
    if pmf != "none":
        body += struct.pack("<H", 0) + _OUI_RSN + bytes((BIP_CMAC,))
    return element(48, body)


def ht_capabilities() -> bytes:
    mcs = bytes.fromhex("ffff0000000000000000000001000000")
    return element(45, struct.pack("<HB16sHIB", 0x016E, 0x17, mcs, 0, 0, 0))


def ht_operation(channel: int) -> bytes:
    return element(61, bytes((channel,)) + bytes(5) + bytes(16))


def vht_capabilities() -> bytes:
    return element(191, struct.pack("<IHHHH", 0x0F8259B2, 0xFFFA, 0, 0xFFFA, 0))


def vht_operation() -> bytes:
    return element(192, struct.pack("<BBBH", 0, 0, 0, 0xFFFC))


def he_capabilities() -> bytes:
    mac, phy = bytes.fromhex("010008000000"), bytes.fromhex("022000c000000000000c00")
    return extension(35, mac + phy + struct.pack("<HH", 0xFFFA, 0xFFFA))


def he_operation(color: int) -> bytes:
    return extension(36, bytes.fromhex("040000") + bytes((color,)) + struct.pack("<H", 0xFFFC))


def extended_capabilities() -> bytes:
    return element(127, bytes.fromhex("0400080000000040"))


def wmm_parameters() -> bytes:
    """What a Wi-Fi Multimedia access point says of its four queues."""
    queues = bytes.fromhex("03a40000 27a40000 42435e00 62322f00")
    return vendor(_OUI_MICROSOFT, 2, bytes((1, 1, 0x80, 0)) + queues)


def wmm_information() -> bytes:
    return vendor(_OUI_MICROSOFT, 2, bytes((0, 1, 0)))


def owe_dh(public_key: bytes) -> bytes:
    """Diffie-Hellman Parameter (RFC 8110): group 19 and the x coordinate."""
    return extension(32, struct.pack("<H", 19) + public_key)


def wps(values: dict[str, bytes]) -> bytes:
    """Wi-Fi Protected Setup, from the names that our messages give its attributes."""
    body = struct.pack(">HHB", 0x104A, 1, 0x10)
    for name, number in _WPS_ATTRIBUTES:
        if name in values:
            body += struct.pack(">HH", number, len(values[name])) + values[name]
    return vendor(_OUI_MICROSOFT, 4, body)
