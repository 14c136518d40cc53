"""Kafka messages of a topic of frames to batches of messages."""

from __future__ import annotations

import functools

from datastalker.wire import frames
from datastalker.wire.batch import Batch
from datastalker.wire.framing import Framing, SingleObject
from datastalker.wire.reader import FrameReader
from datastalker.wire.resolve import resolve


class BatchDecoder:
    """Reads batches of frames; one for each thread, since it remembers."""

    def __init__(self, framing: Framing | None = None, *, to_pass_on: bool = False) -> None:
        """`to_pass_on`: for who writes most of it again, which is then faster (see `Wire`)."""
        self._framing = framing or SingleObject()
        self._reader = FrameReader(to_pass_on=to_pass_on)

    def decode(self, data: bytes) -> Batch:
        """The batch in a Kafka message, written with any version of the schema.

        Raises WireError where there is none; RegistryError where the registry can't say.
        """
        writer, offset = self._framing.writer(data)
        writer.expect("frame_batch")
        if writer.is_current:
            return self._reader.read(data, offset)
        record = resolve(writer, data, offset)
        written = record.pop("frames")
        batch = Batch(**record)
        batch.messages = [frames.from_record(frame, batch.origin) for frame in written]
        return batch


@functools.cache
def _decoder() -> BatchDecoder:
    return BatchDecoder()


def decode_batch(data: bytes) -> Batch:
    """`BatchDecoder.decode` without a registry."""
    return _decoder().decode(data)
