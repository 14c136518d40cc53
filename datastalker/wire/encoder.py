"""Messages of type `frame` to batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from datastalker.errors import WireError
from datastalker.message import Message
from datastalker.wire import frames
from datastalker.wire.frames import Origin
from datastalker.wire.framing import single_object_prefix
from datastalker.wire.primitives import write_long
from datastalker.wire.writer import FrameWriter


class BatchEncoder:
    """Writes the frames of one sender, whose batches share sensor, session and the rest.

    `prefix` is what the framing puts before the bytes: by default that of single-object encoding.
    `interface`, `file` and `labels`: what the
    frames need not say for themselves.
    """

    def __init__(
        self,
        sensor: str,
        session: str,
        *,
        labels: dict[str, str] | None = None,
        interface: str | None = None,
        file: str | None = None,
        prefix: bytes | None = None,
        to_pass_on: bool = False,
    ) -> None:
        """`to_pass_on`: most messages were read by a decoder that was told the same."""
        self._origin = Origin(sensor, interface, file, dict(labels or {}))
        self._session = session
        self._prefix = single_object_prefix("frame_batch") if prefix is None else prefix
        self._writer = FrameWriter(self._origin)
        write = self._writer.write_again if to_pass_on else self._writer.write
        self.frame: Callable[[Message], bytes] = write
        """The bytes of one frame. Raises WireError where it can't be written; others can."""

    def batch(
        self,
        written: Sequence[bytes],
        *,
        sequence: int,
        sent_at: int,
        now: int,
        clock_offset_ms: float | None = None,
    ) -> bytes:
        """The bytes of a batch of frames that `frame` wrote; without any it is a heartbeat."""
        origin = self._origin
        head = {
            "sensor": origin.sensor,
            "session": self._session,
            "sequence": sequence,
            "sent_at": sent_at,
            "clock_offset_ms": clock_offset_ms,
            "now": now,
            "labels": origin.labels,
            "interface": origin.interface,
            "file": origin.file,
        }
        try:
            parts = [self._prefix, *[frames.BATCH.fields[k].write(v) for k, v in head.items()]]
        except (TypeError, ValueError, OverflowError) as error:
            raise WireError(f"the head of a batch can't be written ({error}): {head}") from error
        if written:
            parts.append(write_long(len(written)))
            parts += written
        parts.append(b"\0")
        return b"".join(parts)

    def encode(
        self,
        messages: Iterable[Message],
        *,
        sequence: int,
        sent_at: int,
        now: int,
        clock_offset_ms: float | None = None,
    ) -> bytes:
        """`batch` of the `frame`s of messages, all of which must be writable."""
        written = list(map(self.frame, messages))
        return self.batch(
            written, sequence=sequence, sent_at=sent_at, now=now, clock_offset_ms=clock_offset_ms
        )
