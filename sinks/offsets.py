"""What a sink keeps in the metadata of its offset commits: which batches it has seen.

So offset and knowledge change together, and whoever gets the partition next goes on from both. A
broker takes 4096 bytes (offset.metadata.max.bytes): room for the origins of hundreds of workers'
partitions, or some 150 sessions of agents; the sessions that were heard least lately go first.
"""

from __future__ import annotations

import base64
import json
import logging
import zlib

from datastalker.delivery import Seen

log = logging.getLogger("datastalker.sink")

_ROOM = 4000
_VERSION = "1"


def to_metadata(seen: Seen) -> str:
    """A Seen as text that a commit can carry."""
    data = seen.to_data()
    sessions = list(data.get("sessions", {}).items())
    while True:
        packed = _pack({**data, "sessions": dict(sessions)})
        if len(packed) <= _ROOM or not sessions:
            return packed if len(packed) <= _ROOM else ""
        sessions = sessions[1 + len(sessions) // 8 :]


def from_metadata(text: str | None) -> Seen:
    """The Seen of a commit; a new one where there is none."""
    if not text or not text.startswith(_VERSION):
        return Seen()
    try:
        return Seen(json.loads(zlib.decompress(base64.b85decode(text[1:]))))
    except (ValueError, zlib.error, TypeError, AttributeError) as error:
        log.warning("the metadata of a commit can't be read (%s): repeats may pass once", error)
        return Seen()


def _pack(data: dict[str, object]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return _VERSION + base64.b85encode(zlib.compress(text.encode(), 9)).decode()
