"""What `stalk doctor` looks at for workers: is the port free on which they tell their health?"""

from __future__ import annotations

from datastalker import doctor_page, pages
from datastalker.config import Config
from datastalker.finding import Check
from datastalker.segments import Segment


def checks(config: Config, segment: Segment) -> list[Check]:
    """What a worker of this segment needs beside topics."""
    if segment.role != "worker" or segment.number > 1:  # the same port for all
        return []
    return doctor_page.checks("worker", pages.of_worker(config))
