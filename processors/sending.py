"""What a message came to goes to the broker: outputs, its dead letter, its block of state.

A message that the broker finds too large would be refused each time it is done again, so it can't
stop the partition: it is left out, and what it was made of goes to the dead letters. Whatever else
can't be sent is raised: the process ends, and another tries again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from datastalker import dead_letter
from processors.outputs import Output
from processors.partition import Done, Record

log = logging.getLogger("datastalker.worker")


class Sender:
    """Sends for one segment of a Faust app."""

    def __init__(self, app: Any, table: Any, dead_letters: str) -> None:
        """`table`: whose changelog has the blocks; `dead_letters`: the name of their topic."""
        self._app, self._table, self._dead_letters = app, table, dead_letters

    async def send(self, record: Record, done: Done) -> None:
        """Send what a message came to, and wait until all is acked: outputs, then a dead letter."""
        too_large = [output for output, ack in await self._acks(done.outputs) if ack is None]
        if too_large:
            self._left_out(record, done, too_large)
        if done.dead is None:
            return
        letter = Output(self._dead_letters, -1, record.key, record.value or b"", done.dead)
        ((_, ack),) = await self._acks([letter])
        if ack is None:
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            log.error("%s is too large for %s: only its headers are", place, self._dead_letters)
            letter.value = b""
            await self._publish(letter)

    async def store(self, partition: int, slot: int, block: bytes) -> None:
        """Write a block to the changelog, and wait until it is acked."""
        topic, key = self._table.changelog_topic.get_topic_name(), block_key(partition, slot)
        sent = await self._publish(Output(topic, partition, key, block))
        # Or a rebalance that leaves us the partition would read again all that we wrote ourselves.
        offsets = self._app.tables.recovery.active_offsets
        if offsets.get(sent.topic_partition) is not None:
            offsets[sent.topic_partition] = max(offsets[sent.topic_partition], sent.offset)

    async def _publish(self, output: Output) -> Any:
        """Send, and wait until it is acked; gives where it is."""
        ((_, ack),) = await self._acks([output])
        if ack is None:
            raise RuntimeError(f"{_described(output)} is larger than the broker takes")
        return ack

    async def _acks(self, outputs: Iterable[Output]) -> list[tuple[Output, Any]]:
        """Send, and wait until all are acked; gives where they are, None for what is too large."""
        producer = await self._app.maybe_start_producer()
        sent: list[tuple[Output, Any]] = []
        for output in outputs:
            try:
                ack = await producer.send(
                    output.topic,
                    output.key,
                    output.value,
                    output.partition if output.partition >= 0 else None,
                    None,
                    output.headers,
                )
            except Exception as error:
                if not _is_too_large(error):
                    raise
                ack = None
            sent.append((output, ack))
        return list(
            zip((o for o, _ in sent), await asyncio.gather(*map(_where, sent)), strict=True)
        )

    def _left_out(self, record: Record, done: Done, outputs: list[Output]) -> None:
        reason = (
            f"{_described(outputs[0])} is larger than the broker takes; raise the topic's "
            "max.message.bytes, or set less in a message"
        )
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        log.error("%s goes to the dead letters: %s", place, reason)
        if done.dead is None:
            done.dead = dead_letter.headers(
                record.headers,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                who="topic",
                reason=reason,
                time=int(time.time() * 1e6),
            )


async def _where(sent: tuple[Output, Any]) -> Any:
    if sent[1] is None:
        return None
    try:
        return await sent[1]
    except Exception as error:
        if not _is_too_large(error):
            raise
        return None


def _is_too_large(error: BaseException | None) -> bool:
    from aiokafka import errors  # type: ignore[import-untyped]

    large = errors.MessageSizeTooLargeError, errors.RecordListTooLargeError
    return error is not None and (isinstance(error, large) or _is_too_large(error.__cause__))


def _described(output: Output) -> str:
    return f"a message of {len(output.value):,} bytes to {output.topic}"


def block_key(partition: int, slot: int) -> bytes:
    """The key of a block in the table."""
    return b"%d/%d" % (partition, slot)
