"""What an agent's page shows: its balance, its clock, its spool, where it listens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from capture_agent.outbox import GIVEN_UP, TIMED_OUT, KafkaOutbox
from capture_agent.publish import UNWRITABLE
from capture_agent.spool_outbox import DAMAGED, FINAL, FULL
from datastalker.metrics import Sample, stage_samples
from datastalker.page import Page
from datastalker.tapping import places_of

if TYPE_CHECKING:
    from capture_agent.agent import Agent

_NAME = "datastalker_agent_"
_SHARE = "share_"
LOSSES = (
    *(GIVEN_UP, TIMED_OUT, KafkaOutbox.full, FULL, DAMAGED, UNWRITABLE, "stage_error"),
    *sorted(FINAL),
)
"""Reasons that are told of from the beginning, or Prometheus would not see the first frame lost."""


def page_of(agent: Agent, name: str) -> Page:
    """The page of an agent; `name`: of its pipeline."""
    return Page(
        "agent",
        name,
        agent.sensor,
        lambda: samples(agent, name),
        places=lambda: places_of([agent.pipeline]),
    )


def samples(agent: Agent, name: str) -> Iterator[Sample]:
    """All that is counted, read where it is counted."""
    yield from stage_samples(name, [agent.pipeline])
    labels = {"sensor": agent.sensor}
    balance = agent.balance()
    yield f"{_NAME}captured_frames_total", labels, balance.captured
    yield f"{_NAME}published_frames_total", labels, balance.published
    yield f"{_NAME}filtered_frames", labels, balance.filtered
    yield f"{_NAME}made_frames", labels, balance.made
    yield f"{_NAME}waiting_frames", labels, balance.waiting
    yield f"{_NAME}spooled_frames", labels, balance.spooled
    for reason, count in (dict.fromkeys(LOSSES, 0) | balance.dropped).items():
        yield f"{_NAME}dropped_frames_total", {**labels, "reason": reason}, count
    yield f"{_NAME}published_events_total", labels, agent.publisher.events
    for reason, count in list(agent.publisher.events_dropped.items()):
        yield f"{_NAME}dropped_events_total", {**labels, "reason": reason}, count
    yield f"{_NAME}queued_batches", labels, agent.outbox.waiting
    if agent.spool is not None:
        oldest = agent.spool.oldest()
        yield f"{_NAME}spool_batches", labels, agent.spool.batches
        yield f"{_NAME}spool_bytes", labels, agent.spool.bytes
        yield f"{_NAME}spool_limit_bytes", labels, agent.spool.max_bytes
        age = time.time() - oldest / 1e6 if oldest else 0.0
        yield f"{_NAME}spool_oldest_seconds", labels, max(0.0, age)
    offset = agent.clock.offset()
    if offset is not None:
        yield f"{_NAME}clock_offset_seconds", labels, offset.ms / 1000
        yield f"{_NAME}clock_error_seconds", labels, offset.error_ms / 1000
    for key, share in agent.reporter.told.items():
        if key.startswith(_SHARE):
            heard = {**labels, "freq_mhz": key.removeprefix(_SHARE)}
            yield f"{_NAME}channel_time_ratio", heard, share
