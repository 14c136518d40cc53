"""Message: what travels through the pipeline, and the contract of its keys.

A message is a dict with a `type` (`frame`, `presence`, `alert`, `sensor`, or a plug-in's own). It is
sparse: a key whose value is null is not stored, and reading a key of a frame or of presence that is
not there gives None. So `message['noise_dbm']` never raises, `message['my_tpyo']` does.

`FIELDS` is the one declaration of the contract: the CSV's columns, the JSON's order, what `when:`
may compare, the reference and the Avro schemas are read from it or checked against it.
Terms: IEEE 802.11-2020. Kinds: its table 9-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MANAGEMENT = (
    "ASSOC_REQ ASSOC_RESP REASSOC_REQ REASSOC_RESP PROBE_REQ PROBE_RESP TIMING_ADV RESERVED "
    "BEACON ATIM DISASSOC AUTH DEAUTH ACTION ACTION_NO_ACK RESERVED"
)
_CONTROL = (
    "RESERVED RESERVED TRIGGER TACK BEAMFORMING_POLL NDP_ANNOUNCE CTRL_EXT CTRL_WRAPPER "
    "BLOCK_ACK_REQ BLOCK_ACK PS_POLL RTS CTS ACK CF_END CF_END_ACK"
)
_DATA = (
    "DATA DATA_CF_ACK DATA_CF_POLL DATA_CF_ACK_POLL NULL CF_ACK CF_POLL CF_ACK_POLL "
    "QOS_DATA QOS_DATA_CF_ACK QOS_DATA_CF_POLL QOS_DATA_CF_ACK_POLL QOS_NULL RESERVED "
    "QOS_CF_POLL QOS_CF_ACK_POLL"
)
_EXTENSION = "DMG_BEACON S1G_BEACON" + 14 * " RESERVED"

KINDS: tuple[tuple[str, ...], ...] = tuple(
    tuple(names.split()) for names in (_MANAGEMENT, _CONTROL, _DATA, _EXTENSION)
)
"""`KINDS[type][subtype]`: the name of a frame's kind (IEEE 802.11-2020, table 9-1)."""

KIND_NAMES: tuple[str, ...] = tuple(dict.fromkeys(name for row in KINDS for name in row))
"""Every kind once, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of the contract.

    `type` is one of: integer, number, boolean, text, address, kind, strings, integers, map, records.
    `only` says where it is found: empty for every frame, else a word for the docs.
    """

    name: str
    type: str
    help: str
    only: str = ""


def _fields(*rows: tuple[str, ...]) -> dict[str, Field]:
    return {row[0]: Field(*row) for row in rows}


_MGMT, _BSS = "management", "management frames of an access point"

