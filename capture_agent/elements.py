"""Elements of management frames: IEEE 802.11-2020, section 9.4.2.

An element whose bytes are not all there counts among `elements`, but nothing is read from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from capture_agent import security

SSID, RATES, DS_PARAMETER, TIM, COUNTRY, BSS_LOAD = 0, 1, 3, 5, 7, 11
HT_CAPABILITIES, RSN, EXTENDED_RATES, HT_OPERATION = 45, 48, 50, 61
MULTIPLE_BSSID, VHT_CAPABILITIES, VENDOR, EXTENSION = 71, 191, 221, 255
HE_CAPABILITIES, HE_OPERATION, EHT_CAPABILITIES = 35, 36, 108

CHANGING = frozenset((TIM, BSS_LOAD))
"""Elements from which nothing is read and that change from beacon to beacon."""

_WPA, _WPS = security.WPA_OUI + b"\1", security.WPA_OUI + b"\4"
_SELECTORS = 121  # from here on BSS membership selectors, 9.4.2.3: not rates


@dataclass(slots=True)
class Elements:
    """What was read from a list of elements. `keys` is what goes into the message."""

    ids: list[int] = field(default_factory=list)
    extensions: list[int] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    rates: list[int] = field(default_factory=list)
    rsn: security.Suites | None = None
    wpa: security.Suites | None = None
    channels: dict[int, int] = field(default_factory=dict)  # rank of the source: channel
    wps: bytes = b""
    changing: list[tuple[int, int]] = field(default_factory=list)
    whole: bool = True


def read(data: bytes, offset: int, end: int, found: Elements | None = None) -> Elements:
    """Read the elements in data[offset:end], in addition to those `found` already."""
    found = found or Elements()
    ids, handlers = found.ids, _HANDLERS
    while offset + 2 <= end:
        number = data[offset]
        begin = offset + 2
        offset = begin + data[offset + 1]
        if number == EXTENSION:
            if begin == offset or begin >= end:
                found.whole = False
                break
            found.extensions.append(data[begin])
        ids.append(number)
        if offset > end:
            found.whole = False
            break
        if number in handlers:
            handlers[number](found, data[begin:offset])
        elif number in CHANGING:
            found.changing.append((begin, offset))
    else:
        found.whole = found.whole and offset == end
    return found


def keys(found: Elements, privacy: bool | None) -> dict[str, Any]:
    """The keys of the message. `privacy`: the bit of an access point's Capability Information,
    None in frames of stations, which say nothing about a network's security."""
    out = found.keys
    if not found.ids:
        return out
    for name, number, ids in (
        ("ht", HT_CAPABILITIES, found.ids),
        ("vht", VHT_CAPABILITIES, found.ids),
        ("he", HE_CAPABILITIES, found.extensions),
        ("eht", EHT_CAPABILITIES, found.extensions),
    ):
        if number in ids:
            out[name] = True
        elif found.whole:  # of what was cut off nobody knows
            out[name] = False
    if privacy is not None and (found.whole or found.rsn or found.wpa):
        out["security"] = security.summary(privacy, found.rsn, found.wpa)
    for listed in (found.rsn, found.wpa):
        if listed is not None:
            _suites(out, listed)
    if found.rsn is not None:
        out["pmf"] = security.pmf(found.rsn)
    if found.channels:
        out["bss_channel"] = found.channels[min(found.channels)]
    if found.rates:
        out["rates_kbps"] = found.rates
    if found.wps:
        _wps(out, found.wps)
    out["elements"] = found.ids
    if found.extensions:
        out["extensions"] = found.extensions
    return out


def _suites(out: dict[str, Any], listed: security.Suites) -> None:
    if listed.group is not None:
        out.setdefault("group_cipher", listed.group)
    for name, values in (("pairwise_ciphers", listed.pairwise), ("akms", listed.akms)):
        if values:
            out[name] = list(dict.fromkeys((*out.get(name, ()), *values)))


