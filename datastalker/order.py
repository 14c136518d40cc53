"""Whether entries stand where they can: in the list, and the source before all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datastalker import catalog
from datastalker.options import Report
from datastalker.settings import CUT, SETTINGS, Step
from datastalker.stage import SourceStage

SOURCES = "pcap, wifi_sniffer or a topic"


def check(steps: Sequence[Step], report: Report) -> None:
    """A source that stands too low is why the first entry is none: that is told once."""
    first = steps[0] if steps and steps[0].path[-1] == 0 else None  # else it was reported
    wanting = first is not None and first.cls is not None and not _is_source(first)
    low = [step for step in steps if step is not first and _is_source(step)]
    for step in low:
        text = f"'{step.name}' is a source and can only be the first entry"
        if wanting and step is low[0]:
            text += f"; move it up, before '{steps[0].name}'"
        report(step.path, text)
    if first is None:
        return
    if wanting and not low:
        text = f"'{first.name}' is no source; the first entry must be one: {SOURCES}"
        report(first.path, text)
    elif first.topics is not None and len(steps) == 1:
        report(first.path, "nothing stands below the topic; put stages and sinks there")
    elif first.when is not None and _is_source(first):
        report(first.path, f"'{first.name}' is a source: 'when' has nothing to look at yet")


def check_outside(given: dict[str, Any], report: Report) -> bool:
    """Stages that stand where settings do: taken from `given`, and told of at the first."""
    found = [key for key in given if key not in SETTINGS and key in (*catalog.BUILTIN, CUT)]
    for key in found:
        del given[key]
    if found:
        names = " and ".join(f"'{name}'" for name in found)
        are = "are stages and stand" if len(found) > 1 else "is a stage and stands"
        text = f"{names} {are} outside of the list; put {'each' if len(found) > 1 else 'it'} under "
        report((found[0],), f"{text}'pipeline:', indented and with a dash: '  - {found[0]}'")
    return bool(found)


def _is_source(step: Step) -> bool:
    return step.cls is not None and issubclass(step.cls, SourceStage)
