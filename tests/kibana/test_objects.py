"""The .ndjson files: what refers to what, which fields are asked for what, and the shape of it all.

Kibana can't be asked here. So the shape is compared with what Kibana 8 itself exported: its sample
data (elastic/kibana) and the dashboards of elastic/integrations. What every such object has stands
in `EXPORTED`; a panel that lacks one of these, or has another, is none that Kibana wrote.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from infra.kibana import dashboards
from infra.kibana.objects import TYPES
from infra.kibana.queries import layer, spec
from sinks.kibana import read, shipped
from sinks.mapping import properties

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = {each["id"]: each for each in read(shipped())}
LENS = [each for each in OBJECTS.values() if each["type"] == "lens"]
of_lens = pytest.mark.parametrize("panel", LENS, ids=lambda panel: panel["id"])

EXPORTED = {
    "object": "attributes coreMigrationVersion id managed references type typeMigrationVersion",
    "index-pattern": "allowNoIndex fieldAttrs fieldFormatMap fields name runtimeFieldMap "
    "sourceFilters timeFieldName title typeMeta",
    "search": "columns description hits kibanaSavedObjectMeta sort title version",
    "visualization": "description kibanaSavedObjectMeta title uiStateJSON version visState",
    "lens": "description state title visualizationType",
    "dashboard": "controlGroupInput description kibanaSavedObjectMeta optionsJSON panelsJSON "
    "refreshInterval timeFrom timeRestore timeTo title version",
    "panel": "embeddableConfig gridData panelIndex panelRefName title type version",
    "control": "explicitInput grow order type width",
    "state": "adHocDataViews datasourceStates filters internalReferences query visualization",
    "layer": "columnOrder columns incompleteColumns",
    "lnsMetric": "layerId layerType metricAccessor",
    "lnsPie": "layers shape",
    "lnsDatatable": "columns headerRowHeight layerId layerType paging rowHeight",
    "lnsHeatmap": "gridConfig layerId layerType legend shape valueAccessor xAccessor yAccessor",
    "lnsXY": "axisTitlesVisibilitySettings fittingFunction gridlinesVisibilitySettings "
    "labelsOrientation layers legend preferredSeriesType tickLabelsVisibilitySettings valueLabels "
    "yLeftExtent yRightExtent",
    "date_histogram": "dropPartials includeEmptyRows interval",
    "terms": "missingBucket orderBy orderDirection otherBucket parentFormat size",
}
"""Keys, by where they stand."""

PROMISED = {
    "overview": [
        {"date_histogram @timestamp", "terms kind", "count"},
        {"unique_count sensor"},
        {"unique_count ssid"},
        {"unique_count ta"},
        {"terms ta_oui", "unique_count ta"},
        {"terms channel", "count"},
    ],
    "networks": [
        {"terms security", "unique_count bssid"},
        {"terms bss_channel", "unique_count bssid"},
        {"terms bssid", 'where kind:BEACON AND ssid:""'},
        {"date_histogram @timestamp", "terms bssid", "average signal_dbm"},
    ],
    "devices": [
        {"terms ta", "terms ta_oui", "min @timestamp", "max @timestamp"},
        {"terms ta_randomized", "unique_count ta"},
        {"terms ta", "terms ssid", "where kind:PROBE_REQ AND ssid:?*"},
        {"date_histogram @timestamp", "terms sensor", "average signal_dbm"},
    ],
    "presence": [{"terms key", "terms first_seen", "max last_seen"}],
    "sensors": [
        {"date_histogram @timestamp", "terms key", "counter_rate of max captured"},
        {"date_histogram @timestamp", "counter_rate of max dropped",
         "counter_rate of max kernel_dropped"},
        {"date_histogram @timestamp", "max spool_bytes"},
        {"date_histogram @timestamp", "average clock_offset_ms"},
        {"date_histogram @timestamp", "max waiting", "max spooled"},
    ],
    "alerts": [{"date_histogram @timestamp", "terms alert", "count"}],
}  # fmt: skip
"""By dashboard: what must be asked for by one of its panels, each."""

COLUMN = {"dataType", "isBucketed", "label", "operationType", "scale"}
TAKES = {
    "date_histogram": {"date"},
    "terms": {"string", "number", "boolean"},
    "unique_count": {"string", "number", "boolean", "date"},
    "average": {"number"},
    "sum": {"number"},
    "min": {"number", "date"},
    "max": {"number", "date"},
}
"""Which types of fields Lens takes for an operation (its `getPossibleOperationForField`)."""


def keys(where: str) -> set[str]:
    return {*EXPORTED[where].split()}


def kind(panel: Any) -> str:
    """The message type that a panel shows."""
    (view,) = [r["id"] for r in panel["references"] if r["type"] == "index-pattern"]
    return str(view.removeprefix("datastalker-view-"))


def test_the_six_dashboards_are_there_under_fixed_ids() -> None:
    found = {name for name, each in OBJECTS.items() if each["type"] == "dashboard"}
    names = ("overview", "networks", "devices", "presence", "sensors", "alerts")
    assert found == {f"datastalker-{name}" for name in names}
    assert all(name.startswith("datastalker-") for name in OBJECTS)
    assert len(OBJECTS) == len(read(shipped()))  # no two types have one id


def asks(panel: Any) -> set[str]:
    """What a panel asks for: operations with their fields, and the condition."""
    if panel["type"] == "search":
        return {*panel["attributes"]["columns"]}
    if panel["type"] == "visualization":
        body = json.dumps(spec(panel)["data"]["url"]["body"])
        return {" ".join(found) for found in re.findall(r'"(\w+)": {"field": "(\w+)"', body)}
    columns = layer(panel)["columns"]
    found = {f"where {panel['attributes']['state']['query']['query']}"}
    for column in columns.values():
        operation, field = column["operationType"], column.get("sourceField")
        for of in column.get("references", ()):
            operation += f" of {columns[of]['operationType']} {columns[of]['sourceField']}"
        found.add(operation if field in (None, "___records___") else f"{operation} {field}")
    return found


@pytest.mark.parametrize("name", PROMISED)
def test_a_dashboard_shows_what_it_is_there_for(name: str) -> None:
    panels = json.loads(OBJECTS[f"datastalker-{name}"]["attributes"]["panelsJSON"])
    references = {r["name"]: r["id"] for r in OBJECTS[f"datastalker-{name}"]["references"]}
    shown = [asks(OBJECTS[references[f"{p['panelIndex']}:{p['panelRefName']}"]]) for p in panels]

    assert [wanted for wanted in PROMISED[name] if not any(wanted <= each for each in shown)] == []


@pytest.mark.parametrize("name", PROMISED)
def test_the_docs_have_a_picture_of_each_panel(name: str) -> None:
    panels = json.loads(OBJECTS[f"datastalker-{name}"]["attributes"]["panelsJSON"])
    drawn = ElementTree.parse(ROOT / f"docs/kibana/{name}.svg").getroot()
    lines = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]

    assert [p["title"] for p in panels if p["title"] not in lines] == [], "run `make kibana`"
    assert f"(kibana/{name}.svg)" in (ROOT / "docs/kibana.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_file_alone_has_all_that_it_refers_to(path: Path) -> None:
    there: set[tuple[str, str]] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        assert {(r["type"], r["id"]) for r in each["references"]} <= there
        there.add((each["type"], each["id"]))


def test_an_installed_package_has_every_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    names = {path.name for path in dashboards.files()}
    assert wheel == {f"infra/kibana/{n}": f"datastalker/data/kibana/{n}" for n in names}
    assert {path.name for path in shipped()} == names


@pytest.mark.parametrize("each", OBJECTS.values(), ids=lambda each: each["id"])
def test_an_object_has_the_keys_that_kibana_exports(each: Any) -> None:
    assert {*each} == keys("object")
    assert {*each["attributes"]} == keys(each["type"])
    for name, value in each["attributes"].items():
        if name.endswith("JSON") or name in ("visState", "fields", "typeMeta", "sourceFilters"):
            json.loads(value)
    for reference in each["references"]:
        assert {*reference} == {"id", "name", "type"}


@of_lens
def test_a_panel_has_the_keys_that_kibana_exports(panel: Any) -> None:
    state, columns = panel["attributes"]["state"], layer(panel)["columns"]
    assert {*state} == keys("state")
    assert {*state["visualization"]} == keys(panel["attributes"]["visualizationType"])
    assert {*layer(panel)} == keys("layer")
    (name,) = state["datasourceStates"]["formBased"]["layers"]
    (reference,) = panel["references"]
    assert reference["name"] == f"indexpattern-datasource-layer-{name}"
    for column in columns.values():
        assert {*column} >= COLUMN
        if column["isBucketed"]:
            assert {*column["params"]} == keys(column["operationType"])
    order = [columns[each]["isBucketed"] for each in layer(panel)["columnOrder"]]
    assert order == sorted(order, reverse=True)  # Lens wants buckets first
    assert sorted(layer(panel)["columnOrder"]) == sorted(columns)


@of_lens
def test_a_panel_draws_columns_that_it_has(panel: Any) -> None:
    columns = {*layer(panel)["columns"]}
    text = json.dumps(panel["attributes"]["state"]["visualization"])
    found = re.findall(r'"(?:\w*Accessor|columnId)": "(\w+)"', text)
    for listed in re.findall(r'"(?:accessors|metrics|primaryGroups)": \[([^]]*)\]', text):
        found += json.loads(f"[{listed}]")
    referred = {r for c in layer(panel)["columns"].values() for r in c.get("references", ())}
    assert {*found} | referred == columns
    by = [c["params"]["orderBy"] for c in layer(panel)["columns"].values() if c["isBucketed"]
          and "orderBy" in c["params"]]  # fmt: skip
    assert {each["columnId"] for each in by if each["type"] == "column"} <= columns


@of_lens
def test_every_field_is_mapped_with_a_type_that_its_operation_takes(panel: Any) -> None:
    fields = properties(kind(panel))
    columns = layer(panel)["columns"]
    for column in columns.values():
        operation, field = column["operationType"], column.get("sourceField")
        if operation == "counter_rate":
            (of,) = column["references"]
            assert columns[of]["operationType"] == "max"
        elif operation == "count":
            assert field == "___records___"
        else:
            assert TYPES[fields[field]["type"]] in TAKES[operation], (field, operation)
        if column["isBucketed"] or operation in ("min", "max"):
            assert column["dataType"] == TYPES[fields[field]["type"]]


def queried(panel: Any) -> str:
    """All that is asked in words."""
    if panel["type"] == "search":
        meta = panel["attributes"]["kibanaSavedObjectMeta"]
        return str(json.loads(meta["searchSourceJSON"])["query"]["query"])
    asked = [panel["attributes"]["state"]["query"]]
    asked += [c["filter"] for c in layer(panel)["columns"].values() if "filter" in c]
    assert {each["language"] for each in asked} == {"lucene"}
    return " ".join(each["query"] for each in asked)


@pytest.mark.parametrize(
    "panel", [*LENS, *(o for o in OBJECTS.values() if o["type"] == "search")], ids=lambda p: p["id"]
)
def test_every_field_in_a_query_or_a_list_is_mapped(panel: Any) -> None:
    named = {*re.findall(r"([\w@.]+):", queried(panel))}
    named |= {*panel["attributes"].get("columns", ())}
    assert named <= properties(kind(panel)).keys()


def test_the_timeline_asks_for_fields_that_are_mapped() -> None:
    url = spec(OBJECTS["datastalker-presence-timeline"])["data"]["url"]
    fields = properties("presence")
    assert (url["index"], url["%timefield%"]) == ("datastalker-presence*", "@timestamp")
    asked = re.findall(r'"(\w+)": {"field": "(\w+)"', json.dumps(url["body"]))
    assert {*asked} == {("terms", "key"), ("terms", "first_seen"), ("min", "first_seen"),
                        ("max", "last_seen")}  # fmt: skip
    assert all(TYPES[fields[field]["type"]] in ("string", "number") for _, field in asked)


@pytest.mark.parametrize(
    "each", [o for o in OBJECTS.values() if o["type"] == "dashboard"], ids=lambda each: each["id"]
)
def test_a_dashboard_shows_each_panel_once_and_side_by_side(each: Any) -> None:
    attributes = each["attributes"]
    references = {r["name"]: (r["type"], r["id"]) for r in each["references"]}
    assert len(references) == len(each["references"])
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(attributes["panelsJSON"]):
        assert {*panel} == keys("panel")
        index, grid = panel["panelIndex"], panel["gridData"]
        kind, to = references.pop(f"{index}:{panel['panelRefName']}")
        assert (kind, grid["i"]) == (panel["type"], index)
        assert OBJECTS[to]["type"] == kind
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        taken |= cells
    assert max(x for x, _ in taken) == 47
    for name, control in json.loads(attributes["controlGroupInput"]["panelsJSON"]).items():
        assert {*control} == keys("control")
        _, view = references.pop(f"controlGroup_{name}:optionsListDataView")
        field = control["explicitInput"]["fieldName"]
        assert TYPES[properties(view.removeprefix("datastalker-view-"))[field]["type"]] == "string"
    assert references == {}


def test_for_other_indices_only_what_names_indices_changes() -> None:
    other = {each["id"]: each for each in read(shipped(), "wifi-2")}
    changed = {name for name in OBJECTS if OBJECTS[name] != other[name]}
    views = {f"datastalker-view-{kind}" for kind in ("frame", "presence", "sensor", "alert")}
    assert changed == {*views, "datastalker-presence-timeline"}
    assert other["datastalker-view-frame"]["attributes"]["title"] == "wifi-2-frame*"
    assert spec(other["datastalker-presence-timeline"])["data"]["url"]["index"] == (
        "wifi-2-presence*"
    )
