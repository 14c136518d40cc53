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


def true_duration(row: Row) -> int | None:
    """What a PS-Poll has in its place is an AID."""
    return None if row["wlan.fc.type_subtype"] == "0x001a" else number(row["wlan.duration"])


def true_reason(row: Row) -> int | None:
    """tshark uses the field for the reason of a DELBA too: ours is of DEAUTH and DISASSOC."""
    mine = row["wlan.fc.type_subtype"] in ("0x000a", "0x000c")
    return number(row["wlan.fixed.reason_code"]) if mine else None


def true_status(row: Row) -> int | None:
    """tshark uses the field for the answer to an ADDBA too: ours is of AUTH and (RE)ASSOC_RESP."""
    mine = row["wlan.fc.type_subtype"] in ("0x0001", "0x0003", "0x000b")
    return number(row["wlan.fixed.status_code"]) if mine else None


def true_time(row: Row) -> int | None:
    whole, _, fraction = row["frame.time_epoch"].partition(".")
    if whole.startswith("-"):  # quirk 19: a nonsense of tshark's
        return None
    return int(whole) * 1_000_000 + int(fraction) // 1000  # more than 9 digits: over a second


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
            ("beacon_interval", "wlan.fixed.beacon"),
            ("eapol", "wlan_rsna_eapol.keydes.msgnr"),
        )
    },
    "duration": (true_duration, lambda m: m["duration"]),
    "reason": (true_reason, lambda m: m["reason"]),
    "status": (true_status, lambda m: m["status"]),
    "noise_dbm": (lambda row: number(row["radiotap.dbm_antnoise"]), lambda m: m["noise_dbm"]),
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


RULES: dict[str, tuple[str, Callable[[Row, Any, Any], bool]]] = {
    "elements": (
        "tshark gives up where the contents of an element are malformed; we read on",
        lambda row, true, ours: (
            "Malformed Packet: IEEE 802.11" in row["_ws.malformed@all"]
            and ours[: len(true)] == true
        ),
    ),
    "timestamp": (
        "quirk 19: tshark prints a negative time where the fraction of a second was negative",
        lambda row, true, ours: true is None,
    ),
    "noise_dbm": (
        "the truth files have no column for the noise of PPI and Prism headers",
        lambda row, true, ours: not row["radiotap.length"] and true is None,
    ),
    "rate_kbps": (
        "an AVS header of 72.2 Mbit/s: tshark counts in 500 kbit/s and gives none",
        lambda row, true, ours: bool(row["wlancap.version"]) and true is None and ours % 500,
    ),
}
"""Where we differ on purpose: field, why, and the frames it is true of."""

EXPECTED = {
    "Omelug_wpa3_tester__rogue_client_capture.pcapng": {"elements": 7},
    "aircrack-ng_trac-attachments__20131220-123720_383-suhod-01.cap": {"timestamp": 5},
    "conv_avs_dlt163__ehn1225_airodump__80211-sample1.part1.pcap": {"rate_kbps": 1},
    "dotpcap_packetnet__80211_ppi_fcs_present_and_valid.pcap": {"noise_dbm": 1},
    "dotpcap_packetnet__80211_ppi_multiplefields.pcap": {"noise_dbm": 1},
    "joswr1ght_asleap__leap.dump": {"elements": 1},
    "neildalal_WPA3-Attacks-IDS__auth_200.part1.pcap": {"noise_dbm": 300},
    "the-tcpdump-group_libpcap__http_PPI.pcap": {"noise_dbm": 5},
}
"""How often that is so, by capture; more would be a new difference."""


def compare(truth: Path) -> tuple[Counter[str], Counter[str], list[str]]:
    """(values compared, excused by field, differences) of one capture."""
    path = truth.with_name(truth.name.removesuffix(".truth.tsv.gz"))
    found, dropped = messages(path)
    compared: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    wrong: list[str] = []
    for row in rows(truth):
        message = found.pop(int(row["frame.number"]), None)
        if not scored(row):
            if message is not None:
                wrong.append(f"{path.name} #{row['frame.number']}: there is no such frame")
            continue
        compared["scored"] += 1
        if message is None:
            wrong.append(f"{path.name} #{row['frame.number']}: dropped, {dict(dropped)}")
            continue
        for name, (true, ours) in FIELDS.items():
            want, have = true(row), ours(message)
            if want == have:
                compared[name] += want is not None and want != []
            elif name in RULES and RULES[name][1](row, want, have):
                excused[name] += 1
            else:
                wrong.append(f"{path.name} #{row['frame.number']}: {name} {want!r} is {have!r}")
    return compared, excused, wrong


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name.split(".truth")[0])
def test_a_capture_is_read_as_tshark_reads_it(truth: Path) -> None:
    compared, excused, wrong = compare(truth)
    assert not wrong, "\n".join(wrong[:20])
    assert compared["kind"] == compared["scored"]
    assert excused == EXPECTED.get(truth.name.removesuffix(".truth.tsv.gz"), {})


def test_every_field_is_compared_somewhere() -> None:
    missing = set(FIELDS)
    for truth in sorted(TRUTHS, key=lambda truth: truth.stat().st_size):
        missing -= {name for name, count in compare(truth)[0].items() if count}
        if not missing:
            return
    assert not missing


def test_a_truth_file_stands_beside_every_capture() -> None:
    assert all(t.with_name(t.name.removesuffix(".truth.tsv.gz")).exists() for t in TRUTHS)
