"""Every scored field of every frame of the shared captures equals what tshark 4.0.17 says.

The captures are not part of the project; they lie in `shared/captures` beside its folder, or
where DATASTALKER_CAPTURES points. README.md there describes the truth files.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capture_agent import link
from capture_agent.capture_file import open_capture
from capture_agent.frame import FrameParser
from datastalker.message import KINDS, Message

_BESIDE = Path(__file__).parents[3] / "shared" / "captures"
CAPTURES = Path(os.environ.get("DATASTALKER_CAPTURES", _BESIDE))
TRUTHS = sorted(CAPTURES.glob("*.truth.tsv.gz"))

pytestmark = pytest.mark.skipif(not TRUTHS, reason=f"no captures with truth files in {CAPTURES}")

Row = dict[str, str]


def rows(truth: Path) -> Iterator[Row]:
    with gzip.open(truth, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
        names = next(lines).rstrip("\n").split("\t")
        for line in lines:
            yield dict(zip(names, line.rstrip("\n").split("\t"), strict=True))


def messages(path: Path) -> tuple[dict[int, Message], Counter[str]]:
    """Messages by frame number, also of frames with a bad FCS, and what was dropped."""
    found: dict[int, Message] = {}
    dropped: Counter[str] = Counter()
    number = 1
    with path.open("rb", buffering=0) as stream:
        parsers: dict[Any, FrameParser] = {}
        for interface, records in open_capture(stream, path.name):
            parser = parsers.get(interface)
            if parser is None:
                parser = parsers[interface] = FrameParser(
                    interface.link_type, {}, True, numbered=True
                )
            found.update((m["frame_number"], m) for m in parser.parse(records, number))
            number += len(records)
        for parser in parsers.values():
            dropped.update(parser.dropped)
    return found, dropped


def number(text: str) -> int | None:
    return int(text, 0) if text else None


def flag(text: str) -> bool | None:
    return text == "1" if text else None


def ours_ssid(message: Message) -> str | None:
    if message["ssid"] is None:
        return None
    return message["ssid_hex"] or message["ssid"].encode().hex()


def true_ssid(row: Row) -> str | None:
    text = row["wlan.ssid"]
    return "" if text == "<MISSING>" else text or None


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split("|")] if text else []


def is_management(row: Row) -> bool:
    return row["wlan.fc.type"] == "0"


def kbps(text: str) -> int | None:
    return round(float(text) * 1000) if text else None


def true_rate(row: Row) -> int | None:
    return kbps(row["radiotap.datarate"] or row["wlan_radio.data_rate"])


def true_signal(row: Row) -> int | None:
    if row["frame.encap_type"] == "21" and not row["wlancap.version"]:
        return number(row["prism.did.signal"])
    if row["radiotap.length"]:
        return number(row["radiotap.dbm_antsignal"])
    return number(row["wlan_radio.signal_dbm"])


def true_fcs(row: Row) -> bool | None:
    bad = row["radiotap.flags.badfcs"] or row["ppi.80211-common.flags.fcs-invalid"]
    return bad == "0" if bad else None


def true_time(row: Row) -> int | None:
    whole, _, fraction = row["frame.time_epoch"].partition(".")
    if whole.startswith("-"):  # quirk 19: a nonsense of tshark's
        return None
    return int(whole) * 1_000_000 + int(fraction[:6])


# Field: (what tshark says, what we say).
FIELDS: dict[str, tuple[Callable[[Row], Any], Callable[[Message], Any]]] = {
    "kind": (
        lambda row: KINDS[int(row["wlan.fc.type"])][int(row["wlan.fc.subtype"])],
        lambda m: m["kind"],
    ),
    **{
        name: (lambda row, name=name: row[f"wlan.{name}"] or None, lambda m, name=name: m[name])
        for name in ("ta", "ra", "sa", "da", "bssid")
    },
    **{
        name: (lambda row, field=field: flag(row[field]), lambda m, name=name: m[name])
        for name, field in (
            ("retry", "wlan.fc.retry"),
            ("protected", "wlan.fc.protected"),
            ("to_ds", "wlan.fc.tods"),
            ("from_ds", "wlan.fc.fromds"),
            ("power_mgmt", "wlan.fc.pwrmgt"),
            ("more_data", "wlan.fc.moredata"),
        )
    },
    **{
        name: (lambda row, field=field: number(row[field]), lambda m, name=name: m[name])
        for name, field in (
            ("seq", "wlan.seq"),
            ("frag", "wlan.frag"),
            ("tid", "wlan.qos.tid"),
            ("freq_mhz", "wlan_radio.frequency"),
            ("channel", "wlan_radio.channel"),
            ("antenna", "radiotap.antenna"),
            ("noise_dbm", "radiotap.dbm_antnoise"),
            ("beacon_interval", "wlan.fixed.beacon"),
            ("reason", "wlan.fixed.reason_code"),
            ("status", "wlan.fixed.status_code"),
            ("eapol", "wlan_rsna_eapol.keydes.msgnr"),
        )
    },
    "duration": (lambda row: number(row["wlan.duration"]), lambda m: m["duration"]),
    "signal_dbm": (true_signal, lambda m: m["signal_dbm"]),
    "rate_kbps": (true_rate, lambda m: m["rate_kbps"]),
    "fcs_ok": (true_fcs, lambda m: m["fcs_ok"]),
    "ssid": (true_ssid, ours_ssid),
    "elements": (
        lambda row: numbers(row["wlan.tag.number@all"]) if is_management(row) else [],
        lambda m: m["elements"] or [],
    ),
    "extensions": (
        lambda row: numbers(row["wlan.ext_tag.number@all"]) if is_management(row) else [],
        lambda m: m["extensions"] or [],
    ),
    "timestamp": (true_time, lambda m: m["timestamp"]),
}


def scored(row: Row) -> bool:
    """A frame of 802.11 with protocol version 0 (quirks 7 and 20)."""
    return row["wlan.fc.version"] == "0" and not row["wlan.fc.type"].startswith("0x")


def test_x() -> None:
    wrong: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for truth in TRUTHS:
        path = truth.with_name(truth.name.removesuffix(".truth.tsv.gz"))
        found, dropped = messages(path)
        for row in rows(truth):
            if not scored(row):
                continue
            message = found.get(int(row["frame.number"]))
            if message is None:
                wrong["missing"] += 1
                examples.setdefault("missing", []).append(f"{path.name} {row['frame.number']} {dropped}")
                continue
            for name, (true, ours) in FIELDS.items():
                want, have = true(row), ours(message)
                if want is not None: compared[name] += 1
                if want != have:
                    wrong[name] += 1
                    examples.setdefault(name, []).append(f"{path.name[:50]} #{row['frame.number']} {row['wlan.fc.type_subtype']} want {want} have {have} mal={row['_ws.malformed@all'][:50]!r} {row['_ws.short@all']!r}")
    print(compared)
    print(wrong)
    import random
    for name, found in examples.items():
        print(name)
        for line in random.Random(1).sample(found, min(12, len(found))): print('   ', line)
