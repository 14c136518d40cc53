"""Quix Streams: SERVERS SOURCE SINK MESSAGES FOLDER JOB, with its state store and changelog.

State is kept by the messages' key; all of a partition have one, so copies find each other. A key is
read and written once a message, however often it is used in it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from job import Job
from quixstreams import Application

servers, source, sink, count, folder, job_name = sys.argv[1:]
job = Job(Path(folder), whole=job_name == "whole")
app = Application(
    broker_address=servers,
    consumer_group=sink,
    auto_offset_reset="earliest",
    state_dir=f"{folder}/state",
    use_changelog_topics=True,
    loglevel="ERROR",
)


class Once:
    """The state store, asked and written once for each key."""

    def __init__(self, state: Any) -> None:
        self.state, self.known, self.changed = state, dict[Any, Any](), set[Any]()

    def get(self, key: Any) -> Any:
        if key not in self.known:
            self.known[key] = self.state.get(str(key))
        return self.known[key]

    def set(self, key: Any, value: Any) -> None:
        self.known[key] = value
        self.changed.add(key)

    def write(self) -> None:
        for key in self.changed:
            self.state.set(str(key), self.known[key])


def handle(value: bytes, state: Any) -> bytes | None:
    once = Once(state)
    out = job.run(value, once)
    once.write()
    if job.messages == int(count):
        app.stop()  # it commits first: state, changelog, offsets
    return out


frames = app.dataframe(app.topic(source, value_deserializer="bytes"))
frames = frames.apply(handle, stateful=True).filter(lambda value: value is not None)
frames.to_topic(app.topic(sink, value_serializer="bytes"))
app.run()
job.report()