FRAME_FIELDS: dict[str, Field] = _fields(
    ("timestamp", "integer", "UTC capture time, microseconds since 1970-01-01"),
    ("id", "text", "session and number in it: the same whenever and wherever the frame is read"),
    ("sensor", "text", "who heard it"),
    ("interface", "text", "the interface it was heard on"),
    ("labels", "map", "static labels of the sensor, from the YAML"),
    ("kind", "kind", "type and subtype, IEEE 802.11-2020 table 9-1"),
    ("ta", "address", "transmitter address"),
    ("ra", "address", "receiver address"),
    ("sa", "address", "source address"),
    ("da", "address", "destination address"),
    ("bssid", "address", "BSSID"),
    ("seq", "integer", "sequence number, 0 to 4095"),
    ("frag", "integer", "fragment number, 0 to 15"),
    ("retry", "boolean", "Retry flag"),
    ("protected", "boolean", "Protected Frame flag"),
    ("to_ds", "boolean", "To DS flag"),
    ("from_ds", "boolean", "From DS flag"),
    ("power_mgmt", "boolean", "Power Management flag"),
    ("more_data", "boolean", "More Data flag"),
    ("tid", "integer", "traffic identifier of a QoS data frame"),
    ("duration", "integer", "Duration field, microseconds; null where it holds something else"),
    ("length", "integer", "bytes of the MAC frame on the air, without its FCS"),
    ("signal_dbm", "integer", "signal at the antenna, dBm (of all antennas where they are combined)"),
    ("noise_dbm", "integer", "noise at the antenna, dBm"),
    ("freq_mhz", "integer", "centre frequency of the channel the receiver was tuned to, MHz"),
    ("channel", "integer", "number of that channel"),
    ("rate_kbps", "integer", "data rate, kbit/s"),
    ("antenna", "integer", "index of the antenna"),
    ("fcs_ok", "boolean", "the receiver's verdict on the frame check sequence"),
    ("ssid", "text", "SSID as text; empty: wildcard, or hidden in a beacon; null: no element", _MGMT),
    ("ssid_hex", "text", "the SSID's bytes in hex, where the text is not the very bytes", _MGMT),
    ("security", "text", "OPEN, WEP, WPA, WPA2, WPA3, OWE; several joined by a slash", _BSS),
    ("group_cipher", "text", "group data cipher suite", _MGMT),
    ("pairwise_ciphers", "strings", "pairwise cipher suites", _MGMT),
    ("akms", "strings", "authentication and key management suites", _MGMT),
    ("pmf", "text", "protected management frames: none, capable, required", _MGMT),
    ("beacon_interval", "integer", "time units of 1024 microseconds", _BSS),
    ("tsf", "integer", "the access point's Timestamp field, microseconds", _BSS),
    ("bss_channel", "integer", "channel that the access point says it is on", _MGMT),
    ("country", "text", "country code of the Country element", _MGMT),
    ("rates_kbps", "integers", "supported and extended supported rates, kbit/s", _MGMT),
    ("wps_state", "text", "Wi-Fi Protected Setup: configured or unconfigured", _MGMT),
    ("wps_device_name", "text", "WPS device name", _MGMT),
    ("wps_manufacturer", "text", "WPS manufacturer", _MGMT),
    ("wps_model_name", "text", "WPS model name", _MGMT),
    ("wps_model_number", "text", "WPS model number", _MGMT),
    ("wps_uuid", "text", "WPS UUID-E", _MGMT),
    ("ht", "boolean", "HT Capabilities element present", _MGMT),
    ("vht", "boolean", "VHT Capabilities element present", _MGMT),
    ("he", "boolean", "HE Capabilities element present", _MGMT),
    ("eht", "boolean", "EHT Capabilities element present", _MGMT),
    ("elements", "integers", "element ids in order; 255: see extensions", _MGMT),
    ("extensions", "integers", "extension ids of the elements 255, in order", _MGMT),
    ("reason", "integer", "reason code of a deauthentication or disassociation", _MGMT),
    ("status", "integer", "status code of an authentication or association", _MGMT),
    ("eapol", "integer", "number of the EAPOL-Key handshake message, 1 to 4", "data"),
    ("file", "text", "capture file it was read from", "capture files"),
    ("frame_number", "integer", "its number in that file, from 1", "capture files"),
)  # fmt: skip
"""Keys of a message of type `frame`, in the order in which they are shown."""

PRESENCE_FIELDS: dict[str, Field] = _fields(
    ("timestamp", "integer", "when it happened, UTC, microseconds since 1970-01-01"),
    ("id", "text", "key, event and time: the same whenever the frames are read"),
    ("event", "text", "NEW, ACTIVE or ABSENT"),
    ("key", "text", "what is present: an address by default"),
    ("first_seen", "integer", "first sighting of this stay, microseconds"),
    ("last_seen", "integer", "last sighting, microseconds"),
    ("sightings", "integer", "frames of this stay"),
    ("signal_avg_dbm", "integer", "average signal of this stay, dBm"),
    ("signal_max_dbm", "integer", "strongest signal of this stay, dBm"),
    ("ssids", "strings", "networks it probed for"),
    ("bssids", "strings", "access points it talked to"),
    ("sensors", "strings", "sensors that heard it"),
    ("randomized", "boolean", "the address is locally administered"),
    ("oui", "text", "its vendor, where an oui stage stands before"),
)

_LIVE, _HOPPING = "live", "a hopper"

