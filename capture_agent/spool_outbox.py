"""The outbox with a spool: what the broker does not confirm in time goes to disk.

A parcel goes to the broker at once, and stays in memory until it is confirmed. What is not after
`seconds` is written to the spool, though it is still being tried; and while it is, its partition
counts as stuck: other parcels for it go to the spool alone. With the confirmation the spool is
drained, oldest first, in a window (`spool_window`). So memory is flat while the broker is away, and
a crash loses what `seconds` brought at most. A parcel may be delivered twice: the same bytes, the
same session and sequence.

Fresh parcels go to the broker directly again when their partition has nothing on disk that the
client was not given (`in_order`): heartbeats too, so time never passes what is still to come, and a
partition whose leader is away delays no other. Else at once, beside what is drained.

Status messages are not kept: the latest is what counts. Events stay in their order.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter, deque
from collections.abc import Callable, Container
from time import monotonic

from capture_agent.outbox import Outbox, Parcel, Told
from capture_agent.spool import Spool, SpoolFull
from capture_agent.spool_files import Position
from capture_agent.spool_flights import Flight, Flights, Place, place_of
from capture_agent.spool_window import Window
from datastalker.errors import BrokerError

log = logging.getLogger("datastalker.agent")

FULL = "spool_full"
DAMAGED = "spool_damaged"

FINAL = frozenset(("msg_size_too_large", "invalid_record", "policy_violation", "unknown_partition"))
"""A record that is refused so will never be taken."""
_UNKNOWN = frozenset(
    ("unknown_topic", "unknown_topic_or_part", "topic_exception", "topic_authorization_failed")
)
"""Likewise, where the topic isn't one that we were told to write to: an earlier configuration."""

_RUNS = 32
"""A consumer knows what it has seen of a session by 64 intervals. A link that comes and goes cuts the
sequences into many; from so many on all goes through the spool, in order, until it is empty."""
_PARKED = 64  # records of partitions that are stuck, over which those of others are reached
_TURN_SECONDS = 0.01
_SLICE_SECONDS = 0.2
_OVER_SECONDS = 5.0
_HINT_SECONDS = 2.0
_SAY_SECONDS = 60.0


