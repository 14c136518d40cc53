"""Elasticsearch's side: bulk requests, and what the server says of each document."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from datastalker import extras
from datastalker.errors import OutputError, RetryLater
from datastalker.message import Message
from datastalker.stage import Refused
from sinks.documents import Documents

_BUSY = {429, 500, 502, 503, 504}
_FILTER = "items.*.status,items.*.error"


@dataclass
class Verdicts:
    """What became of some documents."""

    indexed: int = 0
    already_indexed: int = 0
    refused: list[Refused] = field(default_factory=list)
    later: list[Message] = field(default_factory=list)
    reason: str = ""
    """Why `later`."""
    fatal: OutputError | None = None

    def add(self, other: Verdicts) -> None:
        self.indexed += other.indexed
        self.already_indexed += other.already_indexed
        self.refused += other.refused
        self.later += other.later
        self.reason = self.reason or other.reason
        self.fatal = self.fatal or other.fatal


class Bulk:
    """The client, which speaks to servers 8 and 9."""

    def __init__(
        self,
        hosts: list[str],
        seconds: float,
        *,
        user: tuple[str | None, str | None] | None = None,
        api_key: str | None = None,
        ca: str | None = None,
        verify: bool = True,
    ) -> None:
        with extras.needs("elasticsearch", "elasticsearch"):
            import elasticsearch
        self._errors = elasticsearch
        # It tells every request at INFO, and each failure beside what the sink says of it
        for name, level in (("transport", logging.WARNING), ("node_pool", logging.ERROR)):
            theirs = logging.getLogger(f"elastic_transport.{name}")
            if theirs.level == logging.NOTSET:
                theirs.setLevel(level)
        self.at, self._seconds = ", ".join(hosts), seconds
        options: dict[str, Any] = {"request_timeout": seconds, "retry_on_timeout": False}
        options["max_retries"] = len(hosts) - 1  # another server, if there is one
        if user is not None:
            options["basic_auth"] = user
        if api_key is not None:
            options["api_key"] = api_key
        if any(host.startswith("https") for host in hosts):
            options["verify_certs"] = verify
            if ca is not None:
                options["ca_certs"] = ca
            if not verify:
                options["ssl_show_warn"] = False
        try:
            self._client = elasticsearch.Elasticsearch(hosts, **options)
        except (ValueError, OSError) as error:
            raise OutputError(f"elasticsearch: {self.at}: {error}") from error

    def close(self) -> None:
        self._client.close()

    def put_template(self, name: str, body: dict[str, Any]) -> str:
        """Make an index template, unless it is there as it should be: made, changed or unchanged.

        Raises RetryLater, OutputError.
        """
        found = self.template(name, body)
        if found == "as it should be":
            return "unchanged"
        try:
            self._client.indices.put_index_template(name=name, body=body)
        except Exception as error:
            raise self._named(error, f"index template '{name}'") from error
        return "changed" if found == "different" else "made"

    def template(
        self, name: str, body: dict[str, Any]
    ) -> Literal["missing", "different", "as it should be"]:
        """How an index template is, beside what it should be. Raises RetryLater, OutputError."""
        try:
            there = self._client.options(ignore_status=404).indices.get_index_template(name=name)
        except Exception as error:
            raise self._named(error, f"index template '{name}'") from error
        found = there.get("index_templates", []) if isinstance(there.body, dict) else []
        if not found:
            return "missing"
        same = _same(found[0]["index_template"], body)
        return "as it should be" if same else "different"

    def health(self) -> tuple[str, int, list[str]] | None:
        """The cluster's status (green, yellow, red), how many servers it has, and the versions of
        those. None: this user may not know. Raises RetryLater, OutputError."""
        try:
            told = self._client.cluster.health(timeout="3s")
            nodes = self._client.nodes.info(filter_path="nodes.*.version")
        except Exception as error:
            if getattr(error, "status_code", None) == 403:
                return None
            raise self._named(error, "to tell its health") from error
        versions = {str(node["version"]) for node in nodes.get("nodes", {}).values()}
        return str(told["status"]), int(told["number_of_nodes"]), sorted(versions)

    def write(self, messages: list[Message], documents: Documents) -> Verdicts:
        """Create the documents; never raises for what the server says."""
        found = Verdicts()
        sent: list[Message] = []
        lines: list[bytes] = []
        for message in messages:
            try:
                lines += documents.lines(message)
                sent.append(message)
            except (ValueError, TypeError, RecursionError) as error:
                found.refused.append(Refused(message, f"it can't be a document: {error}"))
        if sent:
            self._send(sent, lines, found, documents)
        return found

    def _send(
        self, sent: list[Message], lines: list[bytes], found: Verdicts, documents: Documents
    ) -> None:
        operations: Any = b"\n".join((*lines, b""))  # the client takes a ready body, too
        try:
            answer = self._client.bulk(operations=operations, filter_path=_FILTER)
        except Exception as raised:
            if getattr(raised, "status_code", None) == 413:
                self._too_large(sent, found, documents)
                return
            error = self._named(raised, "a bulk request")
            if isinstance(error, RetryLater):
                found.later, found.reason = sent, str(error)
            else:
                found.fatal = error
            return
        for message, item in zip(sent, answer["items"], strict=True):
            ((_, verdict),) = item.items()
            status = verdict["status"]
            if status < 300:
                found.indexed += 1
            elif status == 409:
                found.already_indexed += 1
            elif status == 400 and verdict["error"].get("type") != "validation_exception":
                found.refused.append(Refused(message, _said(verdict["error"])))
            else:  # the server's or the index's trouble, not the document's
                found.later.append(message)
                text = f"elasticsearch: {self.at} says {status}: {_said(verdict.get('error'))}"
                found.reason = found.reason or text

    def _too_large(self, sent: list[Message], found: Verdicts, documents: Documents) -> None:
        if len(sent) == 1:
            found.refused.append(Refused(sent[0], "the document is larger than the server takes"))
            return
        half = len(sent) // 2
        found.add(self.write(sent[:half], documents))
        found.add(self.write(sent[half:], documents))

    def _named(self, error: Exception, what: str) -> OutputError:
        """What went wrong with a request: to be tried again, or not."""
        status = getattr(error, "status_code", None)
        at = f"elasticsearch: {self.at}"
        if isinstance(error, self._errors.UnsupportedProductError):
            return OutputError(f"{at}: what answers is no Elasticsearch; correct 'hosts'")
        if status is None and isinstance(error, self._errors.TransportError):
            said = str(error)
            reason = str(error.message)  # of a TLS error `said` has nothing
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                return OutputError(
                    f"{at}: the server's certificate can't be trusted ({reason}); give the file "
                    "with the certificate of who signed it as 'ca', and in 'hosts' a name that it "
                    "is for"
                )
            if isinstance(error, self._errors.ConnectionTimeout) and _connected(error):
                return RetryLater(
                    f"{at} takes requests and did not answer within {self._seconds:g} s: it is busy, or "
                    "hangs; give it less at a time (concurrency, bulk_documents) or longer "
                    "(timeout_seconds)",
                    1.0,
                )
            return RetryLater(f"{at} can't be reached, correct 'hosts' or start it: {said}", 1.0)
        if status in _BUSY:
            return RetryLater(f"{at} answers {status}: {error}", 1.0)
        if status in (401, 403):
            remedy = "correct username and password, or api_key" if status == 401 else (
                "give that user the right: create_doc and auto_configure on the indices, "
                "manage_index_templates on the cluster (or setup: false)"
            )  # fmt: skip
            return OutputError(f"{at} refuses {what} ({status}): {remedy}")
        return OutputError(f"{at} refuses {what}: {error}")


def _connected(error: Exception) -> bool:
    """Was it the answer that took too long, and not the connection?"""
    return type(error.__cause__).__name__ == "ReadTimeoutError"


def _said(error: Any) -> str:
    """An item's error in a line: the innermost cause too, which tells the field."""
    if not isinstance(error, dict):
        return str(error)
    text = f"{error.get('type')}: {error.get('reason')}"
    cause = error.get("caused_by")
    return f"{text} ({cause.get('type')}: {cause.get('reason')})" if cause else text


def _same(there: Any, wanted: Any) -> bool:
    """Whether the server has what is wanted; it may say more, such as its defaults."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            key in there and _same(there[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list) and len(there) == len(wanted) and all(map(_same, there, wanted))
        )
    return str(there).lower() == str(wanted).lower()
