"""Messages as lines of a bulk request: where a document goes, its id, its text."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from datastalker.message import Message
from sinks.mapping import EXTRA, TIME

try:
    import orjson
except ImportError:  # no wheel for this machine: the standard library writes the same documents
    orjson = None  # type: ignore[assignment]

_FORMATS = {"day": "%Y.%m.%d", "month": "%Y.%m", "year": "%Y"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ID = 512  # bytes; Elasticsearch's own limit
_DAY = 86_400_000_000
_TIME = TIME.encode()
_SHAPES, _SECONDS = 4_096, 4_096  # that are remembered


class Documents:
    """Makes documents of messages. For several threads: what it remembers can be made again."""

    def __init__(
        self, index: str, period: str, stream: bool, known: dict[str, dict[str, Any]]
    ) -> None:
        """`known`: the fields by message type; "" for any other type."""
        self.index = index
        self.format = None if stream else _FORMATS.get(period)
        self.known = {kind: frozenset(fields) - {TIME, EXTRA} for kind, fields in known.items()}
        self._heads: dict[tuple[str, int], str] = {}
        self._seconds: dict[int, str] = {}
        self._shapes: dict[tuple[str, tuple[str, ...]], bool] = {}
        if orjson is not None:
            self._options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
        self._encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode

    def lines(self, message: Message) -> tuple[bytes, bytes]:
        """The action and the document. Raises ValueError for what can't be a document."""
        kind = message.type
        timestamp = message.get("timestamp")
        if not isinstance(timestamp, int) or timestamp < 0:
            raise ValueError(f"it has no time that an index could go by: {timestamp!r}")
        time = self._iso(timestamp)
        identity = message.get("id")
        if isinstance(identity, str) and identity:
            text = self._fast(kind, message, time) or self._text(kind, message, time).encode()
            if len(identity.encode("utf-8", "replace")) > _LONGEST_ID:
                identity = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        else:  # of the same text, whichever way is taken: the document is known again by it
            text = self._text(kind, message, time).encode()
            identity = hashlib.sha256(text).hexdigest()
        return f"{self._head(kind, timestamp)}{self._encode(identity)}}}}}".encode(), text

    def _fast(self, kind: str, message: Message, time: str) -> bytes | None:
        """What `_text` says, in other words; None where there is any doubt about that."""
        if orjson is None:
            return None
        shape = kind, tuple(message)
        plain = self._shapes.get(shape)
        if plain is None:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            known = self.known.get(kind) or self.known[""]
            plain = self._shapes[shape] = known.issuperset(message)
        try:
            if plain:
                written: bytes = orjson.dumps(message, _plain, self._options)
            else:
                document = self._document(kind, message)
                written = orjson.dumps(document, _plain, self._options)
        except TypeError:  # no UTF-8, beyond 64 bits, a key that is no text
            return None
        if b"null" in written:  # a null, which may have been NaN
            return None
        return b'{"%b":"%b",%b' % (_TIME, time.encode(), written[1:])

    def _text(self, kind: str, message: Message, time: str) -> str:
        return self._encode({TIME: time, **self._document(kind, message)})

    def _document(self, kind: str, message: Message) -> dict[str, Any]:
        known = self.known.get(kind) or self.known[""]
        document: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in message.items():
            if key in known:
                document[key] = value
            elif value is not None:
                extra[str(key)] = _searchable(value)
        if extra:
            document[EXTRA] = extra
        return document

    def _iso(self, timestamp: int) -> str:
        second, micro = divmod(timestamp, 1_000_000)
        text = self._seconds.get(second)
        if text is None:
            try:
                moment = _EPOCH + timedelta(seconds=second)
            except OverflowError:
                raise ValueError(f"its time is beyond the year 9999: {timestamp}") from None
            if len(self._seconds) >= _SECONDS:
                self._seconds.clear()
            text = self._seconds[second] = moment.strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{text}{micro:06d}Z"

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


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def _searchable(value: Any) -> Any:
    """A value as the field `extra` takes it: no infinity, no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
