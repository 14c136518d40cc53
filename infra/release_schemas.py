"""`python -m infra.release_schemas`: release the schemas as they stand, where they changed.

Copies `schemas/NAME.avsc` to `schemas/released/NAME/VERSION.avsc`, with messages written by it
beside it (`.bin`) and what they say (`.json`), from which a test knows that every version is read.
What was released is never changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemas
from datastalker.message import Message
from datastalker.wire import BatchEncoder, encode_event
from schemas.check import problems

FOLDER = Path(schemas.__file__).parent
TIME = 1_772_470_800_123_456


def main() -> int:
    for name in schemas.NAMES:
        if found := problems(name):
            print(f"schemas/{name}.avsc {found[0]}", file=sys.stderr)
            return 1
        newest = max(schemas.released(name), default=0)
        if newest and schemas.released(name)[newest] == schemas.current(name):
            continue
        folder = FOLDER / "released" / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{newest + 1}.avsc"
        path.write_text(schemas.text(name), encoding="utf-8")
        records = list(batches() if name == "frame_batch" else events(name))
        written = [data.hex() for data, _ in records]
        path.with_suffix(".hex").write_text("\n".join(written) + "\n")
        values = json.dumps([value for _, value in records], default=tagged, indent=1)
        path.with_suffix(".json").write_text(values + "\n")
        print(f"released {path.relative_to(FOLDER.parent)}")
    return 0


def tagged(value: Any) -> dict[str, str]:
    """Bytes, for JSON; `untagged` is the way back."""
    return {"bytes": value.hex()}


def untagged(value: dict[str, Any]) -> Any:
    """`object_hook` for what `tagged` wrote."""
    return bytes.fromhex(value["bytes"]) if value.keys() == {"bytes"} else value


def batches() -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Batches as bytes, and the arguments and messages that they were made of."""
    sender: dict[str, Any] = {"sensor": "porch", "session": "0123456789abcdef"}
    head: dict[str, Any] = {"sequence": 0, "sent_at": TIME, "now": TIME, "clock_offset_ms": None}
    yield _batch(sender, head, [])
    head = {"sequence": 300, "sent_at": TIME + 250_000, "now": TIME + 9, "clock_offset_ms": -12.5}
    yield _batch(sender, head, frames())
    common = {
        "labels": {"site": "home", "floor": "Étage 1"},
        "interface": "wlan1",
        "file": "a.pcap",
    }
    yield _batch(sender | common, head | {"sequence": 301}, frames())


def _batch(
    sender: dict[str, Any], head: dict[str, Any], messages: list[Message]
) -> tuple[bytes, dict[str, Any]]:
    data = BatchEncoder(**sender).encode(messages, **head)
    defaults: dict[str, Any] = {"labels": {}, "interface": None, "file": None}
    return data, {**defaults, **sender, **head, "messages": messages}


def frames() -> list[Message]:
    """Frames that between them have every key, and the awkward values."""
    flags = {
        "retry": False,
        "protected": True,
        "to_ds": False,
        "from_ds": True,
        "power_mgmt": False,
        "more_data": True,
    }
    base: dict[str, Any] = {
        "type": "frame",
        "timestamp": TIME,
        "sensor": "porch",
        "length": 300,
        **flags,
    }
    radio = {
        "signal_dbm": -71,
        "noise_dbm": -95,
        "freq_mhz": 5180,
        "channel": 36,
        "rate_kbps": 6000,
        "antenna": 0,
        "fcs_ok": True,
    }
    ap, station = "02:00:5e:00:00:01", "02:00:5e:00:00:fe"
    said: dict[str, Any] = {
        "ssid": "caf\u00e9 \U0001f4f6",
        "security": "WPA3/WPA2",
        "group_cipher": "CCMP",
        "pairwise_ciphers": ["CCMP", "GCMP-256"],
        "akms": ["SAE", "PSK"],
        "pmf": "capable",
        "beacon_interval": 100,
        "tsf": 987_654_321_012,
        "bss_channel": 36,
        "country": "FR",
        "rates_kbps": [6000, 54000],
        "wps_state": "configured",
        "wps_device_name": "box",
        "wps_manufacturer": "ACME",
        "wps_model_name": "M",
        "wps_model_number": "1",
        "wps_uuid": "00112233-4455-6677-8899-aabbccddeeff",
        "ht": True,
        "vht": True,
        "he": False,
        "eht": False,
        "elements": [0, 1, 3, 48, 221, 255],
        "extensions": [35],
    }
    beacon = {"ta": ap, "ra": "ff:ff:ff:ff:ff:ff", "sa": ap, "da": "ff:ff:ff:ff:ff:ff", "bssid": ap}
    every = [
        {**base, **radio, **beacon, **said, "id": "s-1", "kind": "BEACON", "seq": 4095, "frag": 0,
         "duration": 0, "frame_number": 1, "interface": "wlan1", "file": "a.pcap",
         "labels": {"site": "home", "floor": "Étage 1"}},
        {**base, **beacon, "id": "s-2", "kind": "PROBE_RESP", "tsf": (1 << 64) - 1, "ssid": "\ufffd",
         "ssid_hex": "ff", "timestamp": -1},
        {**base, "id": "s-3", "kind": "PROBE_REQ", "ssid": "", "ta": station, "elements": []},
        {**base, "id": "s-4", "kind": "DEAUTH", "reason": 7, "ta": ap, "ra": station},
        {**base, "id": "s-5", "kind": "AUTH", "status": 65535, "ta": ap, "ra": station},
        {**base, **radio, "id": "s-6", "kind": "QOS_DATA", "eapol": 4, "tid": 15, "seq": 0, "frag": 15,
         "duration": 32767, "ta": station, "ra": ap, "sensor": "attic", "interface": "wlan9",
         "labels": {}},
        {**base, "id": "s-7", "kind": "ACK", "ra": station, "copies": 2, "heard_by": [
            {"sensor": "attic", "signal_dbm": -40}, {"sensor": None, "signal_dbm": None}]},
        {**base, "id": "s-8", "kind": "RESERVED", "ta_oui": "ACME, Inc.", "ta_randomized": False,
         "signal_dbm_avg": -70.25, "copies_dropped": -(1 << 63), "nothing": None, "raw": b"\0\xff",
         "names": ["a", ""], "none": []},
        {"type": "frame"},
    ]  # fmt: skip
    return [Message(values) for values in every]


def events(name: str) -> Iterator[tuple[bytes, Message]]:
    """Events of a schema as bytes, and the messages."""
    full: dict[str, Any] = {
        "type": "presence", "timestamp": TIME, "id": "k-NEW-1", "event": "NEW",
        "key": "02:00:5e:00:00:fe", "first_seen": TIME - 5, "last_seen": TIME, "sightings": 3,
        "signal_avg_dbm": -60, "signal_max_dbm": -41, "ssids": ["home", ""], "bssids": [],
        "sensors": ["attic"], "randomized": True, "oui": "ACME", "house": "empty", "score": 0.5,
    }  # fmt: skip
    alert = {
        "type": "alert",
        "timestamp": TIME,
        "id": "a-1",
        "key": "home",
        "count": 5,
        "raw": b"\1",
    }
    every: list[dict[str, Any]] = [
        full,
        {"type": "presence", "event": "ABSENT", "randomized": False},
    ]
    if name == "event":
        every = [alert, {"type": "sensor", "up": True, "losses": None}, {"strange": ["a"]}]
    for values in every:
        yield encode_event(Message(values)), Message(values)


if __name__ == "__main__":
    sys.exit(main())
