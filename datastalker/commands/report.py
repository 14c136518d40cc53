"""`stalk report`: what the CSV files tell, for a person: networks, devices, who came, alerts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import click

from datastalker.address import normalise
from datastalker.commands.csv_rows import Once, Row, listing, read
from datastalker.commands.tables import table
from datastalker.errors import InputError
from datastalker.moment import SECOND, utc
from datastalker.text import counted

_T = TypeVar("_T")
_DAY = timedelta(days=1)
_DAY_MICROS = 86_400 * SECOND
_KINDS = ("frame", "presence", "alert")
_RANDOMIZED = "(randomized)"


@click.command("report")
@click.argument("directory", default="out")
@click.option(
    "--limit", type=click.IntRange(0), default=20, show_default=True,
    help="Rows of each table; 0: all.",
)  # fmt: skip
def report_command(directory: str, limit: int) -> None:
    """Show what the CSV files in DIRECTORY tell: networks, devices, who came and went, alerts.

    DIRECTORY is `out` unless given.

    max dBm: the strongest of its frames. mean dBm: the mean of the stay, as far as it was when who
    came or went was noticed. (randomized): an address that its device made up, which tells no vendor.
    """
    folder = Path(directory)
    there = listing(folder)
    frames, events, alerts = (there.files(kind) for kind in _KINDS)
    unfinished = [path.name for kind in _KINDS for path in there.unfinished(kind)]
    if not frames and not events and not alerts:
        raise InputError(
            f"there is no frame-*.csv, presence-*.csv or alert-*.csv in {folder}/; name the directory "
            "that the csv sink writes to, or run a pipeline first: stalk --run -c config.yaml"
            + "".join(f"; {each} is still being written" for each in unfinished[:1])
        )
    air = Air()
    once = Once()
    for row in once(read(frames)):
        air.add(row)
    shown = []
    if frames or events:
        shown += [air.networks_table(limit), air.devices_table(limit)]
    if events:
        shown.append(presence_table(once(read(events)), limit, air))
    if alerts:
        shown.append(alerts_table(once(read(alerts)), limit))
    click.echo("\n\n".join(shown))
    if once.left_out:
        click.echo()
        click.echo(f"{once.left_out:,} rows left out: they stand in several files")
    if unfinished:
        click.echo()
        click.echo(_not_counted(len(unfinished)))


def _not_counted(files: int) -> str:
    if files == 1:
        return "1 file is still being written (.part) and not counted"
    return f"{files:,} files are still being written (.part) and not counted"


@dataclass
class Network:
    """What was heard of one access point under one name."""

    ssid: str
    bssid: str
    channel: str = ""
    security: str = ""
    signal: int | None = None
    beacons: int = 0


@dataclass
class Device:
    """What was heard of one transmitter that is no access point."""

    address: str
    frames: int = 0
    signal: int | None = None
    first: str = ""
    last: str = ""
    randomized: bool = False
    vendor: str = ""
    probes: set[str] = field(default_factory=set)


class Air:
    """Networks and devices, gathered row by row."""

    def __init__(self) -> None:
        self.networks: dict[tuple[str, str], Network] = {}
        self.devices: dict[str, Device] = {}
        self.vendors: dict[str, str] = {}
        self.clients: dict[str, set[str]] = {}
        self.aps: set[str] = set()

    def add(self, row: Row) -> None:
        ta, kind = row.get("ta") or "", row.get("kind") or ""
        if not ta or int(ta[:2], 16) & 1:
            return
        signal = int(row["signal_dbm"]) if row.get("signal_dbm") else None
        vendor = row.get("ta_oui") or ""
        if vendor:
            self.vendors[ta] = vendor
        if kind in ("BEACON", "PROBE_RESP"):
            self.aps.add(ta)
            if kind == "BEACON":
                self._beacon(row, ta, signal)
            return
        device = self.devices.get(ta)
        if device is None:
            device = self.devices[ta] = Device(ta, randomized=_is_randomized(ta))
        device.frames += 1
        if time := row.get("time"):  # files overlap where a configuration changed
            device.first = min(device.first or time, time)
            device.last = max(device.last, time)
        device.vendor = device.vendor or vendor
        device.signal = _stronger(device.signal, signal)
        if kind == "PROBE_REQ" and (ssid := _ssid(row)):
            device.probes.add(ssid)
        if row.get("to_ds") == "true" and row.get("bssid"):
            self.clients.setdefault(row["bssid"], set()).add(ta)

    def _beacon(self, row: Row, ta: str, signal: int | None) -> None:
        ssid = _ssid(row)
        network = self.networks.get((ta, ssid))
        if network is None:
            network = self.networks[ta, ssid] = Network(ssid, ta)
        network.beacons += 1 + int(row.get("beacons_held_back") or 0)
        network.channel = row.get("bss_channel") or row.get("channel") or network.channel
        network.security = row.get("security") or network.security
        network.signal = _stronger(network.signal, signal)

    def networks_table(self, limit: int) -> str:
        rows = sorted(self.networks.values(), key=lambda n: (-(n.signal or -999), n.bssid))
        body = [
            [
                network.ssid or "(hidden)",
                network.bssid,
                self.vendors.get(network.bssid, ""),
                network.channel,
                network.security,
                network.signal,
                network.beacons,
                len(self.clients.get(network.bssid, ())),
            ]
            for network in _first(rows, limit)
        ]
        header = [
            "network",
            "bssid",
            "vendor",
            "channel",
            "security",
            "max dBm",
            "beacons",
            "clients",
        ]
        return f"{counted(len(rows), 'networks')}{_cut(rows, limit)}\n" + table(
            header, body, whole=["network", "bssid"],
            least=["vendor", "clients", "beacons", "security", "channel", "max dBm"],
        )  # fmt: skip

    def devices_table(self, limit: int) -> str:
        devices = [device for device in self.devices.values() if device.address not in self.aps]
        devices.sort(key=lambda device: (-device.frames, device.address))
        randomized = sum(device.randomized for device in devices)
        clock = _clock([time for each in devices for time in (each.first, each.last) if time])
        body = [
            [
                device.address,
                _RANDOMIZED if device.randomized else device.vendor,
                device.frames,
                device.signal,
                clock(device.first),
                clock(device.last),
                ", ".join(sorted(device.probes)),
            ]
            for device in _first(devices, limit)
        ]
        header = ["device", "vendor", "frames", "max dBm", "first", "last", "probed for"]
        title = f"{counted(len(devices), 'devices')}, {randomized:,} with a randomized address"
        return f"{title}{_cut(devices, limit)}\n" + table(
            header, body, whole=["device", "first", "last"],
            least=["vendor", "probed for", "first", "last", "max dBm", "frames"],
        )  # fmt: skip


def presence_table(rows: Iterator[Row], limit: int, air: Air) -> str:
    """Who came and went, access points left out, in the order of the events' times."""
    events = [
        row
        for row in rows
        if row.get("event") in ("NEW", "ABSENT") and row.get("key") not in air.aps
    ]
    events.sort(key=lambda row: (int(row.get("timestamp") or 0), row.get("key") or ""))
    body = [
        [
            (row.get("time") or "")[:19].replace("T", " "),
            "came" if row["event"] == "NEW" else "went",
            row.get("key") or "",
            _vendor(row, air),
            int(row["signal_avg_dbm"]) if row.get("signal_avg_dbm") else None,
            _stay(row),
        ]
        for row in _first(events, limit)
    ]
    header = ["time (UTC)", "event", "device", "vendor", "mean dBm", "stay"]
    return f"who came and went: {counted(len(events), 'events')}{_cut(events, limit)}\n" + table(
        header, body, whole=["time (UTC)", "event", "device", "stay"],
        least=["vendor", "mean dBm", "stay"],
    )  # fmt: skip


