"""The six dashboards, described: what each panel counts, by what, where.

A dashboard is a list of rows: a height, and panels with their widths, 48 in all. `make reference`
writes the files.
"""

from __future__ import annotations

import json
from pathlib import Path

from infra.kibana.lens import (
    count,
    donut,
    heatmap,
    metric,
    number,
    over_time,
    rate,
    table,
    top,
    unique,
    xy,
)
from infra.kibana.objects import Row, Saved, dashboard, data_view, search, vega

FRAME, PRESENCE, SENSOR, ALERT = "frame", "presence", "sensor", "alert"

VIEWS = {
    FRAME: data_view(FRAME, "DataStalker frames"),
    PRESENCE: data_view(PRESENCE, "DataStalker presence"),
    SENSOR: data_view(SENSOR, "DataStalker sensors"),
    ALERT: data_view(ALERT, "DataStalker alerts"),
}
_OF_AN_AP = "kind:(BEACON OR PROBE_RESP)"
_NAMED = f"{_OF_AN_AP} AND ssid:?*"
_HIDDEN = 'kind:BEACON AND ssid:""'
_COMES, _GOES = "event:NEW", "event:ABSENT"
_REASONS = {
    "bad_fcs": "bad FCS",
    "protocol_version": "protocol version",
    "own_uplink": "own uplink",
    "unread": "unread",
    "stage_error": "stage error",
    "queue_full": "queue full",
    "spool_full": "spool full",
    "msg_timed_out": "timed out",
}


def _overview() -> list[Saved]:
    frames = count("Frames")
    numbers = [
        metric("overview-frames", "Frames", FRAME, frames),
        metric("overview-sensors", "Sensors", FRAME, unique("sensor", "Sensors")),
        metric("overview-networks", "Networks", FRAME, unique("ssid", "Networks", _NAMED)),
        metric("overview-devices", "Devices", FRAME, unique("ta", "Devices")),
        metric("overview-vendors", "Vendors", FRAME, unique("ta_oui", "Vendors")),
        metric("overview-channels", "Channels", FRAME, unique("channel", "Channels")),
    ]
    rows: list[Row] = [
        (6, [(panel, 8) for panel in numbers]),
        (14, [(xy("overview-kinds", "Frames over time, by kind", FRAME, "bar_stacked", {
            "x": over_time(), "split": top("kind", "Kind", 10, "y", other=True),
            "y": frames}), 48)]),
        (12, [
            (xy("overview-by-sensor", "Frames over time, by sensor", FRAME, "line", {
                "x": over_time(), "split": top("sensor", "Sensor", 10, "y"), "y": frames}), 24),
            (xy("overview-by-channel", "Frames by channel", FRAME, "bar", {
                "x": top("channel", "Channel", 60), "y": frames}), 24),
        ]),
        (14, [
            (table("overview-top-networks", "Networks", FRAME, {
                "ssid": top("ssid", "Network", 20, "aps"),
                "aps": unique("bssid", "Access points"),
                "channels": unique("bss_channel", "Channels"),
                "signal": number("max", "signal_dbm", "Best signal, dBm")}, _NAMED), 18),
            (table("overview-top-devices", "Devices", FRAME, {
                "ta": top("ta", "Device", 20, "frames"), "frames": frames,
                "signal": number("average", "signal_dbm", "Signal, dBm")}), 15),
            (donut("overview-top-vendors", "Devices by vendor", FRAME, {
                "slice": top("ta_oui", "Vendor", 12, "value", other=True),
                "value": unique("ta", "Devices")}), 15),
        ]),
    ]  # fmt: skip
    about = "What was heard: kinds of frames, sensors, networks, devices, vendors, channels."
    return dashboard("overview", "Overview", about, rows, [(FRAME, "sensor", "Sensor")])