SENSOR_FIELDS: dict[str, Field] = _fields(
    ("timestamp", "integer", "when it was said, UTC, microseconds since 1970-01-01"),
    ("id", "text", "session and number in it"),
    ("key", "text", "name of the sensor"),
    ("session", "text", "random, of this start of the agent: counts begin again with it"),
    ("state", "text", "running or ended"),
    ("source", "text", "the source it hears with"),
    ("version", "text", "of DataStalker"),
    ("captured", "integer", "frames that the source read, damaged ones included"),
    ("published", "integer", "frames that the broker has"),
    ("filtered", "integer", "frames kept back by stages"),
    ("made", "integer", "what stages made of a frame beside the frame"),
    ("waiting", "integer", "frames not delivered yet, in memory alone"),
    ("spooled", "integer", "frames not delivered yet, on disk"),
    ("dropped", "integer", "frames lost, for whatever reason; `dropped_REASON` has each"),
    ("dropped_bad_fcs", "integer", "the receiver found their frame check sequence wrong"),
    ("dropped_protocol_version", "integer", "of a protocol version that isn't 0"),
    ("dropped_own_uplink", "integer", "from or to this host's own addresses", _LIVE),
    ("dropped_unread", "integer", "in the ring when the agent ended", _LIVE),
    ("dropped_stage_error", "integer", "by an exception in a stage"),
    ("dropped_queue_full", "integer", "no memory for them while the broker was away"),
    ("dropped_spool_full", "integer", "no room on disk"),
    ("dropped_msg_timed_out", "integer", "the broker did not take them in time"),
    ("kernel_dropped", "integer", "frames that the kernel lost before us", _LIVE),
    ("events", "integer", "messages of other types that the broker has"),
    ("queued_batches", "integer", "batches on their way to the broker"),
    ("spool_batches", "integer", "batches on disk, those of earlier runs included"),
    ("spool_bytes", "integer", "bytes on disk, likewise"),
    ("earlier_published", "integer", "frames that earlier runs had left, and the broker now has"),
    ("earlier_dropped", "integer", "frames that earlier runs had left, and are lost"),
    ("clock", "text", "good, off, or not measured"),
    ("clock_offset_ms", "number", "how far the clock is ahead of the broker's"),
    ("clock_error_ms", "number", "by so much more or less at most"),
    ("last_frame", "integer", "time of the last frame, microseconds"),
    ("interfaces", "strings", "how each interface is", _LIVE),
    ("interface_lost", "integer", "how often one stopped being heard", _LIVE),
    ("channels", "integer", "that are listened to in turn", _HOPPING),
    ("channels_left_out", "strings", "that no card can hear, MHz", _HOPPING),
)
"""Keys of the status that an agent gives of itself. Counts are of its session."""

ALERT_FIELDS: dict[str, Field] = _fields(
    ("timestamp", "integer", "when it was noticed, UTC, microseconds since 1970-01-01"),
    ("id", "text", "the same whenever it is said again"),
    ("key", "text", "whom or what it is about: a sensor, an address"),
    ("alert", "text", "what kind of alert, such as clock_off"),
    ("text", "text", "the same for people"),
    ("clock", "text", "good or off", "clock_off"),
    ("clock_offset_ms", "number", "how far the clock is ahead of the broker's", "clock_off"),
    ("clock_error_ms", "number", "by so much more or less at most", "clock_off"),
)

FIELDS: dict[str, dict[str, Field]] = {
    "frame": FRAME_FIELDS,
    "presence": PRESENCE_FIELDS,
    "alert": ALERT_FIELDS,
    "sensor": SENSOR_FIELDS,
}
"""The contract by message type. Any other key that a stage sets travels beside it."""

KNOWN_KEYS: frozenset[str] = frozenset({*FRAME_FIELDS, *PRESENCE_FIELDS})
"""What a stage may ask any message for: keys of what passes through stages."""


class Message(dict[str, Any]):
    """A dict with a type. A key of the contract that it does not hold reads as None."""

    __slots__ = ("wire",)

    wire: Any
    """Set where it was read from Kafka to be sent on: see `datastalker.wire.reader.Wire`."""

    def __missing__(self, key: str) -> None:
        if key in KNOWN_KEYS:
            return
        raise KeyError(key)

    @property
    def type(self) -> str:
        """`frame`, `presence`, `alert`, `sensor`, or a plug-in's own; `message` if none was set."""
        return self.get("type", "message")  # type: ignore[no-any-return]

    def copy(self) -> Message:
        return Message(self)

    def __repr__(self) -> str:
        return f"Message({dict.__repr__(self)})"
