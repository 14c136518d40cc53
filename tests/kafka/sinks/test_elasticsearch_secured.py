"""Elasticsearch behind TLS and a password or key, and data streams.

The server of the tests has neither security nor data streams; what stands in front of it here speaks
TLS with a certificate of its own, lets in whom it knows, and keeps from the server that a template is
one of a data stream. All else is the server's.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from datastalker.errors import OutputError
from datastalker.testing import START, build, frame
from infra.local import Elasticsearch

Run = Callable[..., Any]
BASIC = "Basic " + base64.b64encode(b"elastic:open-sesame").decode()
KEY = "ApiKey a2V5OnNlY3JldA=="


class Gate:
    """TLS in front of a server. `asked`: requests that were let in; `turned_away`: how many not."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.ca, gate = target, folder / "ca.pem", self
        self.asked: list[tuple[str, str, bytes]] = []
        self.turned_away = 0
        key = folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=elasticsearch", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, text = gate.serve(self.command, self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.elasticsearch+json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if headers.get("Authorization") not in (BASIC, KEY):
            self.turned_away += 1
            said = {"type": "security_exception", "reason": "unable to authenticate"}
            return 401, json.dumps({"error": said, "status": 401}).encode()
        self.asked.append((method, path, body))
        if "_index_template" in path and body:
            document = json.loads(body)
            document.pop("data_stream", None)
            body = json.dumps(document).encode()
        kept = {k: v for k, v in headers.items() if k.lower() in ("content-type", "accept")}
        try:
            request = Request(self.target + path, body or None, kept, method=method)
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def gate(elasticsearch: Elasticsearch, tmp_path: Path) -> Iterator[Gate]:
    made = Gate(elasticsearch.url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(gate: Gate) -> Run:
    """Stores ten frames through the gate; gives the pipeline, which has run."""

    def store(index: str, **options: Any) -> Any:
        whole = {"hosts": [gate.url], "index": index, "replicas": 0, **options}
        pipeline = build([{"elasticsearch": whole}], [frame(n, id=f"{n}") for n in range(10)])
        pipeline.run()
        return pipeline

    return store


def found(elasticsearch: Elasticsearch, index: str) -> int:
    urlopen(Request(f"{elasticsearch.url}/{index}*/_refresh", method="POST"), timeout=60).close()
    with urlopen(f"{elasticsearch.url}/{index}*/_count", timeout=60) as answer:
        return int(json.load(answer)["count"])


@pytest.mark.parametrize(
    "who", [{"username": "elastic", "password": "open-sesame"}, {"api_key": "a2V5OnNlY3JldA=="}]
)
def test_who_has_a_password_or_a_key_is_let_in(
    gate: Gate, run: Run, elasticsearch: Elasticsearch, who: dict[str, str]
) -> None:
    index = "secured-" + next(iter(who)).replace("_", "-")
    run(index, ca=str(gate.ca), **who)
    assert (found(elasticsearch, index), gate.turned_away) == (10, 0)


def test_a_wrong_password_is_said_and_not_shown(gate: Gate, run: Run) -> None:
    with pytest.raises(OutputError) as raised:
        run("secured-wrong", ca=str(gate.ca), username="elastic", password="not-this")
    assert f"{gate.url} refuses" in str(raised.value)
    assert "not-this" not in str(raised.value)
    assert gate.asked == []


def test_a_certificate_of_nobody_known_is_refused_before_a_password_is_sent(
    gate: Gate, run: Run
) -> None:
    with pytest.raises(OutputError, match=r"certificate can't be trusted .* as 'ca'"):
        run("secured-unknown", username="elastic", password="open-sesame")
    assert (gate.asked, gate.turned_away) == ([], 0)


def test_any_certificate_is_taken_where_none_is_to_be_verified(gate: Gate, run: Run) -> None:
    pipeline = run("secured-any", verify_certificates=False, api_key=KEY.split()[1])
    assert pipeline.stats.get("elasticsearch/indexed") == 10


def test_a_data_stream_is_asked_for_and_gets_what_it_needs_of_a_document(
    gate: Gate, run: Run, elasticsearch: Elasticsearch
) -> None:
    pipeline = run("streams", data_stream=True, ca=str(gate.ca), api_key=KEY.split()[1])
    templates = {
        path.partition("?")[0].rsplit("/", 1)[1]: json.loads(body)
        for method, path, body in gate.asked
        if method == "PUT" and "_index_template" in path
    }
    assert templates["streams-frame"]["data_stream"] == {}
    assert templates["streams-frame"]["index_patterns"] == ["streams-frame"]
    mapped = templates["streams-frame"]["template"]["mappings"]["properties"]
    assert mapped["@timestamp"] == {"type": "date_nanos"}

    (bulk,) = [body for _, path, body in gate.asked if "_bulk" in path]
    lines = [json.loads(line) for line in bulk.splitlines()]
    assert lines[0] == {"create": {"_index": "streams-frame", "_id": "0"}}
    assert lines[1]["timestamp"] == START
    assert lines[1]["@timestamp"].startswith("2026-03-02T")
    assert pipeline.stats.get("elasticsearch/indexed") == 10
    assert found(elasticsearch, "streams") == 10
