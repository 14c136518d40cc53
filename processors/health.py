"""/livez, /readyz and /metrics, and the watchdog: in threads of their own, so that they answer, and
end the process, when its event loop stands still."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from datastalker.errors import OutputError
from processors.status import Status

log = logging.getLogger("datastalker.worker")

GRACE_SECONDS = 5.0
"""For how long a worker in trouble is unready before it exits: time to see it, or to recover."""


def serve(status: Status, host: str, port: int) -> ThreadingHTTPServer:
    """Answer until the process ends. Raises OutputError where that isn't possible."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            trouble = status.trouble()
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, status.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            elif path == "/livez":
                self._answer(503 if trouble else 200, f"{trouble or 'alive'}\n")
            elif path == "/readyz":
                self._answer(200 if status.ready else 503, f"{trouble or status.phase}\n")
            else:
                self._answer(404, "there are /livez, /readyz and /metrics\n")

        def _answer(self, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not a line for each scrape."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise OutputError(
            f"workers.http_host and http_port: can't listen on {host}:{port} ({error.strerror}); "
            "each worker of a machine needs its own, or null"
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    log.info("health and metrics on http://%s:%d", host, server.server_address[1])
    return server


def watch(status: Status, end: Callable[[str], None]) -> None:
    """Call `end` with the reason once the worker has been in trouble for long enough."""

    def look() -> None:
        since: float | None = None
        while True:
            time.sleep(min(1.0, status.stall_seconds / 5))
            trouble = status.trouble()
            if not trouble:
                since = None
            elif since is None:
                since = time.monotonic()
                log.error("unready: %s", trouble)
            elif time.monotonic() - since > GRACE_SECONDS:
                end(trouble)

    threading.Thread(target=look, name="watchdog", daemon=True).start()


def die(reason: str, code: int = 1) -> None:
    """End the process at once: nothing that is in hand is acked, so it is done again elsewhere."""
    log.critical("the worker ends: %s", reason)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
