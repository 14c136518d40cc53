"""A server that answers as Kibana's documentation says of its saved objects API, over real sockets.

https://www.elastic.co/docs/api/doc/kibana: `POST /api/saved_objects/_import`, `GET /api/status`,
`GET /api/spaces/space/{id}`. What it keeps is what was imported, by space.
"""

from __future__ import annotations

import email
import email.policy
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Json = dict[str, Any]
Answer = tuple[int, Any]


def error(status: int, name: str, message: str) -> Answer:
    return status, {"statusCode": status, "error": name, "message": message}


class KibanaServer:
    """`objects`: by space, type and id. What it is made to do stands in its attributes."""

    def __init__(self, base: str = "", tls: Path | None = None, port: int = 0) -> None:
        self.base = base
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.spaces = {"default", "lab"}
        self.version = "8.19.21"
        self.starting = 0
        """So many answers it still gives that it is not ready yet."""
        self.allowed: set[str] | None = None
        """Authorization headers that are let in; None: nobody is asked."""
        self.may_write = True
        self.unknown_types: set[str] = set()
        self.full = False
        """Elasticsearch takes nothing any more."""
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = server.answer(self.command, self.path, self.headers, body)
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                if status == 302:
                    self.send_header("Location", "/login?next=%2F")
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Not in a test's output."""

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        scheme = "http"
        if tls is not None:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.http.server_address[1]}{base}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        self.asked.append(f"{method} {target}")
        if self.starting:
            self.starting -= 1
            return 503, "Kibana server is not ready yet"
        if self.allowed is not None and headers.get("Authorization") not in self.allowed:
            return error(401, "Unauthorized", "[security_exception]: unable to authenticate user")
        if not target.startswith(f"{self.base}/"):
            return error(404, "Not Found", "Not Found")
        url = urlsplit(target.removeprefix(self.base))
        space, path = "default", url.path
        if path.startswith("/s/"):
            _, _, space, rest = path.split("/", 3)
            path = f"/{rest}"
        if (method, path) == ("GET", "/api/status"):
            return 200, {
                "name": "kibana",
                "version": {"number": self.version, "build_snapshot": False},
                "status": {"overall": {"level": "available", "summary": "All services are up"}},
            }
        if method == "GET" and path.startswith("/api/spaces/space/"):
            name = path.rsplit("/", 1)[1]
            if name in self.spaces:
                return 200, {"id": name, "name": name.title(), "disabledFeatures": []}
            return error(404, "Not Found", "Not Found")
        if (method, path) == ("POST", "/api/saved_objects/_import"):
            if "kbn-xsrf" not in headers:
                return error(400, "Bad Request", "Request must contain a kbn-xsrf header.")
            if not self.may_write:
                return error(403, "Forbidden", "Unable to bulk_create dashboard")
            overwrite = parse_qs(url.query).get("overwrite") == ["true"]
            return self.take(space, _file(headers["Content-Type"], body), overwrite)
        return error(404, "Not Found", "Not Found")

    def take(self, space: str, lines: str, overwrite: bool) -> Answer:
        """Import: everything that can be resolved is, or nothing is made."""
        objects = [json.loads(line) for line in lines.splitlines()]
        here = {(o["type"], o["id"]) for o in objects}
        done: list[Json] = []
        errors: list[Json] = []
        for each in objects:
            about = {"type": each["type"], "id": each["id"], "meta": {
                "title": each["attributes"]["title"], "icon": "x"}}  # fmt: skip
            there = (space, each["type"], each["id"]) in self.objects
            missing = [
                {"type": r["type"], "id": r["id"]}
                for r in each["references"]
                if (r["type"], r["id"]) not in here
                and (space, r["type"], r["id"]) not in self.objects
            ]
            why: Json | None = None
            if each["type"] in self.unknown_types:
                why = {"type": "unsupported_type"}
            elif missing:
                why = {"type": "missing_references", "references": missing}
            elif there and not overwrite:
                why = {"type": "conflict"}
            elif self.full:
                why = {"type": "unknown", "statusCode": 507, "message": "disk is full"}
            if why is not None:
                errors.append({**about, "error": why})
            else:
                done.append({**about, "managed": False, **({"overwrite": True} if there else {})})
        if not {e["error"]["type"] for e in errors} & {"conflict", "missing_references"}:
            made = {(d["type"], d["id"]) for d in done}
            for each in objects:
                if (each["type"], each["id"]) in made:
                    self.objects[space, each["type"], each["id"]] = each
        answer: Json = {"success": not errors, "successCount": len(done), "warnings": []}
        if done:
            answer["successResults"] = done
        if errors:
            answer["errors"] = errors
        return 200, answer


def _file(kind: str, body: bytes) -> str:
    """The part `file` of a form, as a server reads it."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts()
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_filename().endswith(".ndjson")
    return part.get_payload(decode=True).decode()


@pytest.fixture
def kibana_server() -> Iterator[Callable[..., KibanaServer]]:
    """Starts servers: `kibana_server()`, `kibana_server(base="/kibana")`, `kibana_server(tls=…)`."""
    servers: list[KibanaServer] = []

    def make(**options: Any) -> KibanaServer:
        servers.append(KibanaServer(**options))
        return servers[-1]

    yield make
    for each in servers:
        each.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed but itself, with its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=kibana", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    subprocess.run(command, check=True, capture_output=True)
    whole = folder / "both.pem"
    whole.write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return whole