def _networks() -> list[Saved]:
    points = unique("bssid", "Access points")
    best = number("max", "signal_dbm", "Best signal, dBm")
    rows: list[Row] = [
        (6, [
            (metric("networks-names", "Networks", FRAME, unique("ssid", "Networks", _NAMED)), 12),
            (metric("networks-points", "Access points", FRAME, points, _OF_AN_AP), 12),
            (metric("networks-hidden", "Hidden", FRAME, unique("bssid", "Hidden", _HIDDEN)), 12),
            (metric("networks-open", "Open", FRAME,
                unique("bssid", "Open", f"{_OF_AN_AP} AND security:OPEN")), 12),
        ]),
        (13, [
            (donut("networks-security", "Access points by security", FRAME, {
                "slice": top("security", "Security", 10, "value"), "value": points},
                _OF_AN_AP), 16),
            (xy("networks-channels", "Access points by channel", FRAME, "bar", {
                "x": top("bss_channel", "Channel", 60), "y": points}, _OF_AN_AP), 16),
            (donut("networks-pmf", "Protected management frames", FRAME, {
                "slice": top("pmf", "PMF", 4, "value"), "value": points}, _OF_AN_AP), 16),
        ]),
        (16, [(table("networks-list", "Access points", FRAME, {
            "ssid": top("ssid", "Network", 50, "last"),
            "bssid": top("bssid", "Access point", 20, "last"),
            "security": top("security", "Security", 3, "last"),
            "channel": number("max", "bss_channel", "Channel"),
            "best": best, "average": number("average", "signal_dbm", "Signal, dBm"),
            "first": number("min", "@timestamp", "First seen"),
            "last": number("max", "@timestamp", "Last seen")}, _OF_AN_AP), 48)]),
        (14, [
            (table("networks-hidden-list", "Hidden networks", FRAME, {
                "bssid": top("bssid", "Access point", 50, "last"), "best": best,
                "last": number("max", "@timestamp", "Last seen")}, _HIDDEN), 18),
            (xy("networks-signal", "Signal over time, by access point", FRAME, "line", {
                "x": over_time(), "split": top("bssid", "Access point", 10, "y"),
                "y": number("average", "signal_dbm", "Signal, dBm")}, _OF_AN_AP), 30),
        ]),
    ]  # fmt: skip
    about = "Networks and access points: security, channels, hidden ones, signal."
    controls = [(FRAME, "ssid", "Network"), (FRAME, "bssid", "Access point"),
                (FRAME, "sensor", "Sensor")]  # fmt: skip
    return dashboard("networks", "Networks", about, rows, controls)


def _devices() -> list[Saved]:
    devices = unique("ta", "Devices")
    rows: list[Row] = [
        (12, [
            (metric("devices-count", "Devices", FRAME, devices), 12),
            (donut("devices-randomized", "Made-up addresses", FRAME, {
                "slice": top("ta_randomized", "Randomised", 2, "value"), "value": devices}), 18),
            (donut("devices-vendors", "Vendors", FRAME, {
                "slice": top("ta_oui", "Vendor", 12, "value", other=True),
                "value": devices}), 18),
        ]),
        (16, [(table("devices-list", "Devices", FRAME, {
            "ta": top("ta", "Device", 100, "last"),
            "vendor": top("ta_oui", "Vendor", 1, "last", missing=True),
            "frames": count("Frames"), "sensors": unique("sensor", "Sensors"),
            "signal": number("average", "signal_dbm", "Signal, dBm"),
            "first": number("min", "@timestamp", "First seen"),
            "last": number("max", "@timestamp", "Last seen")}), 48)]),
        (14, [
            (table("devices-probed", "What they probed for", FRAME, {
                "ta": top("ta", "Device", 50, "probes"),
                "ssid": top("ssid", "Network", 20, "probes"), "probes": count("Probes"),
                "last": number("max", "@timestamp", "Last")},
                "kind:PROBE_REQ AND ssid:?*"), 20),
            (xy("devices-signal", "Signal over time, by sensor", FRAME, "line", {
                "x": over_time(), "split": top("sensor", "Sensor", 10, "y"),
                "y": number("average", "signal_dbm", "Signal, dBm")}), 28),
        ]),
        (12, [(xy("devices-over-time", "Devices over time", FRAME, "bar_stacked", {
            "x": over_time(), "split": top("ta_randomized", "Randomised", 2, "y"),
            "y": devices}), 48)]),
    ]  # fmt: skip
    about = "Who transmitted: first and last seen, vendors, probes; choose one to see its signal."
    controls = [(FRAME, "ta", "Device"), (FRAME, "ta_oui", "Vendor"), (FRAME, "sensor", "Sensor")]
    return dashboard("devices", "Devices", about, rows, controls)


