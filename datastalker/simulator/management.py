"""Management frames as bytes: what access points announce and how stations find and join them.

IEEE 802.11-2020, 9.3.3 (frame bodies) and 9.4.1 (their fixed fields); 12.4 (SAE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from datastalker.simulator import elements as ie
from datastalker.simulator.frames import BROADCAST, PROTECTED, Frame, header

RATES = (2, 4, 11, 22, 12, 18, 24, 36, 48, 72, 96, 108)
BASIC_RATES = (2, 4, 11, 22)
_ESS, _PRIVACY, _SHORT_SLOT = 0x0001, 0x0010, 0x0400
OPEN_SYSTEM, SAE = 0, 3
"""Authentication algorithms."""


@dataclass(frozen=True)
class Bss:
    """One network of one access point, as it announces itself."""

    bssid: bytes
    ssid: bytes
    channel: int
    security: str = "WPA2"
    hidden: bool = False
    interval_tu: int = 100
    country: str = "US"
    phys: tuple[str, ...] = ("ht",)
    wps: dict[str, bytes] = field(default_factory=dict)

    @property
    def capability(self) -> int:
        return _ESS | _SHORT_SLOT | (0 if self.security == "OPEN" else _PRIVACY)

    def elements(self, name: bytes, tim: bytes = b"") -> bytes:
        """In the order of the standard; the TIM is a beacon's only."""
        parts = [ie.ssid(name), ie.rates(RATES, BASIC_RATES), ie.ds(self.channel), tim]
        parts.append(ie.country(self.country, 1, 11 if self.country == "US" else 13, 20))
        parts += [
            ie.extended_rates(RATES),
            self.rsn(),
            *self.phy_elements(),
            ie.extended_capabilities(),
        ]
        if "he" in self.phys:
            parts += [ie.he_capabilities(), ie.he_operation(self.bssid[5] & 0x3F or 1)]
        parts.append(ie.wmm_parameters())
        parts.append(ie.wps(self.wps) if self.wps else b"")
        return b"".join(parts)

    def rsn(self) -> bytes:
        if self.security == "OPEN":
            return b""
        akms, pmf = ie.RSN_SUITES[self.security]
        return ie.rsn(akms, pmf)

    def phy_elements(self) -> Iterable[bytes]:
        if "ht" in self.phys:
            yield from (ie.ht_capabilities(), ie.ht_operation(self.channel))
        if "vht" in self.phys:
            yield from (ie.vht_capabilities(), ie.vht_operation())


def _frame(
    kind: str, ra: bytes, ta: bytes, bssid: bytes, seq: int, body: bytes,
    rate_kbps: int = 1000, flags: int = 0,
) -> Frame:  # fmt: skip
    start = header(kind, (ra, ta, bssid), seq, flags=flags, duration=0 if ra[0] & 1 else 314)
    return Frame(kind, start + body, ra, ta, seq, rate_kbps=rate_kbps)


def beacon(bss: Bss, seq: int, tsf: int, tim: bytes) -> Frame:
    fixed = struct.pack("<QHH", tsf, bss.interval_tu, bss.capability)
    body = fixed + bss.elements(b"" if bss.hidden else bss.ssid, tim)
    return _frame("BEACON", BROADCAST, bss.bssid, bss.bssid, seq, body)


def probe_response(bss: Bss, ra: bytes, seq: int, tsf: int) -> Frame:
    body = struct.pack("<QHH", tsf, bss.interval_tu, bss.capability) + bss.elements(bss.ssid)
    return _frame("PROBE_RESP", ra, bss.bssid, bss.bssid, seq, body)


def probe_request(ta: bytes, seq: int, name: bytes, after_rates: bytes) -> Frame:
    """`after_rates`: the elements that make this model's probes unlike another's."""
    body = ie.ssid(name) + ie.rates(RATES) + ie.extended_rates(RATES) + after_rates
    return _frame("PROBE_REQ", BROADCAST, ta, BROADCAST, seq, body)


def authentication(
    ra: bytes, ta: bytes, bssid: bytes, seq: int, transaction: int,
    algorithm: int = OPEN_SYSTEM, status: int = 0, body: bytes = b"",
) -> Frame:  # fmt: skip
    fixed = struct.pack("<HHH", algorithm, transaction, status)
    return _frame("AUTH", ra, ta, bssid, seq, fixed + body)


def sae_commit(scalar: bytes, point: bytes) -> bytes:
    """Group 19: a scalar of 32 bytes and a point of 64."""
    return struct.pack("<H", 19) + scalar + point


def sae_confirm(confirm: bytes) -> bytes:
    return struct.pack("<H", 1) + confirm


def association_request(
    bss: Bss, ta: bytes, seq: int, akm: int | None, more: bytes = b"", old_ap: bytes | None = None
) -> Frame:
    """A reassociation request where the station names the access point that it comes from."""
    kind = "ASSOC_REQ" if old_ap is None else "REASSOC_REQ"
    body = struct.pack("<HH", bss.capability, 10) + (old_ap or b"")
    body += ie.ssid(bss.ssid) + ie.rates(RATES) + ie.extended_rates(RATES)
    if akm is not None:
        body += ie.rsn((akm,), "none" if akm == ie.PSK else "capable")
    return _frame(kind, bss.bssid, ta, bss.bssid, seq, body + more + ie.wmm_information())


def association_response(
    bss: Bss, ra: bytes, seq: int, aid: int, kind: str = "ASSOC_RESP"
) -> Frame:
    body = struct.pack("<HHH", bss.capability, 0, aid | 0xC000)
    body += ie.rates(RATES, BASIC_RATES) + ie.extended_rates(RATES)
    body += b"".join(bss.phy_elements()) + ie.wmm_parameters()
    return _frame(kind, ra, bss.bssid, bss.bssid, seq, body)


def deauthentication(
    ra: bytes, ta: bytes, bssid: bytes, seq: int, reason: int,
    kind: str = "DEAUTH", rate_kbps: int = 1000,
) -> Frame:  # fmt: skip
    """Or, as `kind` says, a DISASSOC."""
    return _frame(kind, ra, ta, bssid, seq, struct.pack("<H", reason), rate_kbps)


def protected(kind: str, ra: bytes, ta: bytes, bssid: bytes, seq: int, body: bytes) -> Frame:
    """A management frame whose body is encrypted, as protected management frames ask for."""
    return _frame(kind, ra, ta, bssid, seq, body, flags=PROTECTED)
