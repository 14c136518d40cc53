"""`workers:` in the configuration: how Faust runs the segments between two topics."""

from __future__ import annotations

from datastalker.options import Option, option, options_of
from datastalker.page_settings import page_options


class WorkerSettings:
    """Of workers alone: `faust -A processors worker`."""

    segments: list[str] = option(
        [], "names of the segments that a worker runs; none: all between two topics"
    )
    session_timeout_seconds: float = option(
        10,
        "a worker that was not heard of for so long is taken for dead, and others take over",
        minimum=6,
        maximum=300,
    )
    instance_id: str | None = option(
        None,
        "a name of its own for each worker: one that is back within the session timeout gets its "
        "partitions back, and the others never notice",
    )
    recovery_seconds: float = option(
        300, "a worker that takes longer to get partitions and their state exits", minimum=5
    )
    stall_seconds: float = option(
        60,
        "a worker that has work and finished none for so long is unready, and exits soon after",
        minimum=5,
    )


WORKERS: dict[str, Option] = {**(options_of(WorkerSettings) or {}), **page_options(6066)}
