"""Bytewax: SERVERS SOURCE SINK MESSAGES FOLDER JOB, with recovery on.

State is kept by partition, and the whole of it goes into a snapshot every ten seconds, which is
Bytewax's default; so what no copy can come of any more is forgotten here now and then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from job import WINDOW, Job

servers, source, sink, _, folder, job_name = sys.argv[1:]
job = Job(Path(folder), whole=job_name == "whole")
recovery = Path(folder, "recovery")
recovery.mkdir()
init_db_dir(recovery, 1)


class State:
    """A dict with `set`."""

    def __init__(self, known: dict[Any, Any]) -> None:
        self.get, self.set = known.get, known.__setitem__


def handle(known: dict[Any, Any] | None, value: bytes) -> tuple[dict[Any, Any], list[bytes]]:
    known = known or {}
    out = job.run(value, State(known))
    if job.messages % 100 == 0:
        times = [value for value in known.values() if isinstance(value, int)]
        old = max(times, default=0) - 2 * WINDOW
        known = {k: v for k, v in known.items() if not isinstance(v, int) or v > old}
    return known, [] if out is None else [out]


def keyed(message: KafkaSourceMessage[Any, Any]) -> tuple[str, bytes]:
    return str(message.partition), message.value


flow = Dataflow("job")
frames = kafka.input("in", flow, brokers=[servers], topics=[source], tail=False)
results = op.stateful_flat_map("job", op.map("key", frames.oks, keyed), handle)
messages = op.map("out", results, lambda result: KafkaSinkMessage(result[0].encode(), result[1]))
kafka.output("to", messages, brokers=[servers], topic=sink)
cli_main(flow, recovery_config=RecoveryConfig(recovery))
job.report()
