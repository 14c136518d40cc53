"""What `stalk doctor` looks at for workers: is the port free on which they tell their health?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

from datastalker.config import Config
from datastalker.finding import Check, Finding, ok, warning
from datastalker.segments import Segment


def checks(config: Config, segment: Segment) -> list[Check]:
    """What a worker of this segment needs beside topics."""
    host, port = config.workers["http_host"], config.workers["http_port"]
    if segment.role != "worker" or not port or segment.number > 1:  # the same port for all
        return []
    remedy = "is workers: http_host an address of this machine?"
    return [Check("worker", partial(_port, host, port), remedy)]


def _port(host: str, port: int) -> Iterator[Finding]:
    try:
        with socket.create_server((host, port), family=_family(host)):
            yield ok("worker", f"port {port} of {host} is free for /livez, /readyz, /metrics")
    except OSError as error:
        remedy = "fine if it is a worker that runs; else change workers: http_port or http_host"
        text = error.strerror or str(error)
        yield warning("worker", f"port {port} of {host} can't be taken", text, remedy)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
