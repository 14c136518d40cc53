"""What is on the wire: messages to bytes and back.

    encoder = BatchEncoder("porch", session, prefix=framing.prefix("frame_batch", topic))
    data = encoder.encode(messages, sequence=0, sent_at=..., now=...)
    batch = decode_batch(data)          # batch.messages equal what went in
    decode_event(encode_event(message)) # presence, alerts, ...: one a Kafka message

`frames` says how a message becomes a record; `codec` writes and reads Avro; `encoder` and
`decoder` do both at once and fast; `framing` and `registry` tell with which schema it was written.
"""

from __future__ import annotations

from datastalker.errors import RegistryError, WireError
from datastalker.wire.batch import Batch
from datastalker.wire.decoder import BatchDecoder, decode_batch
from datastalker.wire.encoder import BatchEncoder
from datastalker.wire.events import decode_event, encode_event, schema_name
from datastalker.wire.framing import Framing, SingleObject
from datastalker.wire.registry import Confluent, SchemaRegistrySettings, framing_of

__all__ = [
    "Batch",
    "BatchDecoder",
    "BatchEncoder",
    "Confluent",
    "Framing",
    "RegistryError",
    "SchemaRegistrySettings",
    "SingleObject",
    "WireError",
    "decode_batch",
    "decode_event",
    "encode_event",
    "framing_of",
    "schema_name",
]