def _timeline() -> Saved:
    """A bar for each stay, from its first sighting to its last."""
    stays = {
        "terms": {"field": "first_seen", "order": {"_key": "asc"}, "size": 100},
        "aggs": {"until": {"max": {"field": "last_seen"}}},
    }
    body = {
        "size": 0,
        "aggs": {
            "who": {
                "terms": {"field": "key", "order": {"since": "asc"}, "size": 60},
                "aggs": {"since": {"min": {"field": "first_seen"}}, "stays": stays},
            }
        },
    }
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {
            "url": {
                "%context%": True,
                "%timefield%": "@timestamp",
                "index": "datastalker-presence*",
                "body": body,
            },
            "format": {"property": "aggregations.who.buckets"},
        },
        "transform": [
            {"flatten": ["stays.buckets"], "as": ["stay"]},
            {"calculate": "datum.stay.key / 1000", "as": "since"},
            {"calculate": "datum.stay.until.value / 1000", "as": "until"},
        ],
        "mark": {"type": "bar", "cornerRadius": 2, "stroke": "#54b399", "tooltip": True},
        "encoding": {
            "x": {"field": "since", "type": "temporal", "axis": {"title": None}},
            "x2": {"field": "until"},
            "y": {"field": "key", "type": "nominal", "sort": None, "axis": {"title": None}},
            "color": {"value": "#54b399"},
        },
    }
    return vega("presence-timeline", "Who was there when", spec)


def _presence() -> list[Saved]:
    columns = ["event", "key", "oui", "sightings", "signal_avg_dbm", "ssids", "sensors"]
    rows: list[Row] = [
        (6, [
            (metric("presence-devices", "Devices", PRESENCE, unique("key", "Devices")), 16),
            (metric("presence-came", "Came", PRESENCE, count("Came", _COMES)), 16),
            (metric("presence-went", "Went", PRESENCE, count("Went", _GOES)), 16),
        ]),
        (20, [(_timeline(), 48)]),
        (14, [
            (xy("presence-traffic", "Who comes and goes", PRESENCE, "bar_stacked", {
                "x": over_time(), "came": count("Came", _COMES), "went": count("Went", _GOES)}),
                20),
            (heatmap("presence-heatmap", "Signs of life", PRESENCE, {
                "x": over_time(), "y": top("key", "Device", 30, "value"),
                "value": count("Events")}, f"NOT {_GOES}"), 28),
        ]),
        (14, [(table("presence-list", "Stays", PRESENCE, {
            "who": top("key", "Device", 100, "last"),
            "vendor": top("oui", "Vendor", 1, "last", missing=True),
            "came": count("Came", _COMES), "went": count("Went", _GOES),
            "sightings": number("max", "sightings", "Sightings"),
            "best": number("max", "signal_max_dbm", "Best signal, dBm"),
            "last": number("max", "@timestamp", "Last event")}), 48)]),
        (14, [(search("presence-events", "Events", PRESENCE, columns), 48)]),
    ]  # fmt: skip
    about = "Who was there when, as the stage `presence` saw it."
    controls = [(PRESENCE, "key", "Device"), (PRESENCE, "oui", "Vendor")]
    return dashboard("presence", "Presence", about, rows, controls)


