"""What an access point or a station says about security: RSN (IEEE 802.11-2020, 9.4.2.24) and the
WPA element of the Wi-Fi Alliance, which has the same form."""

from __future__ import annotations

from dataclasses import dataclass

RSN_OUI, WPA_OUI, WFA_OUI = b"\x00\x0f\xac", b"\x00\x50\xf2", b"\x50\x6f\x9a"

CIPHERS = {
    0: "GROUP", 1: "WEP40", 2: "TKIP", 4: "CCMP", 5: "WEP104", 6: "BIP-CMAC", 7: "NONE",
    8: "GCMP", 9: "GCMP256", 10: "CCMP256", 11: "BIP-GMAC", 12: "BIP-GMAC256", 13: "BIP-CMAC256",
}  # fmt: skip
"""Table 9-149, by the suite type behind 00-0F-AC."""

AKMS = {
    1: "802.1X", 2: "PSK", 3: "FT-802.1X", 4: "FT-PSK", 5: "802.1X-SHA256", 6: "PSK-SHA256",
    7: "TDLS", 8: "SAE", 9: "FT-SAE", 10: "APPEERKEY", 11: "802.1X-SUITE-B",
    12: "802.1X-SUITE-B-192", 13: "FT-802.1X-SHA384", 14: "FILS-SHA256", 15: "FILS-SHA384",
    16: "FT-FILS-SHA256", 17: "FT-FILS-SHA384", 18: "OWE", 19: "FT-PSK-SHA384", 20: "PSK-SHA384",
    21: "PASN", 22: "FT-802.1X-SHA384-UNRESTRICTED", 23: "802.1X-SHA384", 24: "SAE-EXT",
    25: "FT-SAE-EXT",
}  # fmt: skip
"""Table 9-151, by the suite type behind 00-0F-AC."""

_WFA_AKMS = {1: "OSEN", 2: "DPP"}
_WPA3 = frozenset(AKMS[number] for number in (8, 9, 11, 12, 13, 24, 25))
_ORDER = ("WPA", "WPA2", "OWE", "WPA3")


@dataclass(frozen=True, slots=True)
class Suites:
    """What an RSN or WPA element lists; empty where the element ends before. `capabilities`:
    RSN Capabilities, None where it ends before."""

    group: str | None = None
    pairwise: tuple[str, ...] = ()
    akms: tuple[str, ...] = ()
    capabilities: int | None = None


def suites(raw: bytes, offset: int) -> Suites:
    """Read the suites from their start: behind the version."""
    if len(raw) < offset + 4:
        return Suites()
    group = _cipher(raw[offset : offset + 4])
    pairwise, offset, whole = _list(raw, offset + 4)
    if not whole:
        return Suites(group, tuple(map(_cipher, pairwise)))
    akms, offset, whole = _list(raw, offset)
    capabilities = None
    if whole and len(raw) >= offset + 2:
        capabilities = int.from_bytes(raw[offset : offset + 2], "little")
    return Suites(group, tuple(map(_cipher, pairwise)), tuple(map(_akm, akms)), capabilities)


def _list(raw: bytes, offset: int) -> tuple[list[bytes], int, bool]:
    if len(raw) < offset + 2:
        return [], offset, False
    count = int.from_bytes(raw[offset : offset + 2], "little")
    begin, stop = offset + 2, offset + 2 + 4 * count
    found = [raw[at : at + 4] for at in range(begin, min(stop, len(raw) - 3), 4)]
    return found, stop, stop <= len(raw)


def _cipher(suite: bytes) -> str:
    known = CIPHERS.get(suite[3]) if suite[:3] in (RSN_OUI, WPA_OUI) else None
    return known or _vendor(suite)


def _akm(suite: bytes) -> str:
    oui, number = suite[:3], suite[3]
    known = None
    if oui in (RSN_OUI, WPA_OUI):
        known = AKMS.get(number)
    elif oui == WFA_OUI:
        known = _WFA_AKMS.get(number)
    return known or _vendor(suite)


def _vendor(suite: bytes) -> str:
    return f"{suite[:3].hex('-')}:{suite[3]}"


def pmf(rsn: Suites) -> str:
    """Management frame protection: bits 6 (required) and 7 (capable) of RSN Capabilities."""
    bits = rsn.capabilities or 0
    return "required" if bits & 0x40 else "capable" if bits & 0x80 else "none"


def summary(privacy: bool, rsn: Suites | None, wpa: Suites | None) -> str:
    """OPEN, WEP, WPA, WPA2, WPA3, OWE; several joined by a slash, the weakest first."""
    if rsn is None and wpa is None:
        return "WEP" if privacy else "OPEN"
    found = {"WPA"} if wpa is not None else set()
    if rsn is not None:
        found.update(_generation(akm) for akm in rsn.akms or ("802.1X",))
    return "/".join(name for name in _ORDER if name in found)


def _generation(akm: str) -> str:
    return "OWE" if akm == "OWE" else "WPA3" if akm in _WPA3 else "WPA2"
