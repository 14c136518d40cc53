"""Faust as its manual shows it, one frame a message: SERVERS SOURCE SINK MESSAGES FOLDER JOB.

What was heard is in a Table: in memory, with its changelog.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import faust
from job import Job

servers, source, sink, count, folder, job_name = sys.argv[1:]
job = Job(Path(folder), whole=job_name == "whole")
app = faust.App(
    sink,
    broker=f"kafka://{servers}",
    store="memory://",
    datadir=f"{folder}/data",
    topic_partitions=1,
    web_enabled=False,
    worker_redirect_stdouts=False,
)
frames = app.topic(source, value_type=bytes, value_serializer="raw")
results = app.topic(sink, value_type=bytes, value_serializer="raw")
heard = app.Table("heard", key_type=str, value_type=int, partitions=1)


class State:
    """The Table, by keys of text."""

    def get(self, key: Any) -> Any:
        return heard.get(str(key))

    def set(self, key: Any, value: Any) -> None:
        heard[str(key)] = value


@app.agent(frames)
async def dedupe(stream: Any) -> None:
    state = State()
    async for value in stream:
        out = job.run(value, state)
        if out is not None:
            await results.send(value=out)
        if job.messages == int(count):
            await app.producer.flush()
            job.report()
            os._exit(0)


sys.argv[1:] = ["worker", "--loglevel", "error"]
app.main()
