"""Lens panels: one layer of columns, buckets (`over_time`, `top`) around numbers (`count`, `unique`,
`number`, `rate`). Columns are named by what they are for.
"""

from __future__ import annotations

from typing import Any

from infra.kibana.objects import OURS, TYPES, Saved, reference, saved
from sinks.mapping import TIME, properties

Column = dict[str, Any]

_LAYER = "layer"
_RECORDS = "___records___"


# --- columns ---


def _where(where: str) -> Saved:
    """Lucene's language, since Kibana hands it to Elasticsearch as it is."""
    return {"filter": {"language": "lucene", "query": where}} if where else {}


def count(label: str, where: str = "") -> Column:
    """How many documents."""
    return {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "operationType": "count",
        "params": {"emptyAsNull": True},
        "scale": "ratio",
        "sourceField": _RECORDS,
        **_where(where),
    }


def unique(field: str, label: str, where: str = "") -> Column:
    """How many different values."""
    return {**count(label, where), "operationType": "unique_count", "sourceField": field}


def number(operation: str, field: str, label: str, where: str = "") -> Column:
    """`operation`: average, min, max, sum or median. Of a time, min and max."""
    column = {**count(label, where), "operationType": operation, "sourceField": field}
    column["params"] = {"emptyAsNull": True} if operation == "sum" else {}
    return column


def rate(of: str, label: str) -> Column:
    """By so much a second the counter in column `of`, a max, grows. Kibana takes the difference."""
    return {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "operationType": "counter_rate",
        "params": {"format": {"id": "number", "params": {"decimals": 1}}},
        "references": [of],
        "scale": "ratio",
        "timeScale": "s",
    }


def over_time() -> Column:
    """Intervals as long as Kibana finds right for the time that is shown."""
    return {
        "label": TIME,
        "dataType": "date",
        "isBucketed": True,
        "operationType": "date_histogram",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
        "scale": "interval",
        "sourceField": TIME,
    }


def top(
    field: str, label: str, size: int, by: str = "", *, other: bool = False, missing: bool = False
) -> Column:
    """The values of a field that have most of column `by`; without it, the first in order."""
    order = {"type": "column", "columnId": by} if by else {"type": "alphabetical"}
    return {
        "label": label,
        "customLabel": True,
        "dataType": "string",
        "isBucketed": True,
        "operationType": "terms",
        "params": {
            "size": size,
            "orderBy": order,
            "orderDirection": "desc" if by else "asc",
            "otherBucket": other,
            "missingBucket": missing,
            "parentFormat": {"id": "terms"},
        },
        "scale": "ordinal",
        "sourceField": field,
    }


# --- panels ---


def lens(
    name: str, title: str, view: str, kind: str, look: Saved, columns: dict[str, Column], where: str
) -> Saved:
    """A Lens object."""
    assert not columns.keys() & {"key", "doc_count"}  # Elasticsearch's own names in a bucket
    fields = properties(view)
    for column in columns.values():
        field = column.get("sourceField", _RECORDS)
        if field != _RECORDS and column["operationType"] != "unique_count":
            column["dataType"] = TYPES[fields[field]["type"]]
        elif field != _RECORDS:
            assert fields[field]["type"] in TYPES, field
    order = sorted(columns, key=lambda each: _place(columns[each]))
    layer = {"columnOrder": order, "columns": columns, "incompleteColumns": {}}
    state = {
        "adHocDataViews": {},
        "datasourceStates": {"formBased": {"layers": {_LAYER: layer}}, "textBased": {"layers": {}}},
        "filters": [],
        "internalReferences": [],
        "query": {"language": "lucene", "query": where},
        "visualization": look,
    }
    attributes = {
        "title": title + OURS,
        "description": "",
        "visualizationType": kind,
        "state": state,
    }
    to_view = reference(f"indexpattern-datasource-layer-{_LAYER}", "index-pattern", view)
    return saved("lens", name, attributes, [to_view])


def _place(column: Column) -> int:
    """Buckets before numbers; time within the values that split it, so these are the same
    throughout."""
    if not column["isBucketed"]:
        return 2
    return int(column["operationType"] == "date_histogram")


def metric(name: str, title: str, view: str, value: Column, where: str = "") -> Saved:
    """One number."""
    look = {"layerId": _LAYER, "layerType": "data", "metricAccessor": "value"}
    return lens(name, title, view, "lnsMetric", look, {"value": value}, where)


def xy(
    name: str, title: str, view: str, series: str, columns: dict[str, Column], where: str = ""
) -> Saved:
    """`series`: line, area, bar, bar_stacked, bar_horizontal. `columns`: `x`, perhaps `split`, and
    what is drawn; those that begin with _ are only referred to."""
    drawn = [c for c in columns if c not in ("x", "split") and not c.startswith("_")]
    layer: Saved = {
        "accessors": drawn,
        "layerId": _LAYER,
        "layerType": "data",
        "position": "top",
        "seriesType": series,
        "showGridlines": False,
        "xAccessor": "x",
    }
    if "split" in columns:
        layer["splitAccessor"] = "split"
    every = {"x": True, "yLeft": True, "yRight": True}
    look = {
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": True, "yRight": True},
        "fittingFunction": "Linear" if series == "line" else "None",
        "gridlinesVisibilitySettings": every,
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
        "layers": [layer],
        "legend": {"isVisible": "split" in columns or len(drawn) > 1, "position": "right"},
        "preferredSeriesType": series,
        "tickLabelsVisibilitySettings": every,
        "valueLabels": "hide",
        "yLeftExtent": {"mode": "full"},
        "yRightExtent": {"mode": "full"},
    }
    return lens(name, title, view, "lnsXY", look, columns, where)


def donut(name: str, title: str, view: str, columns: dict[str, Column], where: str = "") -> Saved:
    """Shares: `slice` and `value`."""
    layer = {
        "categoryDisplay": "default",
        "layerId": _LAYER,
        "layerType": "data",
        "legendDisplay": "default",
        "metrics": ["value"],
        "nestedLegend": False,
        "numberDisplay": "percent",
        "primaryGroups": ["slice"],
    }
    look = {"layers": [layer], "shape": "donut"}
    return lens(name, title, view, "lnsPie", look, columns, where)


def table(name: str, title: str, view: str, columns: dict[str, Column], where: str = "") -> Saved:
    """A row for each bucket."""
    look = {
        "columns": [
            {"columnId": c, "isTransposed": False, "isMetric": not columns[c]["isBucketed"]}
            for c in columns
        ],
        "headerRowHeight": "single",
        "layerId": _LAYER,
        "layerType": "data",
        "paging": {"enabled": True, "size": 10},
        "rowHeight": "single",
    }
    return lens(name, title, view, "lnsDatatable", look, columns, where)


def heatmap(name: str, title: str, view: str, columns: dict[str, Column], where: str = "") -> Saved:
    """`x`, `y`, and `value` as a colour."""
    look = {
        "gridConfig": {
            "isCellLabelVisible": False,
            "isXAxisLabelVisible": True,
            "isXAxisTitleVisible": False,
            "isYAxisLabelVisible": True,
            "isYAxisTitleVisible": False,
            "type": "heatmap_grid",
        },
        "layerId": _LAYER,
        "layerType": "data",
        "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"},
        "shape": "heatmap",
        "valueAccessor": "value",
        "xAccessor": "x",
        "yAccessor": "y",
    }
    return lens(name, title, view, "lnsHeatmap", look, columns, where)
