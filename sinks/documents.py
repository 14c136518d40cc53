"""Messages as lines of a bulk request: where a document goes, its id, its text."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from datastalker.message import Message
from sinks.mapping import EXTRA, TIME

_FORMATS = {"day": "%Y.%m.%d", "month": "%Y.%m", "year": "%Y"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ID = 512  # bytes; Elasticsearch's own limit
_DAY = 86_400_000_000


class Documents:
    """Makes documents of messages. For several threads: what it remembers is only ever added to."""

    def __init__(
        self, index: str, period: str, stream: bool, known: dict[str, dict[str, Any]]
    ) -> None:
        """`known`: the fields by message type; "" for any other type."""
        self.index = index
        self.format = None if stream else _FORMATS.get(period)
        self.known = {kind: frozenset(fields) - {TIME, EXTRA} for kind, fields in known.items()}
        self._heads: dict[tuple[str, int], str] = {}
        self._encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode

    def lines(self, message: Message) -> tuple[str, str]:
        """The action and the document. Raises ValueError for what can't be a document."""
        kind = message.type
        timestamp = message.get("timestamp")
        if not isinstance(timestamp, int) or timestamp < 0:
            raise ValueError(f"it has no time that an index could go by: {timestamp!r}")
        known = self.known.get(kind) or self.known[""]
        document: dict[str, Any] = {TIME: _iso(timestamp)}
        extra: dict[str, Any] = {}
        for key, value in message.items():
            if key in known:
                document[key] = value
            elif value is not None:
                extra[str(key)] = _searchable(value)
        if extra:
            document[EXTRA] = extra
        text = self._encode(document)
        identity = message.get("id")
        if not isinstance(identity, str) or not identity:
            identity = hashlib.sha256(text.encode()).hexdigest()
        elif len(identity.encode("utf-8", "replace")) > _LONGEST_ID:
            identity = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._head(kind, timestamp)}{json.dumps(identity)}}}}}", text

    def _head(self, kind: str, timestamp: int) -> str:
        day = timestamp // _DAY if self.format else 0
        head = self._heads.get((kind, day))
        if head is None:
            name = "".join(c if c.isascii() and c.isalnum() else "_" for c in kind.lower())[:64]
            index = f"{self.index}-{name}"
            if self.format:
                index += f"-{(_EPOCH + timedelta(days=day)).strftime(self.format)}"
            head = f'{{"create":{{"_index":"{index}","_id":'
            if len(self._heads) > 10_000:
                self._heads.clear()
            self._heads[kind, day] = head
        return head


def _iso(timestamp: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=timestamp)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except OverflowError:
        raise ValueError(f"its time is beyond the year 9999: {timestamp}") from None


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def _searchable(value: Any) -> Any:
    """A value as the field `extra` takes it: no infinity, no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
