"""The page of a process: /livez, /readyz, /metrics and /tap, in threads of their own.

They answer while the process is busy, and when it hangs: what they show is read from counters that
are kept anyway. The standard library's HTTP server would bring OpenSSL, 6 MiB on a sensor node.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from datastalker import __version__
from datastalker.errors import OutputError
from datastalker.metrics import Sample, process_samples, render

if TYPE_CHECKING:
    from datastalker.tapping import Place, Taps

log = logging.getLogger("datastalker.page")

_MOST_BYTES = 16_384  # of a request
_MOST_REQUESTS = 16  # at a time
_SECONDS = 10.0
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_SAID = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Answer = tuple[int, str, bytes | Iterator[bytes]]
"""Code, kind of content, content; an iterator: sent piece by piece."""


@dataclass(frozen=True)
class Health:
    """`trouble`: why the process can't be trusted to go on, or nothing."""

    ready: bool
    phase: str
    trouble: str = ""


class Asked(NamedTuple):
    """A request. `host`: whom it was meant for; `peer`: the address it comes from."""

    path: str
    query: dict[str, str]
    host: str
    peer: str


def _running() -> Health:
    return Health(True, "running")


@dataclass
class Page:
    """What a process shows of itself. `role`: agent, run, worker or sink; `part`: which one."""

    role: str
    pipeline: str
    part: str
    samples: Callable[[], Iterable[Sample]]
    health: Callable[[], Health] = _running
    places: Callable[[], Iterable[Place]] = tuple
    """Where messages can be looked at while they pass; asked again and again, since they change."""
    tap_remote: bool = False
    _taps: Taps | None = None

    def all_samples(self) -> list[Sample]:
        """Everything. What is counted while this reads may be read again, but not torn."""
        info = {"version": __version__, "role": self.role}
        info |= {"pipeline": self.pipeline, "part": self.part}
        for attempt in range(5):
            try:
                found = list(self.samples())
                break
            except RuntimeError:  # a mapping got a new key meanwhile
                if attempt == 4:
                    raise
        return [
            ("datastalker_info", info, 1),
            ("datastalker_ready", {}, self.health().ready),
            *process_samples(),
            *found,
        ]

    def answer(self, asked: Asked) -> Answer:
        """What a path shows."""
        path = asked.path
        if path in ("/tap", "/taps"):
            return self._tap(asked)
        if path == "/metrics":
            samples = self.all_samples()
            if asked.query.get("format") == "json":
                import json

                keys = ("name", "labels", "value")
                named = [dict(zip(keys, sample, strict=True)) for sample in samples]
                return 200, _JSON, json.dumps(named).encode()
            return 200, _METRICS, render(samples).encode()
        if path in ("/livez", "/readyz"):
            health = self.health()
            if path == "/livez":
                text, good = health.trouble or "alive", not health.trouble
            else:
                text, good = health.trouble or health.phase, health.ready
            return (200 if good else 503), _TEXT, f"{text}\n".encode()
        return 404, _TEXT, b"there are /livez, /readyz, /metrics, /taps and /tap\n"

    def _tap(self, asked: Asked) -> Answer:
        """Messages are private: they go to this machine alone, and to no page of a browser that
        was led here by a name of its own."""
        if not self.tap_remote and not (_is_local(asked.peer) and _is_local(asked.host)):
            text = "messages are shown to this machine alone (tap_remote: true changes that)\n"
            return 403, _TEXT, text.encode()
        from datastalker import tapping

        taps = self._taps = self._taps or tapping.Taps(self.places)
        try:
            if asked.path == "/taps":
                return 200, _JSON, tapping.encode(taps.names()).encode()
            return 200, _LINES, taps.stream(asked.query)
        except tapping.TooManyError as error:
            return 503, _TEXT, f"{error}\n".encode()
        except ValueError as error:
            return 400, _TEXT, f"{error}\n".encode()


def _is_local(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def serve(page: Page, host: str, port: int, setting: str) -> Server:
    """Answer until it is closed, or the process ends.

    `setting`: where host and port stand in the configuration. Raises OutputError where nobody can
    listen there.
    """
    try:
        server = Server(page, host, port)
    except OSError as error:
        raise OutputError(
            f"{setting}: http_host and http_port: can't listen on {host}:{port} "
            f"({error.strerror or error}); each process of a machine needs its own port, or null"
        ) from None
    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    log.info("health and metrics on %s", server.url)
    return server


class Server(socketserver.ThreadingTCPServer):
    """A page that is being served."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, page: Page, host: str, port: int) -> None:
        self.page, self.host = page, host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        super().__init__((host, port), _Request)

    @property
    def url(self) -> str:
        """Where it is found."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request was not answered", exc_info=True)

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()


class _Request(socketserver.StreamRequestHandler):
    server: Server
    timeout = _SECONDS

    def handle(self) -> None:
        try:
            asked = self._read()
            code, kind, content = (
                self.server.page.answer(asked) if asked else (400, _TEXT, b"only GET is answered\n")
            )
        except (OSError, UnicodeError):
            return
        except Exception as error:
            log.exception("the page can't be shown")
            code, kind, content = 500, _TEXT, f"{type(error).__name__}: see the log\n".encode()
        head = f"HTTP/1.1 {code} {_SAID[code]}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        head += "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        if isinstance(content, bytes):
            head += f"Content-Length: {len(content)}\r\n\r\n"
            self._send(head.encode() + content)
            return
        try:
            self._send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for piece in content:
                self._send(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._send(b"0\r\n\r\n")
        finally:
            content.close()  # type: ignore[attr-defined]

    def _send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _read(self) -> Asked | None:
        """The request; None: it is none that is answered."""
        left = _MOST_BYTES
        lines = []
        while left > 0 and (line := self.rfile.readline(left)).strip():
            left -= len(line)
            lines.append(line.decode("latin-1").strip())
        words = lines[0].split() if lines else []
        if left <= 0 or len(words) != 3 or words[0] != "GET":
            return None
        try:
            target = urlsplit(words[1])
        except ValueError:
            return None
        headers = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Asked(target.path, query, headers.get("host", "").strip(), self.client_address[0])
