"""Saved objects in the shape that Kibana 8 exports: data views, searches, Vega, dashboards.

Ids are fixed, so the same description gives the same bytes. The types that Kibana wants of columns
are those of our mapping: a field that isn't mapped is an error here.

Versions: an object may be read by that Kibana or any later one, which migrates it. So each has the
oldest that knows its shape; Kibana's own sample data does the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sinks.mapping import TIME, properties

Saved = dict[str, Any]

TYPES = {
    "keyword": "string",
    "text": "string",
    "long": "number",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "date_nanos": "date",
}
"""Kibana's type of a field by Elasticsearch's. What isn't here can't be in a panel."""

VERSIONS = {
    "index-pattern": "8.0.0",
    "search": "7.9.3",
    "lens": "8.9.0",
    "visualization": "8.0.0",
    "dashboard": "8.7.0",
}
_CORE, _PANEL = "8.8.0", "8.9.0"
OURS = " [DataStalker]"
"""Behind a title, to be found among others'."""


def saved(kind: str, name: str, attributes: Saved, references: list[Saved]) -> Saved:
    """A saved object; `name` is its id without our prefix."""
    return {
        "id": f"datastalker-{name}",
        "type": kind,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": _CORE,
        "typeMigrationVersion": VERSIONS[kind],
        "managed": False,
    }


def data_view(kind: str, title: str) -> Saved:
    """The documents of a message type, whatever the sink's `period` is."""
    attributes = {
        "title": f"datastalker-{kind}*",
        "name": title,
        "timeFieldName": TIME,
        "allowNoIndex": True,  # there may be no document of that type yet
        "fieldAttrs": "{}",
        "fieldFormatMap": "{}",
        "fields": "[]",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return saved("index-pattern", f"view-{kind}", attributes, [])


def reference(name: str, kind: str, to: str) -> Saved:
    """`to`: the other's name; of a data view, the type of its messages."""
    within = "view-" if kind == "index-pattern" else ""
    return {"id": f"datastalker-{within}{to}", "name": name, "type": kind}


def search(name: str, title: str, view: str, columns: list[str], where: str = "") -> Saved:
    """Documents themselves, the newest first."""
    assert properties(view).keys() >= {*columns}, columns
    to_view = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "filter": [],
        "highlightAll": True,
        "indexRefName": to_view,
        "query": {"language": "lucene", "query": where},
        "version": True,
    }
    attributes = {
        "title": title + OURS,
        "description": "",
        "columns": columns,
        "hits": 0,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(source)},
        "sort": [[TIME, "desc"]],
        "version": 1,
    }
    return saved("search", name, attributes, [reference(to_view, "index-pattern", view)])


def vega(name: str, title: str, spec: Saved) -> Saved:
    """A picture that Lens hasn't, with its own query."""
    params = {"spec": json.dumps(spec, indent=2, sort_keys=True)}
    attributes = {
        "title": title + OURS,
        "description": "",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _json({"filter": [], "query": {"language": "kuery", "query": ""}})
        },
        "uiStateJSON": "{}",
        "version": 1,
        "visState": _json({"aggs": [], "params": params, "title": title + OURS, "type": "vega"}),
    }
    return saved("visualization", name, attributes, [])


# --- dashboards ---

Row = tuple[int, list[tuple[Saved, int]]]
"""Height, and the panels from left to right with their widths, which make 48."""


def dashboard(
    name: str, title: str, about: str, rows: Iterable[Row], controls: Iterable[tuple[str, str, str]]
) -> list[Saved]:
    """Panels in rows, and the dashboard of them behind them.

    `controls`: data view, field and title of each list to choose from.
    """
    rows = list(rows)
    panels: list[Saved] = []
    references: list[Saved] = []
    y = 0
    for height, row in rows:
        assert sum(width for _, width in row) == 48, (name, y)
        x = 0
        for panel, width in row:
            index = panel["id"].removeprefix("datastalker-")
            panels.append(
                {
                    "embeddableConfig": {"enhancements": {}},
                    "gridData": {"h": height, "i": index, "w": width, "x": x, "y": y},
                    "panelIndex": index,
                    "panelRefName": f"panel_{index}",
                    "title": panel["attributes"]["title"].removesuffix(OURS),
                    "type": panel["type"],
                    "version": _PANEL,
                }
            )
            references.append(reference(f"{index}:panel_{index}", panel["type"], index))
            x += width
        y += height
    lists: Saved = {}
    for order, (view, field, label) in enumerate(controls):
        assert TYPES[properties(view)[field]["type"]] == "string", field
        index = f"control-{name}-{field}"
        lists[index] = {
            "explicitInput": {"enhancements": {}, "fieldName": field, "id": index, "title": label},
            "grow": True,
            "order": order,
            "type": "optionsListControl",
            "width": "medium",
        }
        listed = f"controlGroup_{index}:optionsListDataView"
        references.append(reference(listed, "index-pattern", view))
    ignored = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
    attributes = {
        "title": f"[DataStalker] {title}",
        "description": about,
        "controlGroupInput": {
            "chainingSystem": "HIERARCHICAL",
            "controlStyle": "oneLine",
            "ignoreParentSettingsJSON": _json(dict.fromkeys(ignored, False)),
            "panelsJSON": _json(lists),
        },
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _json({"filter": [], "query": {"language": "kuery", "query": ""}})
        },
        "optionsJSON": _json(
            {
                "hidePanelTitles": False,
                "syncColors": False,
                "syncCursor": True,
                "syncTooltips": False,
                "useMargins": True,
            }
        ),
        "panelsJSON": _json(panels),
        "refreshInterval": {"pause": True, "value": 60000},
        "timeFrom": "now-24h",
        "timeRestore": True,
        "timeTo": "now",
        "version": 1,
    }
    shown = [panel for _, row in rows for panel, _ in row]
    return [*shown, saved("dashboard", name, attributes, references)]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
