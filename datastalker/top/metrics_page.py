"""What the page of a process tells (`/metrics`), as a live view shows it: stages, and its sensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from datastalker.message import Message
from datastalker.top.stages import Totals

Samples = list[dict[str, Any]]
"""Each with `name`, `labels`, `value`."""

_STAGE, _SINK, _AGENT = "datastalker_stage_", "datastalker_sink_", "datastalker_agent_"
_COUNTED = {
    "messages_in_total": "received",
    "messages_out_total": "sent",
    "messages_dropped_total": "dropped",
    "errors_total": "errors",
    "seconds_total": "seconds",
    "state_entries": "state",
    "state_evicted_total": "evicted",
}
_STORED = ("indexed_messages_total", "rows_total")
_KNOWN = ("already_indexed_messages_total", "repeated_messages_total", "skipped_messages_total")


def is_one(answer: Any) -> bool:
    """Whether that is what a page of ours tells."""
    return (
        isinstance(answer, list)
        and bool(answer)
        and all(
            isinstance(each, dict) and each.keys() >= {"name", "labels", "value"} for each in answer
        )
    )


def totals(samples: Samples) -> list[Totals]:
    """Of each stage or sink, in their order; what waits in Kafka stands with a segment's first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    lag: dict[str, float] = defaultdict(float)
    for sample in samples:
        name, labels, value = sample["name"], sample["labels"], sample["value"]
        segment = labels.get("segment", "")
        if name == "datastalker_lag":
            lag[segment] += value
        elif name == "datastalker_stage_counter":
            stage, _, what = labels["name"].partition("/")
            found.setdefault((segment, stage), {}).setdefault("counters", {})[what] = value
        elif name.startswith(_STAGE) and name.removeprefix(_STAGE) in _COUNTED:
            stage = found.setdefault((segment, labels["stage"]), {})
            stage[_COUNTED[name.removeprefix(_STAGE)]] = value
        elif name.startswith(_SINK):
            own = found.setdefault((labels["sink"], labels["sink"]), {})  # a segment of its own
            _sink(own, name.removeprefix(_SINK), value)
    rows = []
    for (segment, name), counted in found.items():
        if set(counted) == {"counters"}:
            continue  # of what is no stage of its own, such as a cut
        waiting = lag.pop(segment, None)
        state = counted.pop("state", None) or None
        rows.append(Totals(name, lag=waiting, state=state, **counted))
    return rows + [Totals(segment, lag=waiting) for segment, waiting in lag.items()]


def _sink(stage: dict[str, Any], what: str, value: float) -> None:
    if what == "consumed_messages_total":
        stage["received"] = value
    elif what == "dead_messages_total":
        stage["errors"] = value
    elif what in _STORED:
        stage["sent"] = stage.get("sent", 0) + value
    elif what in _KNOWN:
        stage["dropped"] = stage.get("dropped", 0) + value
    else:
        stage.setdefault("counters", {})[what.removesuffix("_total")] = value


def status(samples: Samples, now: int) -> list[Message]:
    """What an agent says of itself, as it would say it in a topic."""
    said: dict[str, Message] = {}
    for sample in samples:
        name, labels, value = sample["name"], sample["labels"], sample["value"]
        if not name.startswith(_AGENT):
            continue
        key = labels["sensor"]
        message = said.setdefault(
            key, Message(type="sensor", key=key, timestamp=now, state="running")
        )
        what = name.removeprefix(_AGENT)
        if what == "dropped_frames_total":
            message[f"dropped_{labels['reason']}"] = value
        elif what == "spooled_frames":
            message["spooled"] = value
        elif what == "clock_offset_seconds":
            message["clock_offset_ms"] = value * 1000
        elif what == "channel_time_ratio":
            message[f"share_{labels['freq_mhz']}"] = value
    for message in said.values():
        kernel = _sum(samples, "datastalker_source_kernel_dropped_messages_total")
        message["kernel_dropped"] = kernel
    return list(said.values())


def latest(samples: Samples) -> float:
    """When its latest message was captured, in seconds; 0 before the first."""
    name = "datastalker_last_message_timestamp_seconds"
    return max((s["value"] for s in samples if s["name"] == name), default=0.0)


def _sum(samples: Iterable[dict[str, Any]], name: str) -> float:
    return float(sum(s["value"] for s in samples if s["name"] == name))
