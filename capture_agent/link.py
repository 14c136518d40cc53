"""Link types other than radiotap that carry 802.11: what stands before the MAC header.

105 bare, 119 Prism (with AVS inside as well), 163 AVS, 192 PPI, 113 and 276 Linux cooked with an
802.11 device behind. https://www.tcpdump.org/linktypes.html
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from

from capture_agent import phy
from capture_agent.radiotap import HeaderError, Layout, Radio

BARE, COOKED, PRISM, RADIOTAP, AVS, PPI, COOKED2 = 105, 113, 119, 127, 163, 192, 276

_ARPHRD = {801: BARE, 802: PRISM, 803: RADIOTAP}

_PRISM_SIZE = 144
_AVS_MAGIC = 0x80211000
# The number of an item is in the upper half of its DID; the lower half is 0x0044 or 0x0041.
_PRISM_CHANNEL, _PRISM_SIGNAL, _PRISM_NOISE, _PRISM_RATE = 3, 6, 7, 8


def is_known(link_type: int) -> bool:
    """Whether frames of 802.11 may be in it."""
    return link_type in _READERS


def read(link_type: int, data: bytes) -> Radio:
    """Read the header of a link type. Raises HeaderError where it can't be followed."""
    reader = _READERS.get(link_type)
    if reader is None:
        raise HeaderError("link_type")
    return reader(data)


def _bare(data: bytes) -> Radio:
    return Radio(0)


def _radiotap(data: bytes) -> Radio:
    return Layout(data).radio(data)


def _prism(data: bytes) -> Radio:
    """The header of wlan-ng: message code, length, device, ten items of DID, status, length,
    value; all in the byte order of the host that captured. Not each signal is in dBm."""
    if len(data) >= 4 and _is_avs(data):
        return _avs(data)
    if len(data) < _PRISM_SIZE:
        raise HeaderError("radio_header_cut")
    order = "<" if data[0] else ">"
    radio = Radio(_PRISM_SIZE)
    for offset in range(24, _PRISM_SIZE, 12):
        did, status, _, value = unpack_from(order + "IHHi", data, offset)
        if status != 0 or did & 0xFFFF not in (0x44, 0x41):
            continue
        item = did >> 16
        if item == _PRISM_SIGNAL:
            radio.fields["signal_dbm"] = value
        elif item == _PRISM_NOISE and value:
            radio.fields["noise_dbm"] = value
        elif item == _PRISM_CHANNEL and 0 < value < 256:
            radio.fields["channel"] = value
        elif item == _PRISM_RATE and 0 < value < 0x10000:
            radio.fields["rate_kbps"] = phy.legacy_kbps(value)
    return radio


def _is_avs(data: bytes) -> bool:
    return int.from_bytes(data[:4], "big") & ~0xF == _AVS_MAGIC


_AVS_SIZE = 64  # version 1; version 2 is longer
_AVS_OFDM_5_GHZ = 8
_AVS_DBM = 2
_AVS_NO_NOISE = (-1, 0)


def _avs(data: bytes) -> Radio:
    """The capture frame format of linux-wlan, 2.1.1: all big-endian."""
    if len(data) < 8:
        raise HeaderError("radio_header_cut")
    if not _is_avs(data):
        raise HeaderError("radio_header_invalid")
    length: int = unpack_from(">I", data, 4)[0]
    if length > len(data):
        raise HeaderError("radio_header_cut")
    radio = Radio(length)
    if length < _AVS_SIZE:
        if length < 8:
            raise HeaderError("radio_header_invalid")
        return radio
    phy_type, channel, rate, antenna, _, signal_type, signal, noise = unpack_from(
        ">IIIIIIii", data, 24
    )
    fields = radio.fields
    if 0 < channel < 256:
        fields["channel"] = channel
        freq = phy.frequency(channel, 5.0 if phy_type == _AVS_OFDM_5_GHZ else 2.4)
        if freq is not None:
            fields["freq_mhz"] = freq
    elif channel:
        fields["freq_mhz"] = channel if channel < 10_000 else channel // 1000
        number = phy.channel_number(fields["freq_mhz"])
        if number is not None:
            fields["channel"] = number
    if rate:
        fields["rate_kbps"] = rate * 100 if rate < 100_000 else rate // 1000
    if antenna:
        fields["antenna"] = antenna
    if signal_type == _AVS_DBM:
        fields["signal_dbm"] = signal
        if noise not in _AVS_NO_NOISE:
            fields["noise_dbm"] = noise
    return radio


