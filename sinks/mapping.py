"""What Elasticsearch is told of each key: an explicit mapping per message type, nothing by guess.

Keys of the contract, and those that the pipeline's stages say they add, have a field of their own;
any other key goes into `extra`, where text can be searched without a field of its own for each key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datastalker.message import FIELDS, Field

TIME, EXTRA = "@timestamp", "extra"

_KEYWORD: dict[str, Any] = {"type": "keyword", "ignore_above": 8191}
_FLATTENED: dict[str, Any] = {"type": "flattened", "ignore_above": 8191}
_LONG: dict[str, Any] = {"type": "long"}

_TYPES: dict[str, dict[str, Any]] = {
    "integer": _LONG,
    "integers": _LONG,
    "number": {"type": "double"},
    "boolean": {"type": "boolean"},
    "text": _KEYWORD,
    "strings": _KEYWORD,
    "address": _KEYWORD,
    "kind": _KEYWORD,
    "map": _FLATTENED,
    "records": _FLATTENED,
}

_SPECIAL: dict[str, dict[str, Any]] = {
    # unsigned, and a long is not: what does not fit is kept in the document and not searched
    "tsf": {"type": "long", "ignore_malformed": True},
    "heard_by": {
        "properties": {"sensor": _KEYWORD, "signal_dbm": {"type": "long"}},
    },
}

SHORTCUTS: dict[str, dict[str, Any]] = {
    "str": {"type": "keyword"},
    "str_not_analyzed": {"type": "keyword"},
    "str_analyzed": {"type": "text"},
    "integer": {"type": "long"},
    "date": {"type": "date"},
    "double": {"type": "double"},
    "boolean": {"type": "boolean"},
    "geo": {"type": "geo_point"},
}
"""What `mapping:` may say of a key in one word; anything else is Elasticsearch's own format."""

_DASHBOARDS = {
    "ta_oui": Field("ta_oui", "text", ""),
    "ta_randomized": Field("ta_randomized", "boolean", ""),
}
"""What the dashboards show of frames beside the contract: there, whether a stage sets it or not."""

_EVENT = {
    name: Field(name, kind, "")
    for name, kind in (("timestamp", "integer"), ("id", "text"), ("type", "text"), ("key", "text"))
}


def properties(
    kind: str, added: Iterable[Field] = (), own: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """The fields of documents of a message type; any type that isn't known has those of events.

    `added`: what the stages of the pipeline add to frames. `own`: `mapping:` of the sink.
    """
    fields = dict(FIELDS.get(kind, _EVENT))
    fields["type"] = Field("type", "text", "")
    if kind == "frame":
        fields.update(_DASHBOARDS)
        fields.update((field.name, field) for field in added)
    found: dict[str, dict[str, Any]] = {TIME: {"type": "date_nanos"}}
    for name, field in fields.items():
        found[name] = _SPECIAL.get(name) or _TYPES.get(field.type, _FLATTENED)
    for name, value in (own or {}).items():
        found[name] = SHORTCUTS[value] if isinstance(value, str) else value
    found[EXTRA] = _FLATTENED
    return found


def template(
    pattern: str, fields: dict[str, Any], settings: dict[str, Any], *, priority: int, stream: bool
) -> dict[str, Any]:
    """The body of a composable index template."""
    body: dict[str, Any] = {
        "index_patterns": [pattern],
        "priority": priority,
        "template": {
            "settings": {"index": settings},
            "mappings": {"dynamic": "strict", "properties": fields},
        },
        "_meta": {"made_by": "datastalker"},
    }
    if stream:
        body["data_stream"] = {}
    return body
