"""Elasticsearch: the sink's documents/s, and those of a bare `helpers.parallel_bulk`.

`python -m bench.kafka_sink CONFIG TOPIC` stores the documents of a topic with parallel_bulk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, cast

from bench.process import ROOT, MissingError


def rate(command: list[str], url: str, index: str) -> tuple[int, float]:
    """Run what stores; how many documents, and documents/s from the first seen to the last."""
    samples: list[tuple[float, int]] = []
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        samples.append((time.perf_counter(), _indexed(url, index)))
        time.sleep(0.05)
    said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise MissingError(f"{command[1:4]} failed: {said[-300:]}")
    last = max((count for _, count in samples), default=0)
    begin = next(((at, count) for at, count in samples if count), None)
    end = next(((at, count) for at, count in samples if count == last), None)
    if begin is None or end is None or end[0] <= begin[0]:
        raise MissingError(f"nothing was seen to be stored: {said[-300:]}")
    return last, (end[1] - begin[1]) / (end[0] - begin[0])


def _indexed(url: str, index: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/{index}-*/_stats/indexing", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
    except OSError:
        return 0
    return int(found["_all"]["primaries"].get("indexing", {}).get("index_total", 0))


def bare(config_file: str, topic: str) -> None:
    """The documents as the sink makes them, ready in memory, with the sink's own templates."""
    from elasticsearch import Elasticsearch, helpers

    from bench.kafka_peers import records
    from datastalker import config as configuration
    from datastalker.message import FIELDS
    from datastalker.stats import Stats
    from datastalker.wire import decode_batch
    from sinks.consume import build_sink, find_sink
    from sinks.documents import Documents
    from sinks.elasticsearch import Elasticsearch as Sink
    from sinks.mapping import properties

    config = configuration.load(config_file)
    sink = cast(Sink, build_sink(config, find_sink(config, None), Stats()))
    sink.set_up()
    known = {kind: properties(kind, sink.added, sink.mapping) for kind in ("", *FIELDS)}
    documents = Documents(sink.index, sink.period, sink.data_stream, known)
    actions = []
    for record in records(config.kafka["bootstrap_servers"], topic):
        for message in decode_batch(record.value()).messages:
            action, source = map(json.loads, documents.lines(message))
            ((operation, where),) = action.items()
            actions.append({"_op_type": operation, "_source": source, **where})
    client = Elasticsearch(sink.hosts, request_timeout=60)
    bulk = helpers.parallel_bulk(
        client, actions, thread_count=sink.concurrency, chunk_size=sink.bulk_documents
    )
    for _ in bulk:
        pass
    time.sleep(0.3)  # so that who counts sees the last


def commands(config: Path, topic: str) -> dict[str, list[str]]:
    return {
        "sink": [sys.executable, "-m", "datastalker", "sink", "--drain", "-c", str(config)],
        "bare": [sys.executable, "-m", "bench.kafka_sink", str(config), topic],
    }


if __name__ == "__main__":
    bare(*sys.argv[1:3])
