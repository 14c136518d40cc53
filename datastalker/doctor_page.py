"""What `stalk doctor` looks at for the page of a process: is its port free?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

from datastalker.finding import Check, Finding, ok, warning
from datastalker.pages import Where


def checks(about: str, where: Where) -> list[Check]:
    """Whether the process that serves this page can listen there; nothing where it serves none."""
    if not where.port:
        return []
    remedy = f"is {where.setting}: http_host an address of this machine?"
    return [Check(about, partial(_port, about, where), remedy)]


def _port(about: str, where: Where) -> Iterator[Finding]:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    port = f"port {where.port} of {where.host}"
    try:
        with socket.create_server((where.host, where.port or 0), family=family):
            yield ok(about, f"{port} is free for /livez, /readyz, /metrics")
    except OSError as error:
        remedy = f"fine if `{where.runs}` runs; else change {where.setting}: http_port or http_host"
        yield warning(about, f"{port} can't be taken", error.strerror or str(error), remedy)