class SpoolOutbox:
    """An Outbox: a KafkaOutbox (or another) with a spool beside it."""

    full = FULL

    def __init__(
        self,
        kafka: Outbox,
        spool: Spool,
        session: str,
        seconds: float,
        *,
        drop_oldest: bool,
        in_order: bool,
        topics: Container[str],
    ) -> None:
        """`session`: whose parcels are ours; those of others were left by an earlier run.
        `drop_oldest`: at the cap, where the source can't wait. `topics`: those of now."""
        self.told: Told = lambda parcel, reason: None
        self.patient = False
        """Nothing is dropped at the cap: who offers waits."""
        self.earlier_published = 0
        self.earlier_dropped = 0
        """Frames of earlier runs."""
        self.confirmed = monotonic()
        """When the broker last confirmed anything."""
        self.draining = True
        self._kafka, self._spool, self._session = kafka, spool, session
        self._seconds, self._drop_oldest, self._topics = seconds, drop_oldest, topics
        self._in_order = in_order
        self._closed: Callable[[], BrokerError | None] = lambda: None
        self._ended: Callable[[], None] = lambda: None
        kafka.told = self._told
        self._flights, self._window = Flights(), Window(seconds)
        self._again: deque[tuple[Position, Parcel]] = deque()
        self._stuck: set[Place] = set()
        self._runs: Counter[Place] = Counter()
        """How many runs of sequences are on disk, by partition, since the spool was last empty."""
        self._last: dict[Place, int] = {}
        self._synced = self._served = monotonic()
        self._said = self._failed = -_SAY_SECONDS
        self._away, self._sent = False, 0
        """It was said that batches go to disk; so many of them were delivered since."""

    def wait_for(self, closed: Callable[[], BrokerError | None], ended: Callable[[], None]) -> None:
        """Give the broker nothing while `closed` says why not yet; `ended` is called at the end."""
        self._closed, self._ended = closed, ended
        self._away = self.closed

    @property
    def closed(self) -> bool:
        """Whether the broker is given nothing yet."""
        return self._closed() is not None

    @property
    def waiting(self) -> int:
        """In memory, though perhaps on disk too."""
        return self._kafka.waiting

    @property
    def spooled(self) -> int:
        """Frames of ours that are on disk and not delivered."""
        return self._spool.held.frames[self._session]

    @property
    def batches(self) -> int:
        """On disk and not delivered, those of earlier runs included."""
        return self._spool.batches

    @property
    def bytes(self) -> int:
        return self._spool.bytes

    @property
    def max_bytes(self) -> int:
        return self._spool.max_bytes

    def oldest(self) -> int:
        """When what waits longest was made, microseconds; 0: nothing waits. For other threads."""
        return self._spool.oldest()

    def offer(self, parcel: Parcel) -> bool:
        if parcel.kind == "status":
            return self._kafka.offer(parcel)
        place = place_of(parcel)
        direct = self._closed() is None and place not in self._stuck and self._runs[place] < _RUNS
        if direct and parcel.kind == "event" and self._spool.held.kinds["event"]:
            direct = False
        if direct and self._in_order and self._is_behind(place):
            direct = False
        if direct and self._send(parcel, None, drained=False):
            return True
        try:
            self._write(parcel, ahead=False)
        except SpoolFull:
            return False
        except OSError:
            return self._send(parcel, None, drained=False)  # memory is what is left
        return True

    def _is_behind(self, place: Place) -> bool:
        """Whether the disk has something for a partition that the client was not given."""
        on_disk = self._spool.held.places[place]
        return bool(on_disk) and on_disk > self._flights.from_disk(place)

    def serve(self, seconds: float = 0) -> None:
        self._kafka.serve(seconds)
        self._served = now = monotonic()
        self._look(now)
        if self.draining and self._closed() is None:
            self._drain(now)
        if now - self._synced >= self._seconds:
            self._synced = now
            self.sync()
        if not self._spool.batches and self._runs:
            self._runs.clear()
            self._last.clear()
        for session, frames in self._spool.unreadable.items():
            self._tell(Parcel("", 0, b"", "frames", frames, session=session), DAMAGED)
        self._spool.unreadable.clear()
        waits = self._stuck or self._spool.batches or self.closed
        if self._away and not waits and self.confirmed > self._said:
            text = "the broker is back: %d batches were sent from %s"
            log.warning(text, self._sent, self._spool.directory)
            self._away, self._sent = False, 0

    def sync(self) -> None:
        """Make what is on disk last."""
        try:
            self._spool.sync()
        except OSError as error:
            self._fail(error)

    def finish(self, seconds: float, *, is_over: Callable[[], bool]) -> None:
        """Nothing more is offered: wait until the broker has what it can get. Ends where it confirms
        nothing for so long. Once `is_over`, what is on disk is left there."""
        begin, said = monotonic(), False
        while self._kafka.waiting or (self._spool.batches and not is_over()):
            if is_over() and self.draining:
                self.draining, begin = False, monotonic()
            self.serve(_SLICE_SECONDS)
            now = monotonic()
            if now - max(begin, self.confirmed) > (seconds if self.draining else _OVER_SECONDS):
                break
            if not said and self.draining and now - begin > _HINT_SECONDS:
                said = True
                text = "%d batches are on their way to the broker; Ctrl-C leaves them in %s"
                log.warning(text, self._spool.batches, self._spool.directory)
        if self._spool.batches:
            how = "the next start, or `stalk spool drain`, delivers them"
            if self.patient:  # a file
                how = (
                    "`stalk spool drain` delivers them; a new start would send the whole file again"
                )
            text = "%d batches wait in %s: %s"
            log.warning(text, self._spool.batches, self._spool.directory, how)

    def drop(self) -> None:
        """Put on disk what is only in memory; what finds no room there is given up."""
        self.draining = False
        for flight in self._flights.young():
            if not self._keep(flight):
                break
        if self._kafka.waiting:
            self._kafka.drop()
        self.sync()

    def close(self) -> None:
        self._ended()
        try:
            self._spool.close()
        except OSError as error:
            self._fail(error)

    def trouble(self) -> BrokerError | None:
        return self._closed() or self._kafka.trouble()

    def stalled_seconds(self) -> float:
        return self._kafka.stalled_seconds()

    def _send(self, parcel: Parcel, position: Position | None, *, drained: bool) -> bool:
        self._flights.start(parcel, position, drained=drained)
        taken = False
        try:
            taken = self._kafka.offer(parcel)
        finally:
            if not taken:
                self._flights.land(parcel)
        return taken

    def _told(self, parcel: Parcel, reason: str | None) -> None:
        """Of the client: what became of a parcel."""
        flight = self._flights.land(parcel)
        if flight is None:  # a status
            self.told(parcel, reason)
        elif reason is None or self._is_final(parcel, reason):
            if reason is None:
                self._confirm(flight)
                self._sent += flight.position is not None
            if flight.position is not None:
                self._spool.done(flight.position, parcel)
            self._tell(parcel, reason)
        else:
            self._window.failed()
            if flight.position is not None:
                self._again.append((flight.position, parcel))
                return
            try:
                self._write(parcel, ahead=False)
            except (OSError, SpoolFull):
                self._tell(parcel, reason)

    def _is_final(self, parcel: Parcel, reason: str) -> bool:
        return reason in FINAL or (reason in _UNKNOWN and parcel.topic not in self._topics)

    def _confirm(self, flight: Flight) -> None:
        self.confirmed = monotonic()
        if flight.drained:
            # At least: nobody looked since
            self._window.confirmed(len(flight.parcel.value), self._served - flight.since)

    def _look(self, now: float) -> None:
        """Write what waits for too long, and note what is stuck."""
        was, self._stuck = self._stuck, self._flights.overdue(self._seconds, now)
        if self._stuck:
            for flight in self._flights.young():
                if place_of(flight.parcel) in self._stuck and not self._keep(flight):
                    break
        if self._stuck and not was and now - self._said >= _SAY_SECONDS:
            self._said = now
            if not self._away:
                self._away, self._sent = True, 0
            trouble = self.trouble()
            log.warning(
                "the broker has not confirmed within %g s; batches go to %s%s",
                self._seconds,
                self._spool.directory,
                f": {trouble}" if trouble else "",
            )

    def _keep(self, flight: Flight) -> bool:
        """Write a parcel that is with the client."""
        try:
            position = self._write(flight.parcel, ahead=True)
        except (OSError, SpoolFull):
            return False
        self._flights.kept(flight, position)
        return True

    def _drain(self, now: float) -> None:
        """Hand on the oldest of what is on disk, so much that the client always has some."""
        parked: list[tuple[Position, Parcel]] = []
        while (
            self._window.has_room(self._flights.drained_bytes, now)
            and monotonic() - now < _TURN_SECONDS
        ):
            if self._again:
                item = self._again.popleft()
            elif len(parked) < _PARKED and (given := self._spool.next()) is not None:
                item = given
            else:
                break
            position, parcel = item
            if place_of(parcel) in self._stuck:
                parked.append(item)
            elif not self._send(parcel, position, drained=True):
                parked.append(item)
                break
        self._again.extendleft(reversed(parked))

    def _write(self, parcel: Parcel, *, ahead: bool) -> Position:
        """Raises SpoolFull, OSError."""
        while True:
            try:
                position = self._spool.append(parcel, ahead=ahead)
                break
            except SpoolFull:
                if not self._make_room():
                    raise
            except OSError as error:
                self._fail(error)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._make_room():
                    raise
        if parcel.sequence >= 0:
            place = place_of(parcel)
            if self._last.get(place) != parcel.sequence - 1:
                self._runs[place] += 1
            self._last[place] = parcel.sequence
        return position

    def _make_room(self) -> bool:
        if not self._drop_oldest or self.patient or not self._spool.bytes:
            return False
        lost = dict(self._spool.drop_oldest())
        self._flights.off_disk(lost)
        self._again = deque(item for item in self._again if item[0] not in lost)
        for parcel in lost.values():
            self._tell(parcel, FULL)
        return True

    def _tell(self, parcel: Parcel, reason: str | None) -> None:
        if parcel.session == self._session:
            self.told(parcel, reason)
        elif reason is None:
            self.earlier_published += parcel.frames
        else:
            self.earlier_dropped += parcel.frames

    def _fail(self, error: OSError) -> None:
        now = monotonic()
        if now - self._failed >= _SAY_SECONDS:
            self._failed = now
            log.error(
                "the spool %s can't be written: %s; batches wait in memory (queue_mb)",
                self._spool.directory,
                error.strerror,
            )
