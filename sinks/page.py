"""What the page of a sink process shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from datastalker.metrics import Sample
from datastalker.page import Health, Page
from datastalker.tapping import IN, Place

if TYPE_CHECKING:
    from sinks.consume import SinkRunner

_NAMED = {
    "sink/repeated": "repeated_messages_total",
    "sink/skipped": "skipped_messages_total",
    "sink/dead": "dead_messages_total",
    "sink/retries": "retries_total",
    "sink/handed_back": "handed_back_messages_total",
    "elasticsearch/indexed": "indexed_messages_total",
    "elasticsearch/already_indexed": "already_indexed_messages_total",
    "csv/rows": "rows_total",
}
_ALWAYS = [name for name in _NAMED if name.startswith("sink/")]


def page_of(runner: SinkRunner, pipeline: str) -> Page:
    """The page of a sink; its lag is measured from now on."""
    runner.lag = {}
    return Page(
        "sink",
        pipeline,
        runner.label,
        lambda: samples(runner),
        lambda: _health(runner),
        lambda: [Place(runner.label, IN, runner.reader, "taps")],
    )


def samples(runner: SinkRunner) -> Iterator[Sample]:
    """All that is counted, read where it is counted."""
    counted = runner.stats.get_stats()
    labels = {"sink": runner.label}
    for name in _ALWAYS:  # from the beginning, or Prometheus would not see the first
        counted.setdefault(name, 0)
    consumed = counted.pop("sink/consumed", 0) + counted.get("sink/handed_back", 0)
    yield "datastalker_sink_consumed_messages_total", labels, consumed
    for name, value in counted.items():
        if name in _NAMED:
            yield f"datastalker_sink_{_NAMED[name]}", labels, value
        else:
            own = {"segment": runner.label, "name": name}
            yield "datastalker_stage_counter", own, value
    yield "datastalker_sink_paused", labels, runner.away
    yield "datastalker_partitions", {"segment": runner.label}, len(runner.group.places)
    for (topic, partition), waiting in sorted((runner.lag or {}).items()):
        where = {"segment": runner.label, "topic": topic, "partition": str(partition)}
        yield "datastalker_lag", where, waiting


def _health(runner: SinkRunner) -> Health:
    if runner.away:
        return Health(False, "paused: the store is away or busy")
    return Health(True, "running") if runner.joined else Health(False, "joining its group")
