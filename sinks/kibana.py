"""Kibana's side of the dashboards: the saved objects that are shipped, and importing them.

Objects are imported by Kibana's own API in one request, under fixed ids: doing it again replaces
them and adds none.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import datastalker
from datastalker import extras
from datastalker.errors import OutputError

OLDEST = (8, 9)
"""The version of Kibana whose shape the objects have; each later one migrates them."""

PREFIX = "datastalker"
"""What the indices' names begin with in the files."""

_PACKAGE = Path(datastalker.__file__).parent
_FOLDERS = _PACKAGE / "data" / "kibana", _PACKAGE.parent / "infra" / "kibana"
_ASK_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_TITLE = re.compile(rf"\b{PREFIX}-(\w+\*)")

Json = dict[str, Any]


def shipped() -> list[Path]:
    """The files with the objects: of the installed package, or of the checkout."""
    for folder in _FOLDERS:
        if found := sorted(folder.glob("*.ndjson")):
            return found
    raise OutputError("the dashboards are missing in this installation; install DataStalker anew")


def read(paths: Iterable[Path], index: str = PREFIX) -> list[Json]:
    """The objects of some files, each once; for indices whose names begin with `index`."""
    found: dict[tuple[str, str], Json] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            each = json.loads(line)
            found.setdefault((each["type"], each["id"]), _for(each, index))
    return list(found.values())


def _for(each: Json, index: str) -> Json:
    if index == PREFIX:
        return each
    attributes = each["attributes"]
    key = {"index-pattern": "title", "visualization": "visState"}.get(each["type"])
    if key is None:
        return each
    renamed = _TITLE.sub(lambda match: f"{index}-{match[1]}", attributes[key])
    return {**each, "attributes": {**attributes, key: renamed}}


@dataclass
class Outcome:
    """What became of objects, each as (type, id, title, what was done or why it was not)."""

    installed: list[tuple[str, str, str, str]] = field(default_factory=list)
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _RefusedError(OutputError):
    """Nothing listens there, now."""