_PPI_COMMON, _PPI_N_MAC_PHY = 2, 4
_PPI_UNKNOWN_DBM = (-128, 0)  # the second where the receiver doesn't measure it


def _ppi(data: bytes) -> Radio:
    """PPI 1.0.10: version, flags, length, link type behind; fields of type, length, value."""
    if len(data) < 8:
        raise HeaderError("radio_header_cut")
    flags, length, inner = unpack_from("<xBHI", data)
    if length < 8:
        raise HeaderError("radio_header_invalid")
    if length > len(data):
        raise HeaderError("radio_header_cut")
    if inner not in (BARE, RADIOTAP, PRISM, AVS):
        raise HeaderError("link_type")
    radio = Radio(0)
    offset = 8
    while offset + 4 <= length:
        kind, size = unpack_from("<HH", data, offset)
        offset += 4
        if offset + size > length:
            break
        if kind == _PPI_COMMON and size >= 20:
            _ppi_common(radio, data, offset)
        elif kind == _PPI_N_MAC_PHY and size >= 48:
            _ppi_mac_phy(radio, data, offset)
        offset += size
        if flags & 1:
            offset = (offset + 3) & ~3
    behind = _READERS[inner](data[length:])
    radio.start = length + behind.start
    radio.fields.update(behind.fields)
    if inner == RADIOTAP:
        radio.fcs_length, radio.bad_fcs = behind.fcs_length, behind.bad_fcs
    radio.padded = behind.padded
    return radio


def _ppi_common(radio: Radio, data: bytes, offset: int) -> None:
    """802.11-Common: TSF, flags, rate, frequency, its flags, FHSS, signal, noise."""
    flags, rate, freq, signal, noise = unpack_from("<HHHxxxxbb", data, offset + 8)
    radio.fcs_length = 4 if flags & 1 else 0
    radio.bad_fcs = bool(flags & 0x4)
    radio.fields["fcs_ok"] = not radio.bad_fcs
    if rate:
        radio.fields["rate_kbps"] = phy.legacy_kbps(rate)
    _set_frequency(radio, freq)
    if signal not in _PPI_UNKNOWN_DBM:
        radio.fields["signal_dbm"] = signal
    if noise not in _PPI_UNKNOWN_DBM:
        radio.fields["noise_dbm"] = noise


def _ppi_mac_phy(radio: Radio, data: bytes, offset: int) -> None:
    """802.11n MAC+PHY: the rate by MCS."""
    flags, index = unpack_from("<I5xB", data, offset)
    known = 0x07 if index <= 76 else 0
    rate = phy.ht_kbps(known, (1 if flags & 0x02 else 0) | (0x04 if flags & 0x04 else 0), index)
    if rate is not None:
        radio.fields.setdefault("rate_kbps", rate)


def _set_frequency(radio: Radio, freq: int) -> None:
    if freq:
        radio.fields["freq_mhz"] = freq
        channel = phy.channel_number(freq)
        if channel is not None:
            radio.fields["channel"] = channel


def _cooked(data: bytes) -> Radio:
    return _behind(data, 16, 2)


def _cooked2(data: bytes) -> Radio:
    return _behind(data, 20, 8)


def _behind(data: bytes, size: int, device_at: int) -> Radio:
    if len(data) < size:
        raise HeaderError("radio_header_cut")
    inner = _ARPHRD.get(unpack_from(">H", data, device_at)[0])
    if inner is None:
        raise HeaderError("link_type")
    radio = _READERS[inner](data[size:])
    radio.start += size
    return radio


_READERS: dict[int, Callable[[bytes], Radio]] = {
    BARE: _bare,
    COOKED: _cooked,
    PRISM: _prism,
    RADIOTAP: _radiotap,
    AVS: _avs,
    PPI: _ppi,
    COOKED2: _cooked2,
}