def alerts_table(rows: Iterator[Row], limit: int) -> str:
    """What was worth an alert, the latest last; with a limit the latest only."""
    alerts = sorted(rows, key=lambda row: int(row.get("timestamp") or 0))
    body = [
        [
            (row.get("time") or "")[:19].replace("T", " "),
            row.get("alert") or "",
            row.get("key") or "",
            row.get("text") or "",
            _more(row),
        ]
        for row in (alerts[-limit:] if limit else alerts)
    ]
    header = ["time (UTC)", "alert", "of", "text", "more"]
    cut = f" (the last {limit}; --limit 0 shows all)" if 0 < limit < len(alerts) else ""
    whole = ["time (UTC)", "alert", "more"]
    return f"{counted(len(alerts), 'alerts')}{cut}\n" + table(header, body, whole=whole)


def _more(row: Row) -> str:
    """What a stage of one's own says beside the contract's keys: the column `extra`, for people."""
    try:
        extra = json.loads(row.get("extra") or "{}")
    except ValueError:
        return row["extra"]
    pairs = extra.items() if isinstance(extra, dict) else [("", extra)]
    return ", ".join(f"{name}: {value}".lstrip(": ") for name, value in pairs)


def _ssid(row: Row) -> str:
    """A network's name; "" where it is hidden, also behind NULs, which a CSV holds as escapes."""
    ssid, raw = row.get("ssid") or "", row.get("ssid_hex") or ""
    nothing = not raw.strip("0") if raw else not ssid.strip("\0")
    return "" if nothing else ssid


def _is_randomized(address: str) -> bool:
    return bool(int(address[:2], 16) & 2)


def _vendor(row: Row, air: Air) -> str:
    """As among the devices. The key of an event may be anything, such as an SSID."""
    key = row.get("key") or ""
    if normalise(key) == key and _is_randomized(key):
        return _RANDOMIZED
    return row.get("oui") or air.vendors.get(key, "")


def _stay(row: Row) -> str:
    if row.get("event") != "ABSENT" or not row.get("first_seen") or not row.get("last_seen"):
        return ""
    first, last = row["first_seen"], row["last_seen"]
    days = int(last) - int(first) >= _DAY_MICROS
    return f"{utc(first, '%m-%d %H:%M:%S' if days else '%H:%M:%S')} to {utc(last, '%H:%M:%S')}"


def _clock(times: list[str]) -> Callable[[str], str]:
    """How to show times of the column `time`: with the date where they span more than a day, with
    the year where it isn't one."""
    try:
        first, last = (datetime.fromisoformat(each) for each in (min(times), max(times)))
        days, years = last - first >= _DAY, last.year - first.year
    except (ValueError, TypeError):  # there are none, or another program wrote them
        days, years = False, 0
    begin, end = (11, 19) if not days else (0 if years else 5, 16)
    return lambda time: time[begin:end].replace("T", " ")


def _stronger(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _first(rows: list[_T], limit: int) -> list[_T]:
    return rows[:limit] if limit else rows


def _cut(rows: Sized, limit: int) -> str:
    return f" (the first {limit}; --limit 0 shows all)" if 0 < limit < len(rows) else ""
