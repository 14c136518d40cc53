"""`agent:` in the configuration: how an agent hands what it hears to the broker."""

from __future__ import annotations

from typing import Literal

from datastalker.options import Option, a_folder, option, options_of
from datastalker.page_settings import page_options


class AgentSettings:
    """Of capture agents alone: `stalk capture`."""

    batch_frames: int = option(
        200, "frames of a partition that make a batch: one Kafka message", minimum=1, maximum=10_000
    )
    linger_ms: int = option(
        250, "how long a frame waits for its batch to fill", minimum=0, maximum=60_000
    )
    heartbeat_seconds: float = option(
        5, "how often each partition hears of the time and that we live", minimum=0.1
    )
    status_seconds: float = option(
        10, "how often the agent says what it captured, published and lost", minimum=0.1
    )
    delivery_timeout_seconds: float = option(
        120, "how long a batch is tried before it counts as lost", minimum=1, maximum=86_400
    )
    queue_mb: float = option(
        32,
        "memory for batches while the broker is away; when it is full a capture file waits, and "
        "what is heard live is dropped and counted",
        minimum=0.1,
        maximum=2000,
    )
    clock_alert_seconds: float = option(
        5, "an alert if the clock is farther from the broker's than that", minimum=0.1
    )
    spool_directory: str | None = option(
        None,
        "a folder of this agent's own: batches that the broker does not confirm in time wait there, "
        "on disk; null: they wait in memory alone",
        check=a_folder,
    )
    spool_mb: float = option(
        256, "how much it may hold before something has to be dropped", minimum=2, maximum=1_000_000
    )
    spool_when_full: Literal["oldest", "newest"] = option(
        "oldest", "which batches are dropped then, and counted; of a capture file none: it waits"
    )
    spool_order: Literal["oldest_first", "fresh_first"] = option(
        "oldest_first",
        "when the broker is back. oldest_first: each partition in the order of the air, so fresh "
        "batches follow what is on disk; fresh_first: they go beside it, and stages that go by time "
        "take what was on disk for late",
    )
    spool_fsync_seconds: float = option(
        1,
        "a batch that is not confirmed for so long goes to disk, and what is on disk is synced so "
        "often: what a crash may cost",
        minimum=0.05,
        maximum=60,
    )


AGENT: dict[str, Option] = {
    **(options_of(AgentSettings) or {}),
    **page_options(about="; `stalk run` has it too"),
}
