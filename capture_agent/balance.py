"""What became of an agent's frames, summed up where they are counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture_agent.outbox import Outbox
    from capture_agent.publish import Publisher
    from datastalker.pipeline import Pipeline


@dataclass(slots=True)
class Balance:
    """What became of the frames: `captured + made` is the sum of the others, always.

    `captured`: read by the source, those that it dropped itself included. `filtered`: kept back by
    stages. `waiting`: not delivered yet, and in memory alone; `spooled`: likewise, and on disk.
    `made`: what stages made of a frame beside the frame.
    """

    captured: int
    published: int
    filtered: int
    waiting: int
    spooled: int
    made: int
    dropped: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"captured {self.captured:,} "
        text += f"+ made {self.made:,} " if self.made else ""
        text += f"= published {self.published:,} + filtered {self.filtered:,} "
        text += f"+ dropped {sum(self.dropped.values()):,}"
        text += f" ({in_words(self.dropped)})" if self.dropped else ""
        text += f" + waiting {self.waiting:,}" if self.waiting else ""
        return text + (f" + spooled {self.spooled:,}" if self.spooled else "")


def in_words(dropped: dict[str, int]) -> str:
    """Counts by reason, for people."""
    return ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())


def balance(pipeline: Pipeline, publisher: Publisher, outbox: Outbox) -> Balance:
    """So far. Exact after a batch; what a stage still holds counts as filtered until it comes out.

    Another thread may ask, and gets what is so at about that moment.
    """
    assert pipeline.source is not None
    dropped: dict[str, int] = {}
    prefix = f"{pipeline.source.name}/dropped/"
    for name, count in pipeline.stats.get_stats().items():
        if name.startswith(prefix):
            dropped[name.removeprefix(prefix)] = int(count)
    captured = pipeline.source_stats.sent + sum(dropped.values())
    kept = pipeline.source_stats.sent - publisher.arrived
    errors = sum(entry.stats.errors for entry in pipeline.entries)
    failed = max(0, min(errors, kept))
    if failed:
        dropped["stage_error"] = failed
    for reason, number in publisher.dropped.copy().items():
        dropped[reason] = dropped.get(reason, 0) + number
    return Balance(
        captured,
        publisher.published,
        max(0, kept) - failed,
        publisher.waiting,
        outbox.spooled,
        max(0, -kept),
        dropped,
    )
