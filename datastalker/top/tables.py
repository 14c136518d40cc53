"""The tables of a live view: networks, devices, sensors, stages, events; their rows from the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from datastalker.oui import Registry, is_randomized
from datastalker.top.air import Air, Device, Sensor
from datastalker.top.stages import Rates, Stages
from datastalker.top.views import Column, Row, View

_PRESENCE = {"NEW": "here", "ACTIVE": "here", "ABSENT": "gone"}


def vendor(device: Device | None, address: str) -> str:
    """Who made it: as a stage said, else from the registry; nobody where the address is made up."""
    if device is not None and device.vendor is not None:
        return device.vendor
    found = Registry.load().lookup(address) or ""
    if device is not None:
        device.vendor = found
    return found


def _networks(air: Air, stages: Stages) -> Iterator[Row]:
    clients = Counter(device.bssid for device in air.devices if not device.access_point)
    for network in air.networks:
        device = air.devices.get(network.bssid)
        name = network.ssid or (f"(hidden: {network.revealed})" if network.revealed else "(hidden)")
        cells = (
            name,
            network.bssid,
            network.channel,
            network.security,
            device.signal if device else None,
            clients[network.bssid],
            network.beacons,
            network.pace.rate(air.now),
            network.pace.last,
            vendor(device, network.bssid),
        )
        yield Row((network.bssid, network.ssid), cells, network.bssid)


def _devices(air: Air, stages: Stages) -> Iterator[Row]:
    names: dict[str, str] = {}
    for network in air.networks:
        names[network.bssid] = network.ssid or network.revealed or names.get(network.bssid, "")
    for device in air.devices:
        if device.access_point:
            continue
        best = max(device.sensors.items(), key=lambda item: item[1].signal, default=None)
        cells = (
            device.address,
            vendor(device, device.address),
            is_randomized(device.address),
            names.get(device.bssid) or device.bssid,
            ", ".join(device.probes),
            best[1].signal if best else None,
            best[0] if best else "",
            device.pace.count,
            device.pace.rate(air.now),
            device.pace.last,
            _PRESENCE.get(device.presence, device.presence),
        )
        yield Row(device.address, cells, device.address)


def _sensors(air: Air, stages: Stages) -> Iterator[Row]:
    for sensor in air.sensors.values():
        status = sensor.status
        drops = {
            key.removeprefix("dropped_"): status[key]
            for key in status
            if key.startswith("dropped_") or key == "kernel_dropped"
        }
        cells = (
            sensor.name,
            sensor.pace.rate(air.now),
            sensor.pace.count,
            sum(drops.values()) if status else None,
            ", ".join(f"{reason} {count:,}" for reason, count in drops.items() if count),
            status.get("spooled"),
            status.get("clock_offset_ms"),
            shares(sensor),
            sensor.pace.last or status.get("timestamp"),
            status.get("state", ""),
        )
        yield Row(sensor.name, cells)


def shares(sensor: Sensor) -> str:
    """Where it listens: the channels (MHz) with the most of its time, as its hopper says; else the
    channels of the most frames."""
    told = {k.removeprefix("share_"): v for k, v in sensor.status.items() if k[:6] == "share_"}
    spent = Counter({f"{freq} MHz": share for freq, share in told.items()})
    heard = Counter({str(channel): count for channel, count in sensor.channels.items()})
    counts: Counter[str] = spent or heard
    total = counts.total() or 1
    return ", ".join(f"{name} {n / total:.0%}" for name, n in counts.most_common(5))


def _stages(air: Air, stages: Stages) -> Iterator[Row]:
    for number, rates in enumerate(stages.rates()):
        yield _stage(number, rates)


def _stage(number: int, rates: Rates) -> Row:
    totals = rates.totals
    counted = {**totals.counters, "state evicted": totals.evicted}
    cells = (
        totals.name,
        rates.received,
        rates.sent,
        rates.dropped,
        rates.errors,
        rates.each,
        totals.state,
        totals.lag,
        totals.received or totals.sent,
        totals.dropped,
        totals.errors,
        ", ".join(f"{name} {count:,.0f}" for name, count in counted.items() if count),
    )
    return Row((number, totals.name), cells)


def _events(air: Air, stages: Stages) -> Iterator[Row]:
    for number, event in enumerate(air.events):
        yield Row((event, number), (event.time, event.what, event.who, event.text), event.who)


def _number(title: str, key: str, width: int, rank: int = 1) -> Column:
    return Column(title, key, "number", width, rank)


VIEWS = (
    View(
        "networks",
        (
            Column("network", "ssid", width=16, rank=0, grows=True, names=True),
            Column("bssid", "bssid", width=17, rank=0, names=True),
            _number("ch", "channel", 3, 1),
            Column("security", "security", width=9, rank=3),
            _number("dBm", "signal_dbm", 4, 0),
            _number("clients", "clients", 7, 2),
            _number("beacons", "beacons", 8, 5),
            Column("/s", "rate", "rate", 6, 6),
            Column("heard", "last_seen", "ago", 5, 1),
            Column("vendor", "ta_oui", width=16, rank=7),
        ),
        _networks,
        "signal_dbm",
        True,
    ),
    View(
        "devices",
        (
            Column("device", "ta", width=17, rank=0, names=True),
            Column("vendor", "ta_oui", width=12, rank=4, grows=True),
            Column("random", "ta_randomized", width=6, rank=6),
            Column("network", "network", width=12, rank=3),
            Column("probed for", "ssid", width=14, rank=5),
            _number("dBm", "signal_dbm", 4, 0),
            Column("by", "sensor", width=8, rank=7),
            _number("frames", "frames", 7, 1),
            Column("/s", "rate", "rate", 5, 2),
            Column("heard", "last_seen", "ago", 5, 1),
            Column("is", "event", width=6, rank=8),
        ),
        _devices,
        "frames",
        True,
    ),
    View(
        "sensors",
        (
            Column("sensor", "sensor", width=12, rank=0, names=True),
            Column("frames/s", "rate", "rate", 8, 0),
            _number("frames", "frames", 9, 3),
            _number("dropped", "dropped", 7, 2),
            Column("why", "reasons", width=14, rank=6),
            _number("spooled", "spooled", 7, 4),
            _number("clock ms", "clock_offset_ms", 8, 5),
            Column("channels", "channels", width=14, rank=4, grows=True),
            Column("heard", "last_seen", "ago", 5, 1),
            Column("state", "state", width=9, rank=7),
        ),
        _sensors,
        "sensor",
    ),
    View(
        "stages",
        (
            Column("stage", "stage", width=12, rank=0, names=True),
            Column("in/s", "in", "rate", 7, 0),
            Column("out/s", "out", "rate", 7, 1),
            Column("dropped/s", "dropped", "rate", 9, 1),
            Column("errors/s", "errors", "rate", 8, 3),
            Column("µs each", "each", "rate", 7, 2),
            _number("state", "state", 7, 4),
            _number("lag", "lag", 6, 2),
            _number("messages", "messages", 11, 5),
            _number("dropped", "all_dropped", 9, 6),
            _number("errors", "all_errors", 7, 6),
            Column("counted", "counters", width=16, rank=7, grows=True),
        ),
        _stages,
        "",
    ),
    View(
        "events",
        (
            Column("time", "timestamp", "time", 8, 0),
            Column("what", "event", width=9, rank=0),
            Column("who", "key", width=17, rank=1, names=True),
            Column("text", "text", width=12, rank=2, grows=True),
        ),
        _events,
        "timestamp",
        True,
    ),
)
"""All tables, in the order of their tabs."""
