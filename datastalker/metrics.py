"""What a process tells Prometheus of itself: the names, and their text.

The names are a promise: `docs/metrics.md` is made from METRICS, and a test compares what processes
serve with it. Counters are read where they are counted, when somebody asks: nothing is counted for
this page alone.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datastalker.pipeline import Pipeline

Sample = tuple[str, dict[str, str], float]
"""Name, labels, value."""

STARTED = time.time()


class Metric(NamedTuple):
    """`kind`: counter (only grows, until the process starts again) or gauge."""

    kind: str
    labels: tuple[str, ...]
    help: str
    served_by: str = "all"


def _stage(kind: str, text: str) -> Metric:
    return Metric(kind, ("segment", "stage"), text, "agent, run, worker")


def _worker(kind: str, text: str, *labels: str) -> Metric:
    return Metric(kind, labels, text, "worker")


def _agent(kind: str, text: str, *labels: str) -> Metric:
    return Metric(kind, ("sensor", *labels), text, "agent")


def _sink(kind: str, text: str) -> Metric:
    return Metric(kind, ("sink",), text, "sink")


METRICS: dict[str, Metric] = {
    "datastalker_info": Metric(
        "gauge",
        ("version", "role", "pipeline", "part"),
        "1; role: agent, run, worker or sink; part: the sensor, the segments or the sink it is",
    ),
    "datastalker_ready": Metric("gauge", (), "1 if /readyz says so"),
    "process_start_time_seconds": Metric("gauge", (), "when the process started, Unix time"),
    "process_cpu_seconds_total": Metric("counter", (), "CPU time, user and system"),
    "process_resident_memory_bytes": Metric("gauge", (), "memory that is resident"),
    "datastalker_stage_messages_in_total": _stage("counter", "messages that came to a stage"),
    "datastalker_stage_messages_out_total": _stage("counter", "messages that a stage passed on"),
    "datastalker_stage_messages_dropped_total": _stage(
        "counter", "messages that a stage kept from passing on"
    ),
    "datastalker_stage_messages_skipped_total": _stage(
        "counter", "messages that passed by a stage by its when"
    ),
    "datastalker_stage_errors_total": _stage("counter", "messages lost by an exception in a stage"),
    "datastalker_stage_seconds_total": _stage(
        "counter", "seconds spent in a stage; of a source without its waiting"
    ),
    "datastalker_stage_state_entries": _stage("gauge", "entries that a stage remembers now"),
    "datastalker_stage_state_evicted_total": _stage(
        "counter", "state entries that had to make room"
    ),
    "datastalker_stage_counter": Metric(
        "gauge", ("segment", "name"), "what a stage or sink counts itself, by its own name"
    ),
    "datastalker_last_message_timestamp_seconds": Metric(
        "gauge",
        ("segment",),
        "the time of the latest message by its own clock",
        "agent, run, worker",
    ),
    "datastalker_source_dropped_messages_total": Metric(
        "counter", ("segment", "source", "reason"), "what a source read and dropped", "agent, run"
    ),
    "datastalker_source_kernel_dropped_messages_total": Metric(
        "counter", ("segment", "source"), "frames that the kernel dropped before", "agent, run"
    ),
    "datastalker_agent_captured_frames_total": _agent("counter", "frames read by the source"),
    "datastalker_agent_published_frames_total": _agent("counter", "frames that Kafka confirmed"),
    "datastalker_agent_dropped_frames_total": _agent("counter", "frames lost", "reason"),
    "datastalker_agent_filtered_frames": _agent(
        "gauge", "frames kept back by stages; those that a stage still holds included"
    ),
    "datastalker_agent_made_frames": _agent(
        "gauge", "what stages made of a frame beside the frame"
    ),
    "datastalker_agent_waiting_frames": _agent("gauge", "frames not delivered, in memory alone"),
    "datastalker_agent_spooled_frames": _agent("gauge", "frames not delivered, on disk"),
    "datastalker_agent_published_events_total": _agent("counter", "events that Kafka confirmed"),
    "datastalker_agent_dropped_events_total": _agent("counter", "events lost", "reason"),
    "datastalker_agent_queued_batches": _agent("gauge", "Kafka messages on their way"),
    "datastalker_agent_spool_batches": _agent("gauge", "Kafka messages in the spool"),
    "datastalker_agent_spool_bytes": _agent("gauge", "size of the spool's files"),
    "datastalker_agent_spool_limit_bytes": _agent("gauge", "size they may have: agent: spool_mb"),
    "datastalker_agent_spool_oldest_seconds": _agent(
        "gauge", "age of what waits longest in the spool"
    ),
    "datastalker_agent_clock_offset_seconds": _agent(
        "gauge", "how far the clock is ahead of the broker's; not there while nobody knows"
    ),
    "datastalker_agent_clock_error_seconds": _agent("gauge", "by so much more or less at most"),
    "datastalker_agent_channel_time_ratio": _agent(
        "gauge",
        "part of the time in which a channel was listened to, in the last status_seconds",
        "freq_mhz",
    ),
    "datastalker_batches_total": _worker("counter", "Kafka messages handled", "segment"),
    "datastalker_batches_repeated_total": _worker(
        "counter", "Kafka messages dropped, since they were seen before", "segment"
    ),
    "datastalker_batches_missing": _worker(
        "gauge", "batches of agents that were skipped: lost, or still to come", "segment"
    ),
    "datastalker_dead_letters_total": _worker("counter", "Kafka messages set aside", "segment"),
    "datastalker_recovery_remaining": _worker(
        "gauge", "records of state still to be read before work goes on"
    ),
    "datastalker_partitions": Metric(
        "gauge", ("segment",), "partitions that this process has", "worker, sink"
    ),
    "datastalker_lag": Metric(
        "gauge",
        ("segment", "topic", "partition"),
        "Kafka messages of a partition that wait",
        "worker, sink",
    ),
    "datastalker_sink_consumed_messages_total": _sink(
        "counter", "messages that a sink took, those that it handed back included"
    ),
    "datastalker_sink_handed_back_messages_total": _sink(
        "counter", "messages not stored, since another process has the partition now"
    ),
    "datastalker_sink_repeated_messages_total": _sink("counter", "messages stored before"),
    "datastalker_sink_skipped_messages_total": _sink(
        "counter", "messages that the sink's when leaves out"
    ),
    "datastalker_sink_dead_messages_total": _sink("counter", "messages set aside"),
    "datastalker_sink_indexed_messages_total": _sink("counter", "documents made in Elasticsearch"),
    "datastalker_sink_already_indexed_messages_total": _sink(
        "counter", "messages whose document was there"
    ),
    "datastalker_sink_rows_total": _sink("counter", "rows written to CSV files"),
    "datastalker_sink_retries_total": _sink("counter", "times that the store was away or busy"),
    "datastalker_sink_paused": _sink("gauge", "1 while it waits for its store"),
}

_COUNTED = {
    "received": "datastalker_stage_messages_in_total",
    "sent": "datastalker_stage_messages_out_total",
    "dropped": "datastalker_stage_messages_dropped_total",
    "skipped": "datastalker_stage_messages_skipped_total",
    "errors": "datastalker_stage_errors_total",
    "seconds": "datastalker_stage_seconds_total",
}

Counts = Counter[tuple[str, str, str]]
"""By name, segment and stage."""


def count_stages(segment: str, pipeline: Pipeline, counts: Counts) -> None:
    """Add what a pipeline has counted of its stages."""
    for stats in pipeline.all_stats():
        for attribute, name in _COUNTED.items():
            counts[name, segment, stats.name] += getattr(stats, attribute)
    for entry in pipeline.entries:
        evicted = "datastalker_stage_state_evicted_total", segment, entry.stats.name
        counts[evicted] += entry.component.state.evicted


def stage_samples(
    segment: str, pipelines: Iterable[Pipeline], left: Counts | None = None
) -> Iterator[Sample]:
    """Of the pipelines of a segment, one for each partition. `left`: what others, that are gone,
    have counted."""
    counts: Counts = Counter(left or {})
    gauges: Counter[tuple[str, str]] = Counter()
    own: Counter[str] = Counter()
    latest = 0
    for pipeline in pipelines:
        count_stages(segment, pipeline, counts)
        for entry in pipeline.entries:
            entries = len(entry.component.state)
            gauges["datastalker_stage_state_entries", entry.stats.name] += entries
        own.update(pipeline.stats.get_stats())
        latest = max(latest, pipeline.now)
        source = pipeline.source.name if pipeline.source is not None else ""
        yield from _source_samples(segment, source, own)
    for (name, _, stage), value in counts.items():
        yield name, {"segment": segment, "stage": stage}, value
    for (name, stage), value in gauges.items():
        yield name, {"segment": segment, "stage": stage}, value
    for counter, value in own.items():
        yield "datastalker_stage_counter", {"segment": segment, "name": counter}, value
    if latest:
        yield "datastalker_last_message_timestamp_seconds", {"segment": segment}, latest / 1e6


def _source_samples(segment: str, source: str, own: Counter[str]) -> Iterator[Sample]:
    """What the names of a source's own counters say; they are taken out."""
    labels = {"segment": segment, "source": source}
    for name in [name for name in own if source and name.startswith(f"{source}/")]:
        _, what, *reason = name.split("/", 2)
        if what == "dropped" and reason:
            dropped = "datastalker_source_dropped_messages_total"
            yield dropped, {**labels, "reason": reason[0]}, own.pop(name)
        elif what == "kernel_dropped":
            yield "datastalker_source_kernel_dropped_messages_total", labels, own.pop(name)


def process_samples() -> Iterator[Sample]:
    """What any process has."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_start_time_seconds", {}, STARTED
    yield "process_cpu_seconds_total", {}, used.ru_utime + used.ru_stime
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return
    yield "process_resident_memory_bytes", {}, resident


def render(samples: Iterable[Sample]) -> str:
    """As Prometheus's text format, version 0.0.4."""
    found: dict[str, list[str]] = {}
    for name, labels, value in samples:
        said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        line = f"{name}{{{said}}}" if said else name
        found.setdefault(name, []).append(f"{line} {_number(value)}")
    lines = []
    for name, each in found.items():
        metric = METRICS[name]
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}", *each]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Whole numbers with all their digits."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