class Kibana:
    """A Kibana, and one of its spaces."""

    def __init__(
        self,
        url: str,
        *,
        space: str = "default",
        username: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        ca: str | None = None,
        verify_certificates: bool = True,
        timeout_seconds: float = 120.0,
    ) -> None:
        """Raises DataStalkerError where a package is missing, OutputError where there is no `ca`."""
        with extras.needs("kibana", "elasticsearch"):
            import urllib3
        self._http = urllib3
        self.url, self.space = url.rstrip("/"), space
        self._path = "" if space == "default" else f"/s/{space}"
        self._timeout = timeout_seconds
        self._headers = {"kbn-xsrf": "true", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"ApiKey {api_key}"
        elif username:
            basic = urllib3.make_headers(basic_auth=f"{username}:{password}")
            self._headers["Authorization"] = basic["authorization"]
        if ca is not None:
            try:
                Path(ca).read_bytes()
            except OSError as error:
                text = f"kibana: '{ca}', which 'ca' names, can't be read: {error.strerror}"
                raise OutputError(text) from error
        if not verify_certificates:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED" if verify_certificates else "CERT_NONE", ca_certs=ca
        )

    def close(self) -> None:
        self._pool.clear()

    def wait(self, seconds: float, tell: Callable[[str], None] = lambda text: None) -> str:
        """Its version, as soon as it is ready; "" where it keeps that to itself.

        `tell` is told once that it is waited for. Raises OutputError where it isn't ready, or nothing
        listens there, after `seconds`; and where it refuses, is too old, or is no Kibana.
        """
        until = time.monotonic() + seconds
        waiting = False
        while True:
            over = time.monotonic() >= until
            try:
                status, body = self._ask("GET", "/api/status", _ASK_SECONDS)
            except _RefusedError:  # as one does that is just starting
                if over:
                    raise
                how = "where nothing listens yet"
            else:
                if status != 503:
                    break
                if over:
                    raise OutputError(
                        f"{self._at} is not ready after {seconds:g} s ({_said(body) or 503}); give "
                        "it longer with --wait, or look into its log"
                    )
                how = "which is not ready yet"
            if not waiting:
                waiting = True
                tell(f"waits for {self.url}, {how}")
            time.sleep(min(_AGAIN_SECONDS, max(0.0, until - time.monotonic())))
        if status in (401, 403, 404) or isinstance(body, dict):
            self._require(status, body, "to tell its status")
        if not isinstance(body, dict) or not {"status", "version"} & body.keys():
            raise OutputError(f"{self._at}: what answers is no Kibana; correct the URL")
        version = body.get("version")
        number = str(version.get("number", "")) if isinstance(version, dict) else ""
        parts = re.match(r"(\d+)\.(\d+)", number)
        if parts and (int(parts[1]), int(parts[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise OutputError(
                f"{self._at} is of version {number}, and the dashboards need {oldest} or later"
            )
        return number

    def install(self, objects: list[Json], *, overwrite: bool = True) -> Outcome:
        """Import objects. Without `overwrite`, Kibana changes nothing if one is there already.

        What it says of single objects is in what this gives. Raises OutputError.
        """
        self._require_space()
        lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
        file = ("datastalker.ndjson", lines.encode(), "application/ndjson")
        body, kind = self._http.encode_multipart_formdata({"file": file})
        path = f"{self._path}/api/saved_objects/_import?overwrite={str(overwrite).lower()}"
        status, answer = self._ask("POST", path, self._timeout, body, kind)
        self._require(status, answer, "the dashboards")
        if not isinstance(answer, dict) or "success" not in answer:
            raise OutputError(f"{self._at}: it gave no answer that can be understood: {answer!r}")
        outcome = Outcome(warnings=[_said(w) for w in answer.get("warnings") or ()])
        titles = {(o["type"], o["id"]): o["attributes"]["title"] for o in objects}
        for each in answer.get("successResults") or ():
            outcome.installed.append(_row(each, titles, _done(each)))
        for each in answer.get("errors") or ():
            outcome.refused.append(_row(each, titles, _why(each.get("error") or {})))
        if not answer["success"] and not outcome.refused:
            raise OutputError(f"{self._at} did not import everything, and does not say why")
        return outcome

    def _require_space(self) -> None:
        """Kibana imports into a space that isn't there without a word."""
        if not self._path:
            return
        status, body = self._ask("GET", f"/api/spaces/space/{self.space}", _ASK_SECONDS)
        if status == 404:
            raise OutputError(
                f"{self._at} has no space '{self.space}'; make it (Stack Management, Spaces), or "
                "correct the space: its identifier counts, not its name"
            )
        if status != 403:  # who may not look may yet import
            self._require(status, body, f"to look for space '{self.space}'")

    @property
    def _at(self) -> str:
        return f"kibana: {self.url}"

    def _ask(
        self, method: str, path: str, seconds: float, body: bytes | None = None, kind: str = ""
    ) -> tuple[int, Any]:
        """Status and answer: what JSON says, else text."""
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        errors = self._http.exceptions
        try:
            answer = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=headers,
                timeout=self._http.Timeout(connect=_ASK_SECONDS, read=seconds),
                retries=False,
                redirect=False,
            )
        except (errors.HTTPError, ValueError, OSError) as error:
            refused = isinstance(error.__cause__ or error, ConnectionRefusedError)
            raise (_RefusedError if refused else OutputError)(self._unreachable(error)) from error
        if 300 <= answer.status < 400:
            to = answer.headers.get("Location", "")
            raise OutputError(
                f"{self._at} sends us on to {to!r}; give the URL at which Kibana itself answers, "
                "with its base path (server.basePath) if it has one"
            )
        try:
            return answer.status, json.loads(answer.data)
        except ValueError:
            return answer.status, answer.data[:300].decode("utf-8", "replace").strip()

    def _unreachable(self, error: Exception) -> str:
        said = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in said:
            return (
                f"{self._at}: its certificate can't be trusted; give the file with the certificate "
                f"of who signed it as 'ca', and in the URL a name that it is for ({said})"
            )
        if isinstance(error, self._http.exceptions.SSLError):
            scheme = "; does it speak plain http://?" if "WRONG_VERSION" in said else ""
            return f"{self._at}: TLS fails{scheme} ({said})"
        secure = urlsplit(self.url).scheme == "http" and "ProtocolError" in type(error).__name__
        hint = "; does it speak https://?" if secure else ""
        return f"{self._at} can't be reached; correct the URL or start Kibana{hint} ({said})"

    def _require(self, status: int, body: Any, what: str) -> None:
        """Raise OutputError unless it said yes."""
        if status < 300:
            return
        said = _said(body)
        if status == 401:
            known = "Authorization" in self._headers
            remedy = (
                "correct username and password, or api_key"
                if known
                else "give username and password, or api_key"
            )
            raise OutputError(f"{self._at} lets nobody in without a right password (401): {remedy}")
        if status == 403:
            raise OutputError(
                f"{self._at} refuses {what} (403): that user needs the right to Saved Objects "
                f"Management and to what is imported, as the role kibana_admin has it ({said})"
            )
        if status in (404, 405):  # 405: Elasticsearch
            raise OutputError(
                f"{self._at} has no such page ({status}): it is no Kibana, or it has a base path, "
                "which belongs to the URL; Kibana's port is 5601 as a rule"
            )
        raise OutputError(f"{self._at} refuses {what} ({status}): {said}")


def _said(body: Any) -> str:
    """What an answer says in words."""
    if isinstance(body, dict):
        if isinstance(body.get("message"), str):
            return str(body["message"])
        status = body.get("status")
        overall = status.get("overall") if isinstance(status, dict) else None
        if isinstance(overall, dict):
            return str(overall.get("summary") or overall.get("level") or "")
    return body if isinstance(body, str) else ""


def _row(each: Json, titles: dict[tuple[str, str], str], text: str) -> tuple[str, str, str, str]:
    kind, name = str(each.get("type")), str(each.get("id"))
    return kind, name, titles.get((kind, name), name), text


def _done(each: Json) -> str:
    done = "replaced" if each.get("overwrite") else "made"
    other = each.get("destinationId")
    return f"{done}, as {other}" if other else done


def _why(error: Json) -> str:
    """Why an object was refused, and what to do."""
    kind = error.get("type")
    if kind == "conflict":
        return "it is there already; leave --no-overwrite out to replace it"
    if kind == "ambiguous_conflict":
        ids = ", ".join(str(d.get("id")) for d in error.get("destinations") or ())
        return f"several objects of this space came from it ({ids}); delete all but one"
    if kind == "missing_references":
        names = [f"{r.get('type')} {r.get('id')}" for r in error.get("references") or ()]
        return f"it refers to what is not there: {', '.join(names)}"
    if kind == "unsupported_type":
        return "this Kibana knows no objects of that type"
    if kind == "missing_privilege" or error.get("statusCode") == 403:
        return f"that user may not write it: {error.get('message')}"
    status = f" ({error['statusCode']})" if error.get("statusCode") else ""
    return f"{error.get('message') or kind}{status}"