def _sensors() -> list[Saved]:
    by_sensor = top("key", "Sensor", 20)
    clock = ["clock", "clock_offset_ms", "clock_error_ms"]
    rows: list[Row] = [
        (8, [(table("sensors-list", "Sensors", SENSOR, {
            "who": top("key", "Sensor", 50, "last"),
            "captured": number("max", "captured", "Captured"),
            "published": number("max", "published", "Published"),
            "filtered": number("max", "filtered", "Filtered"),
            "dropped": number("max", "dropped", "Dropped"),
            "kernel": number("max", "kernel_dropped", "Kernel dropped"),
            "lost": number("max", "interface_lost", "Interface lost"),
            "last": number("max", "@timestamp", "Last status")}), 48)]),
        (12, [
            (xy("sensors-rates", "Frames a second, captured", SENSOR, "line", {
                "x": over_time(), "split": by_sensor,
                "_captured": number("max", "captured", "Captured"),
                "y": rate("_captured", "Frames/s")}), 24),
            (xy("sensors-stored", "Frames stored, by their own time", FRAME, "line", {
                "x": over_time(), "split": top("sensor", "Sensor", 20), "y": count("Frames")}),
                24),
        ]),
        (12, [
            (xy("sensors-drops", "Dropped a second", SENSOR, "line", {
                "x": over_time(), "split": by_sensor,
                "_dropped": number("max", "dropped", "Dropped"),
                "_kernel": number("max", "kernel_dropped", "Kernel dropped"),
                "y": rate("_dropped", "Dropped/s"),
                "kernel": rate("_kernel", "Kernel dropped/s")}), 24),
            (table("sensors-reasons", "Dropped, by reason", SENSOR, {
                "who": by_sensor,
                **{reason: number("max", f"dropped_{reason}", text)
                   for reason, text in _REASONS.items()}}), 24),
        ]),
        (12, [
            (xy("sensors-lag", "Lag: frames not delivered yet", SENSOR, "line", {
                "x": over_time(), "split": by_sensor,
                "y": number("max", "waiting", "In memory"),
                "spooled": number("max", "spooled", "On disk")}), 24),
            (xy("sensors-spool", "Spool, bytes", SENSOR, "area", {
                "x": over_time(), "split": by_sensor,
                "y": number("max", "spool_bytes", "Bytes")}), 24),
        ]),
        (12, [
            (xy("sensors-clock", "Clock, ms ahead of the broker's", SENSOR, "line", {
                "x": over_time(), "split": by_sensor,
                "y": number("average", "clock_offset_ms", "Offset, ms")}), 24),
            (search("sensors-status", "Status", SENSOR,
                ["key", "state", *clock, "queued_batches", "interfaces", "version"]), 24),
        ]),
    ]  # fmt: skip
    about = "What agents say of themselves: rates, drops, spool, clock, what waits to be delivered."
    return dashboard("sensors", "Sensors", about, rows, [(SENSOR, "key", "Sensor")])


def _alerts() -> list[Saved]:
    cut = "kind:(DEAUTH OR DISASSOC)"
    rows: list[Row] = [
        (6, [
            (metric("alerts-count", "Alerts", ALERT, count("Alerts")), 16),
            (metric("alerts-about", "Sensors and devices", ALERT, unique("key", "About")), 16),
            (metric("alerts-cut", "Deauthentications", FRAME, count("Frames", cut)), 16),
        ]),
        (12, [
            (xy("alerts-over-time", "Alerts over time", ALERT, "bar_stacked", {
                "x": over_time(), "split": top("alert", "Alert", 10, "y"),
                "y": count("Alerts")}), 24),
            (table("alerts-list", "Alerts by kind", ALERT, {
                "alert": top("alert", "Alert", 20, "alerts"),
                "who": top("key", "About", 20, "alerts"), "alerts": count("Alerts"),
                "first": number("min", "@timestamp", "First"),
                "last": number("max", "@timestamp", "Last")}), 24),
        ]),
        (12, [(search("alerts-events", "Latest alerts", ALERT, ["alert", "key", "text"]), 48)]),
        (12, [
            (xy("alerts-cut-over-time", "Deauthentications over time, by access point", FRAME,
                "bar_stacked", {"x": over_time(), "split": top("bssid", "Access point", 10, "y"),
                "y": count("Frames")}, cut), 24),
            (table("alerts-cut-list", "Deauthentications", FRAME, {
                "ta": top("ta", "Transmitter", 20, "frames"),
                "ra": top("ra", "Receiver", 10, "frames"),
                "reason": top("reason", "Reason", 5, "frames"), "frames": count("Frames"),
                "last": number("max", "@timestamp", "Last")}, cut), 24),
        ]),
    ]  # fmt: skip
    about = "Alerts, and frames that are often a sign of an attack."
    return dashboard("alerts", "Alerts", about, rows, [(ALERT, "alert", "Alert")])


def dashboards() -> dict[str, list[Saved]]:
    """By name: a dashboard behind all that it refers to, as its file has them."""
    made = {
        "overview": _overview(),
        "networks": _networks(),
        "devices": _devices(),
        "presence": _presence(),
        "sensors": _sensors(),
        "alerts": _alerts(),
    }
    views = {view["id"]: view for view in VIEWS.values()}
    for objects in made.values():
        named = {r["id"] for each in objects for r in each["references"]} & views.keys()
        objects[:0] = [view for name, view in views.items() if name in named]
    return made


def files() -> dict[Path, str]:
    """What each file is to hold: a line for each object, those that are referred to first."""
    folder = Path(__file__).resolve().parent
    return {
        folder / f"{name}.ndjson": "".join(
            json.dumps(each, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
            for each in objects
        )
        for name, objects in dashboards().items()
    }
