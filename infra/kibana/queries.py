"""A panel's query, taken out of the saved object: what Kibana would ask Elasticsearch for it.

Kibana asks once more for the rest behind the top values ("other"), which is left out here, and
takes the difference of counters itself, as `rows` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Row = dict[str, Any]

_STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 43_200, 86_400)
_BARS = 100
_METRICS = {
    "unique_count": "cardinality",
    "average": "avg",
    "min": "min",
    "max": "max",
    "sum": "sum",
}
_MISSING = "__missing__"


@dataclass(frozen=True)
class Span:
    """The time that is shown, in milliseconds since 1970."""

    since: int
    until: int

    @property
    def step(self) -> int:
        """Seconds of a bar, where Kibana is left to choose: at most a hundred of them."""
        return next(s for s in _STEPS if (self.until - self.since) / 1000 / s <= _BARS)


@dataclass(frozen=True)
class Query:
    """A search: where, and what."""

    index: str
    body: Json


def layer(panel: Json) -> Json:
    """The columns of a Lens panel."""
    (found,) = panel["attributes"]["state"]["datasourceStates"]["formBased"]["layers"].values()
    return dict(found)


def spec(panel: Json) -> Json:
    """What a Vega panel draws."""
    return dict(json.loads(json.loads(panel["attributes"]["visState"])["params"]["spec"]))


def query(panel: Json, views: dict[str, Json], span: Span) -> Query:
    """The search of a panel; `views`: the data views by their ids."""
    attributes = panel["attributes"]
    if panel["type"] == "visualization":
        url = spec(panel)["data"]["url"]
        within = _within(url["%timefield%"], span)
        return Query(url["index"], {**url["body"], "query": {"bool": {"filter": [within]}}})
    (view,) = [views[r["id"]] for r in panel["references"] if r["type"] == "index-pattern"]
    within = _within(view["attributes"]["timeFieldName"], span)
    if panel["type"] == "search":
        source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
        ((field, order),) = attributes["sort"]
        body: Json = {"size": 500, "sort": [{field: order}], "fields": attributes["columns"]}
        asked = source["query"]
    else:
        body = {"size": 0, "track_total_hits": True, "aggs": _aggregations(layer(panel), span)}
        asked = attributes["state"]["query"]
    body["query"] = {"bool": {"filter": [within, *_asked(asked)]}}
    return Query(view["attributes"]["title"], body)


def _within(field: str, span: Span) -> Json:
    limits = {"gte": span.since, "lte": span.until, "format": "epoch_millis"}
    return {"range": {field: limits}}


def _asked(asked: Json) -> list[Json]:
    """What the query bar says, as Kibana sends it."""
    if not asked["query"]:
        return []
    assert asked["language"] == "lucene"
    return [{"query_string": {"query": asked["query"], "analyze_wildcard": True}}]


def _aggregations(columns: Json, span: Span) -> Json:
    every = columns["columns"]
    numbers = {
        name: found
        for name in columns["columnOrder"]
        if not every[name]["isBucketed"] and (found := _number(every[name]))
    }
    inner = numbers
    for name in reversed([n for n in columns["columnOrder"] if every[n]["isBucketed"]]):
        bucket = _bucket(every[name], every, span)
        by = _order_column(every[name])
        here = {by: numbers[by], **inner} if by in numbers else inner
        inner = {name: {**bucket, "aggs": here} if here else bucket}
    return inner


def _number(column: Json) -> Json | None:
    """None: Elasticsearch counts documents anyway, or Kibana computes it."""
    kind = _METRICS.get(column["operationType"])
    found = {kind: {"field": column["sourceField"]}} if kind else None
    where = column.get("filter")
    if where is None:
        return found
    return {"filter": _asked(where)[0], **({"aggs": {"of": found}} if found else {})}


def _order_column(column: Json) -> str:
    return str(column.get("params", {}).get("orderBy", {}).get("columnId", ""))


def _bucket(column: Json, every: Json, span: Span) -> Json:
    field, params = column["sourceField"], column["params"]
    if column["operationType"] == "date_histogram":
        assert params["interval"] == "auto"
        bounds = {"min": span.since, "max": span.until}
        histogram = {"field": field, "fixed_interval": f"{span.step}s", "min_doc_count": 0}
        return {"date_histogram": {**histogram, "extended_bounds": bounds}}
    assert column["operationType"] == "terms", column["operationType"]
    by = _order_column(column)
    key = "_key"
    if by:
        assert "filter" not in every[by]
        key = "_count" if every[by]["operationType"] == "count" else by
    terms = {"field": field, "size": params["size"], "order": {key: params["orderDirection"]}}
    if params["missingBucket"]:
        assert column["dataType"] == "string"
        terms["missing"] = _MISSING
    return {"terms": terms}


def rows(panel: Json, answer: Json, span: Span) -> list[Row]:
    """What came of a panel's query: a row for each innermost bucket, by the columns' names."""
    if panel["type"] == "search":
        return [
            {name: _first(hit.get("fields", {}).get(name)) for name in [*hit.get("fields", {})]}
            | {"@timestamp": hit["sort"][0]}
            for hit in answer["hits"]["hits"]
        ]
    if panel["type"] == "visualization":
        return [
            {"key": who["key"], "since": stay["key"] / 1000, "until": stay["until"]["value"] / 1000}
            for who in answer["aggregations"]["who"]["buckets"]
            for stay in who["stays"]["buckets"]
        ]
    columns = layer(panel)
    every = columns["columns"]
    buckets = [n for n in columns["columnOrder"] if every[n]["isBucketed"]]
    top = {**answer.get("aggregations", {}), "doc_count": answer["hits"]["total"]["value"]}
    found: list[Row] = []
    _walk(top, buckets, {}, every, found)
    for name, column in every.items():
        if column["operationType"] == "counter_rate":
            _differ(found, name, column["references"][0], buckets, span.step)
    return found


def _first(values: list[Any] | None) -> Any:
    if values is None:
        return None
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


def _walk(bucket: Json, names: list[str], so_far: Row, every: Json, found: list[Row]) -> None:
    if names:
        for inner in bucket[names[0]]["buckets"]:
            key = inner.get("key_as_string", inner["key"])
            if every[names[0]]["operationType"] == "date_histogram":
                key = inner["key"]
            key = None if inner["key"] == _MISSING else key
            _walk(inner, names[1:], {**so_far, names[0]: key}, every, found)
        return
    row = dict(so_far)
    for name, column in every.items():
        if column["isBucketed"] or column["operationType"] == "counter_rate":
            continue
        value = bucket.get(name, bucket)
        if "filter" in column and column["operationType"] != "count":
            value = value["of"]
        row[name] = value["doc_count"] if column["operationType"] == "count" else value["value"]
    found.append(row)


def _differ(found: list[Row], name: str, of: str, buckets: list[str], step: int) -> None:
    """Per second, series by series; a counter that fell began anew."""
    before: dict[tuple[Any, ...], float] = {}
    for row in sorted(found, key=lambda row: row["x"]):
        series = tuple(row[b] for b in buckets if b != "x")
        value, row[name] = row[of], None
        if value is None:
            continue
        last = before.get(series)
        if last is not None:
            row[name] = (value - last if value >= last else value) / step
        before[series] = value
