"""A picture of a dashboard's data: its panels where they stand in it, with what their own searches
found. It shows data, not Kibana's looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from infra.kibana import charts
from infra.kibana.charts import Box, rectangle, text
from infra.kibana.queries import Json, Query, Row, Span, layer, query, rows

_COLUMN, _LINE, _GAP, _HEAD = 25, 19, 6, 24
_PAGE, _PANEL, _EDGE = "#f5f7fa", "#ffffff", "#d3dae6"


def picture(
    dashboard: Json,
    objects: dict[tuple[str, str], Json],
    span: Callable[[Query], Span],
    search: Callable[[Query], Json],
) -> str:
    """An SVG. `objects`: by type and id; `span`: the time that a search is to be over."""
    attributes = dashboard["attributes"]
    references = {r["name"]: (r["type"], r["id"]) for r in dashboard["references"]}
    views = {name: each for (kind, name), each in objects.items() if kind == "index-pattern"}
    out: list[str] = []
    bottom = 0.0
    for shown in json.loads(attributes["panelsJSON"]):
        panel = objects[references[f"{shown['panelIndex']}:{shown['panelRefName']}"]]
        grid = shown["gridData"]
        box = Box(
            grid["x"] * _COLUMN + _GAP / 2,
            grid["y"] * _LINE + _HEAD + _GAP / 2,
            grid["w"] * _COLUMN - _GAP,
            grid["h"] * _LINE - _GAP,
        )
        bottom = max(bottom, box.y + box.h)
        within = span(query(panel, views, Span(0, 1)))
        found = rows(panel, search(query(panel, views, within)), within)
        out.append(rectangle(box, _PANEL, edge=_EDGE))
        out.append(text(box.x + 8, box.y + 16, shown["title"], 12, bold=True, room=box.w - 70))
        inner = Box(box.x + 10, box.y + 26, box.w - 20, box.h - 34)
        out.append(_panel(panel, inner, found, within))
    width, height = 48 * _COLUMN, bottom + _GAP
    page = rectangle(Box(0, 0, width, height), _PAGE)
    title = text(8, 17, attributes["title"], 14, bold=True)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" font-family="sans-serif">'
    )
    return "\n".join([head, page, title, *out, "</svg>"]) + "\n"


def _panel(panel: Json, box: Box, found: list[Row], span: Span) -> str:
    if panel["type"] == "visualization":
        bars = [(row["key"], row["since"], row["until"]) for row in found]
        return charts.timeline(box, bars, span.since, span.until)
    if panel["type"] == "search":
        heads = [("time", "date"), *((name, "string") for name in panel["attributes"]["columns"])]
        lines = [[row["@timestamp"] / 1e6, *(row.get(n) for n, _ in heads[1:])] for row in found]
        return charts.table(box, heads, lines)
    attributes, columns = panel["attributes"], layer(panel)["columns"]
    look = attributes["state"]["visualization"]
    match attributes["visualizationType"]:
        case "lnsMetric":
            return charts.metric(box, found[0]["value"] if found else None)
        case "lnsPie":
            return charts.donut(box, [(str(row["slice"]), row["value"]) for row in found])
        case "lnsDatatable":
            names = [each["columnId"] for each in look["columns"]]
            heads = [(columns[name]["label"], columns[name]["dataType"]) for name in names]
            return charts.table(box, heads, [[row[name] for name in names] for row in found])
        case "lnsHeatmap":
            cells = [(row["x"], str(row["y"]), row["value"]) for row in found]
            return charts.heatmap(box, cells, span.since, span.until, span.step * 1000)
    (drawn,) = look["layers"]
    series: charts.Series = {}
    for row in found:
        for name in drawn["accessors"]:
            parts = [str(row["split"])] if "split" in row else []
            parts += [columns[name]["label"]] if len(drawn["accessors"]) > 1 else []
            series.setdefault(", ".join(parts), []).append((row["x"], row[name]))
    over_time = columns["x"]["operationType"] == "date_histogram"
    step = span.step * 1000 if over_time else 0
    return charts.xy(box, drawn["seriesType"], series, span.since, span.until, step)


def all_of(objects: list[Json]) -> dict[tuple[str, str], Json]:
    """Objects by type and id, as `picture` wants them."""
    return {(each["type"], each["id"]): each for each in objects}


def names(objects: list[Json]) -> dict[str, Any]:
    """Dashboards by their names in the files."""
    return {
        each["id"].removeprefix("datastalker-"): each
        for each in objects
        if each["type"] == "dashboard"
    }
