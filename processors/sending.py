"""What messages came to goes to the broker: outputs, dead letters, a block of state.

What goes to one partition goes in one record batch, as far as the broker takes one so large: all of
it is there or nothing, so nothing comes behind what is missing.

A message that the broker finds too large would be refused each time it is done again, so it can't
stop the partition: it is left out, and what it was made of goes to the dead letters. Whatever else
can't be sent is raised: the process ends, and another tries again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from datastalker import dead_letter
from processors.outputs import Output
from processors.partition import Part, Record
from processors.store import Entry

log = logging.getLogger("datastalker.worker")

BATCH_BYTES = 800_000
"""Of a record batch, before compression: a broker takes a million unless told more."""
REQUEST_BYTES = 8 << 20
"""What is larger is not even sent."""


class Sender:
    """Sends for one segment of a Faust app."""

    def __init__(self, app: Any, table: Any, dead_letters: str) -> None:
        """`table`: whose changelog has the blocks; `dead_letters`: the name of their topic."""
        self._app, self._table, self._dead_letters = app, table, dead_letters

    async def send(self, parts: Sequence[Part]) -> None:
        """Send what messages came to, and wait until all is acked: outputs, then dead letters."""
        sent = await self._batches(output for _, done in parts for output in done.outputs)
        refused = {id(output) for outputs, ack in sent if ack is None for output in outputs}
        for record, done in parts:
            too_large = [o for o in done.outputs if id(o) in refused] if refused else []
            letters = [done.dead] if done.dead is not None else []
            if too_large:  # one of its own: the other names what alone was lost
                letters.append(_left_out(record, too_large[0]))
                done.dead = letters[0]
            for letter in letters:
                await self._bury(record, letter)

    async def store(self, partition: int, block: list[Entry]) -> None:
        """Write a block to the changelog, and wait until it is acked."""
        topic = self._table.changelog_topic.get_topic_name()
        offsets = self._app.tables.recovery.active_offsets
        for outputs, ack in await self._batches(
            Output(topic, partition, block_key(partition, key), value) for key, value in block
        ):
            if ack is None:
                raise RuntimeError(f"{_described(outputs[0])} is larger than the broker takes")
            # Or a rebalance that leaves us the partition would read again all that we wrote
            # ourselves. Where another wrote in between, it has to read what that was.
            if offsets.get(ack.topic_partition) == ack.offset - 1:
                offsets[ack.topic_partition] += len(outputs)

    async def _batches(self, outputs: Iterable[Output]) -> list[tuple[list[Output], Any]]:
        """Send, and wait until all is acked: what went together, and where it is.

        None for a message that is too large for the broker.
        """
        places: dict[tuple[str, int], list[Output]] = {}
        for output in outputs:
            places.setdefault((output.topic, output.partition), []).append(output)
        producer = (await self._app.maybe_start_producer())._ensure_producer()
        if len(places) == 1:
            return await _in_order(producer, *places.values())
        sent = await asyncio.gather(*(_in_order(producer, mine) for mine in places.values()))
        return [batch for mine in sent for batch in mine]

    async def _bury(self, record: Record, headers: list[tuple[str, bytes]]) -> None:
        """Send a dead letter."""
        producer = await self._app.maybe_start_producer()
        for value in (record.value or b"", b""):
            try:
                sent = await producer.send(
                    self._dead_letters, record.key, value, None, None, headers
                )
                await sent
                return
            except Exception as error:
                if not _is_too_large(error) or not value:
                    raise
            log.error(
                "%s is too large for %s: only its headers are", _at(record), self._dead_letters
            )


async def _in_order(producer: Any, outputs: list[Output]) -> list[tuple[list[Output], Any]]:
    """Send to one partition, in batches that are there wholly or not at all."""
    found: list[tuple[list[Output], Any]] = []
    waiting = deque(outputs)
    while waiting:
        batch, taken = producer.create_batch(), [waiting.popleft()]
        _append(batch, taken[0])
        while waiting and _append(batch, waiting[0]):
            taken.append(waiting.popleft())
        batch.close()
        try:
            if batch.size() > REQUEST_BYTES:
                found.append((taken, None))
                continue
            place = outputs[0].topic, outputs[0].partition
            sent = await producer.send_batch(batch, place[0], partition=place[1])
            found.append((taken, await sent))
        except Exception as error:
            if not _is_too_large(error):
                raise
            if len(taken) == 1:
                found.append((taken, None))
            else:
                for output in taken:
                    found += await _in_order(producer, [output])
    return found


def _append(batch: Any, output: Output) -> bool:
    added = batch.append(timestamp=None, key=output.key, value=output.value, headers=output.headers)
    return added is not None


def _left_out(record: Record, output: Output) -> list[tuple[str, bytes]]:
    """The headers of a dead letter for what had an output that is too large."""
    reason = (
        f"{_described(output)} is larger than the broker takes; raise the topic's "
        "max.message.bytes, or set less in a message"
    )
    log.error("%s goes to the dead letters: %s", _at(record), reason)
    return dead_letter.headers(
        record.headers,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        who="topic",
        reason=reason,
        time=int(time.time() * 1e6),
    )


def _is_too_large(error: BaseException | None) -> bool:
    from aiokafka import errors  # type: ignore[import-untyped]

    large = errors.MessageSizeTooLargeError, errors.RecordListTooLargeError
    return error is not None and (isinstance(error, large) or _is_too_large(error.__cause__))


def _described(output: Output) -> str:
    return f"a message of {len(output.value or b''):,} bytes to {output.topic}"


def _at(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def block_key(partition: int, key: bytes) -> bytes:
    """The key in the table of what has this key in its partition."""
    return b"%d/%s" % (partition, key)
