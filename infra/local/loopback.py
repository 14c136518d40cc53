"""Free TCP ports on loopback, found by binding them; and HTTP to what answers there."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener


def free_ports(wanted: Iterable[int | None]) -> list[int]:
    """A free port for each: the wanted one where it is free, else any.

    Others come from below the range that outgoing connections use: from it, a client that keeps
    trying a stopped server's port would one day get that very port as its own, connect to itself
    and keep the server from coming back.
    """
    bound = [_bind(port) for port in wanted]
    ports = [held.getsockname()[1] for held in bound]
    for held in bound:
        held.close()
    return ports


def _bind(wanted: int | None) -> socket.socket:
    first = _first_outgoing()
    low, high = (10_000, first) if first > 12_000 else (40_000, 65_536)
    tries = [random.randrange(low, high) for _ in range(50)]
    for port in [*([wanted] if wanted else []), *tries, 0]:
        bound = socket.socket()
        # As the servers do, so that what old connections left behind does not count as taken
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", port))
            bound.listen()
        except OSError:
            bound.close()
        else:
            return bound
    raise OSError("no free TCP port on 127.0.0.1")


def _first_outgoing() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def http_status(url: str, seconds: float = 5) -> int | None:
    """What a GET is answered with, whatever proxy is set; None without an answer."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=seconds) as answer:
            answer.read()
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except (OSError, HTTPException):
        return None