def _ssid(found: Elements, raw: bytes) -> None:
    if "ssid" in found.keys:  # the first one counts
        return
    try:
        found.keys["ssid"] = raw.decode()
    except UnicodeDecodeError:
        found.keys["ssid"] = raw.decode("utf-8", "replace")
        found.keys["ssid_hex"] = raw.hex()


def _rates(found: Elements, raw: bytes) -> None:
    found.rates += [(byte & 127) * 500 for byte in raw if byte & 127 < _SELECTORS]


def _country(found: Elements, raw: bytes) -> None:
    code = raw[:2]
    if len(code) == 2 and code.isalnum():
        found.keys.setdefault("country", code.decode("ascii"))


def _ds_parameter(found: Elements, raw: bytes) -> None:
    if raw:
        found.channels.setdefault(0, raw[0])


def _ht_operation(found: Elements, raw: bytes) -> None:
    if raw:
        found.channels.setdefault(1, raw[0])


def _extension(found: Elements, raw: bytes) -> None:
    """HE Operation with 6 GHz Operation Information: 802.11ax-2021, 9.4.2.249."""
    if raw[0] == HE_OPERATION and len(raw) >= 7:
        has_vht, cohosted, has_6_ghz = raw[2] & 0x40, raw[2] & 0x80, raw[3] & 0x02
        offset = 7 + (3 if has_vht else 0) + (1 if cohosted else 0)
        if has_6_ghz and len(raw) > offset:
            found.channels.setdefault(2, raw[offset])


def _rsn(found: Elements, raw: bytes) -> None:
    if found.rsn is None and len(raw) >= 2:
        found.rsn = security.suites(raw, 2)


def _multiple_bssid(found: Elements, raw: bytes) -> None:
    """Nontransmitted BSSID profiles hold elements too: 9.4.2.45."""
    offset = 1
    while offset + 2 <= len(raw):
        number, begin = raw[offset], offset + 2
        offset = begin + raw[offset + 1]
        if number == 0:
            nested = read(raw, begin, min(offset, len(raw)))
            found.ids += nested.ids
            found.extensions += nested.extensions


def _vendor(found: Elements, raw: bytes) -> None:
    kind = raw[:4]
    if kind == _WPA and found.wpa is None and len(raw) >= 6:
        found.wpa = security.suites(raw, 6)
    elif kind == _WPS:
        found.wps += raw[4:]


_WPS_TEXTS = {
    0x1011: "wps_device_name",
    0x1021: "wps_manufacturer",
    0x1023: "wps_model_name",
    0x1024: "wps_model_number",
}


def _wps(out: dict[str, Any], raw: bytes) -> None:
    """Attributes of Wi-Fi Simple Configuration 2.0.8, section 12; one body of all its elements."""
    offset = 0
    while offset + 4 <= len(raw):
        kind, begin = int.from_bytes(raw[offset : offset + 2], "big"), offset + 4
        offset = begin + int.from_bytes(raw[offset + 2 : begin], "big")
        value = raw[begin:offset]
        if offset > len(raw) or not value:
            continue
        if kind in _WPS_TEXTS:
            text = value.rstrip(b"\0").decode("utf-8", "replace")
            if text:
                out.setdefault(_WPS_TEXTS[kind], text)
        elif kind == 0x1044 and value[0] in (1, 2):
            out.setdefault("wps_state", "unconfigured" if value[0] == 1 else "configured")
        elif kind == 0x1047 and len(value) == 16:
            digits = value.hex()
            parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            out.setdefault("wps_uuid", "-".join(parts))


_HANDLERS: dict[int, Callable[[Elements, bytes], None]] = {
    SSID: _ssid,
    RATES: _rates,
    DS_PARAMETER: _ds_parameter,
    COUNTRY: _country,
    RSN: _rsn,
    EXTENDED_RATES: _rates,
    HT_OPERATION: _ht_operation,
    MULTIPLE_BSSID: _multiple_bssid,
    VENDOR: _vendor,
    EXTENSION: _extension,
}
