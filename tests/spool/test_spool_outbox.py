"""What goes to the broker, and what to disk, where the link does what no real one can be told to."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from capture_agent import spool as spool_module
from capture_agent.outbox import Parcel, Told
from capture_agent.spool import Spool
from capture_agent.spool_files import contents
from capture_agent.spool_outbox import DAMAGED, SpoolOutbox
from datastalker.delivery import Seen
from datastalker.errors import BrokerError

SECONDS = 0.02


class Link:
    """Stands for Kafka's client: confirms while it is `up`, else holds what it was given."""

    full, spooled = "queue_full", 0

    def __init__(self) -> None:
        self.told: Told = lambda parcel, reason: None
        self.up = True
        self.held: list[Parcel] = []
        self.delivered: list[Parcel] = []
        self.refuses: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        return len(self.held)

    def offer(self, parcel: Parcel) -> bool:
        self.held.append(parcel)
        return True

    def serve(self, seconds: float = 0) -> None:
        if self.up:
            held, self.held = self.held, []
            for parcel in held:
                reason = self.refuses.get(parcel.topic)
                if reason is None:
                    self.delivered.append(parcel)
                self.told(parcel, reason)

    def fail(self, reason: str) -> None:
        """Nothing that is held was delivered."""
        held, self.held = self.held, []
        for parcel in held:
            self.told(parcel, reason)

    def drop(self) -> None:
        self.fail("not_delivered")

    def trouble(self) -> BrokerError | None:
        return None

    def stalled_seconds(self) -> float:
        return 0.0


class Rig:
    def __init__(
        self, folder: Path, session: str = "me", *, patient: bool = False, in_order: bool = True
    ) -> None:
        self.link = Link()
        self.spool = Spool(folder, 2 << 20)
        self.outbox = SpoolOutbox(
            self.link,
            self.spool,
            session,
            SECONDS,
            drop_oldest=True,
            in_order=in_order,
            topics=("t",),
        )
        self.outbox.patient = patient
        self.told: Counter[str | None] = Counter()
        self.outbox.told = self._told
        self.session, self.sequence = session, 0

    def _told(self, parcel: Parcel, reason: str | None) -> None:
        self.told[reason] += parcel.frames

    def offer(
        self, kind: str = "frames", topic: str = "t", size: int = 100, partition: int = 0
    ) -> bool:
        sequence = self.sequence if kind == "frames" else -1
        frames = 1 if kind == "frames" else 0
        value = b"%d" % self.sequence
        value = value.ljust(size)
        parcel = Parcel(topic, partition, value, kind, frames, None, self.session, sequence, 1)
        self.sequence += 1
        return self.outbox.offer(parcel)

    def wait(self, times: int = 1) -> None:
        """Until what is held is overdue."""
        for _ in range(times):
            time.sleep(SECONDS * 1.5)
            self.outbox.serve()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_nothing_is_written_while_the_broker_confirms(rig: Rig, tmp_path: Path) -> None:
    for _ in range(100):
        rig.offer()
        rig.outbox.serve()

    assert rig.told == {None: 100}
    assert not list(tmp_path.glob("*.spool"))


def test_what_is_overdue_is_on_disk_and_is_not_sent_twice_when_it_is_confirmed_after_all(
    rig: Rig, tmp_path: Path
) -> None:
    rig.link.up = False
    rig.offer()
    rig.wait()
    assert contents(tmp_path).frames == rig.outbox.spooled == 1
    rig.offer()
    assert contents(tmp_path).frames == rig.outbox.spooled == 2
    assert len(rig.link.held) == 1

    rig.link.up = True
    rig.wait(3)

    assert [parcel.sequence for parcel in rig.link.delivered] == [0, 1]
    assert rig.told == {None: 2}
    assert rig.outbox.spooled == rig.spool.batches == 0


def test_of_an_outage_its_begin_and_its_end_are_said_once(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig.link.up = False
    for _ in range(3):
        rig.offer()
        rig.wait()
    rig.link.up = True
    rig.wait(4)
    rig.offer()
    rig.wait(2)

    assert [record.getMessage() for record in caplog.records] == [
        f"the broker has not confirmed within {SECONDS} s; batches go to {tmp_path}",
        f"the broker is back: 3 batches were sent from {tmp_path}",
    ]


def test_what_the_client_gives_up_is_sent_again_with_the_same_bytes(rig: Rig) -> None:
    rig.link.up = False
    rig.offer()
    rig.link.fail("msg_timed_out")  # before it was overdue
    rig.offer()
    rig.wait()
    rig.link.fail("msg_timed_out")  # after
    rig.link.up = True
    time.sleep(1)
    rig.wait(3)

    assert sorted(parcel.value.strip() for parcel in rig.link.delivered) == [b"0", b"1"]
    assert rig.told == {None: 2}


def test_a_link_that_comes_and_goes_makes_no_more_gaps_than_a_consumer_can_know(rig: Rig) -> None:
    """The spool has a backlog all the time, which is delivered last."""
    rig.outbox.draining = False
    for _ in range(100):
        rig.link.up = False
        rig.offer()
        rig.wait()
        rig.offer()
        rig.offer()
        rig.link.fail("msg_timed_out")
        rig.link.up = True
        rig.outbox.serve()
        rig.offer()
        rig.outbox.serve()
    rig.outbox.draining = True
    time.sleep(1)
    rig.wait(5)

    seen = Seen()
    fresh = [seen.batch("me", parcel.sequence) for parcel in rig.link.delivered]
    assert sum(fresh) == rig.sequence == 400
    assert seen.missing == 0


def test_a_topic_of_an_earlier_configuration_does_not_stand_in_the_way(tmp_path: Path) -> None:
    earlier = Rig(tmp_path, "earlier")
    earlier.link.up = False
    earlier.outbox.wait_for(lambda: BrokerError("away", retriable=True), lambda: None)
    earlier.offer(topic="gone")
    earlier.offer()
    earlier.outbox.drop()
    earlier.outbox.close()
    rig = Rig(tmp_path)
    rig.link.refuses = {"gone": "unknown_topic_or_part"}

    rig.wait(3)

    assert [parcel.topic for parcel in rig.link.delivered] == ["t"]
    assert (rig.outbox.earlier_published, rig.outbox.earlier_dropped) == (1, 1)
    assert rig.told == {}
    assert rig.spool.batches == 0


def backlog(rig: Rig) -> None:
    """Parcel 0 is with the client and on disk, 1 to 3 are on disk alone; the link is back."""
    rig.link.up = False
    rig.offer()
    rig.wait()
    for _ in range(3):
        rig.offer()
    rig.outbox.draining = False
    rig.link.up = True
    rig.wait()
    assert [parcel.sequence for parcel in rig.link.delivered] == [0]


def drained(rig: Rig) -> list[int]:
    rig.outbox.draining = True
    rig.wait(3)
    assert rig.spool.batches == 0
    return [parcel.sequence for parcel in rig.link.delivered]


def test_fresh_parcels_follow_what_is_on_disk_of_their_partition_and_delay_no_other(
    rig: Rig,
) -> None:
    backlog(rig)

    rig.offer()  # 4
    rig.offer("heartbeat")
    rig.offer(partition=1)  # 6
    rig.outbox.serve()
    assert [parcel.sequence for parcel in rig.link.delivered] == [0, 6]

    assert drained(rig) == [0, 6, 1, 2, 3, 4, -1]
    rig.offer()
    assert rig.spool.batches == 0  # directly again


def test_what_an_earlier_run_left_comes_first(tmp_path: Path) -> None:
    earlier = Rig(tmp_path, "earlier")
    earlier.link.up = False
    earlier.offer()
    earlier.outbox.drop()
    earlier.outbox.close()
    rig = Rig(tmp_path)

    rig.offer()
    rig.wait(3)

    assert [parcel.session for parcel in rig.link.delivered] == ["earlier", "me"]


def test_what_the_client_gave_up_is_sent_before_what_is_fresh(rig: Rig) -> None:
    rig.link.up = False
    rig.offer()
    rig.wait()
    rig.link.fail("msg_timed_out")
    rig.link.up = True
    rig.outbox.serve()

    rig.offer()
    time.sleep(1)
    rig.wait(3)

    assert [parcel.sequence for parcel in rig.link.delivered] == [0, 1]


def _leave_three(folder: Path) -> None:
    """What an earlier run left in the spool: three frames."""
    earlier = Rig(folder, "earlier")
    earlier.link.up = False
    for _ in range(3):
        earlier.offer()
    earlier.outbox.drop()
    earlier.outbox.close()


def test_what_is_damaged_meanwhile_is_counted_by_whose_it_was(tmp_path: Path) -> None:
    _leave_three(tmp_path)
    rig = Rig(tmp_path)
    rig.link.up = False
    for _ in range(2):
        rig.offer()
    (segment,) = tmp_path.glob("0*1.spool")
    segment.write_bytes(bytes(segment.stat().st_size))
    for other in set(tmp_path.glob("*.spool")) - {segment}:
        other.write_bytes(bytes(other.stat().st_size))

    rig.link.up = True
    rig.wait(3)

    assert (rig.outbox.earlier_published, rig.outbox.earlier_dropped) == (0, 3)
    assert rig.told == {DAMAGED: 2}


def test_what_of_an_earlier_run_was_damaged_before_the_start_is_counted(tmp_path: Path) -> None:
    _leave_three(tmp_path)
    (segment,) = tmp_path.glob("*.spool")
    data = segment.read_bytes()
    segment.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    rig = Rig(tmp_path)

    rig.wait(3)

    assert (rig.outbox.earlier_published, rig.outbox.earlier_dropped) == (2, 1)


def test_fresh_first_goes_beside_what_is_on_disk(tmp_path: Path) -> None:
    rig = Rig(tmp_path, in_order=False)
    backlog(rig)

    rig.offer()

    assert drained(rig) == [0, 4, 1, 2, 3]


def test_events_stay_in_their_order(rig: Rig) -> None:
    rig.link.up = False
    rig.offer("event")
    rig.wait()
    rig.offer("event")
    rig.link.up = True
    rig.link.serve()
    rig.offer("event")
    rig.offer()
    rig.wait(4)

    sent = [parcel for parcel in rig.link.delivered if parcel.kind == "event"]
    assert [parcel.value.strip() for parcel in sent] == [b"0", b"1", b"2"]


def test_what_is_on_disk_is_synced_within_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(file: int) -> None:
        os.fdatasync(file)
        synced.append(os.fstat(file).st_size)

    monkeypatch.setattr(spool_module, "_sync", sync)
    rig = Rig(tmp_path)
    rig.link.up = False
    rig.offer()
    rig.wait()  # it is overdue, and so are those that follow
    for _ in range(5):
        rig.offer(size=1000)
        (path,) = tmp_path.glob("*.spool")
        before = time.monotonic()
        while synced[-1:] != [path.stat().st_size]:
            assert time.monotonic() - before < SECONDS + 1
            rig.outbox.serve()
            time.sleep(SECONDS / 10)
    count = len(synced)
    rig.wait(5)

    assert len(synced) == count  # nothing new, nothing to sync


def test_a_status_never_goes_to_disk(rig: Rig) -> None:
    rig.link.up = False
    rig.offer("status")
    rig.wait()

    assert rig.spool.batches == 0


def test_what_is_in_memory_is_on_disk_at_the_end(rig: Rig, tmp_path: Path) -> None:
    rig.link.up = False
    rig.offer()
    rig.outbox.drop()
    rig.outbox.close()

    assert contents(tmp_path).frames == rig.outbox.spooled == 1
    assert rig.told == {}


@pytest.mark.parametrize("patient", [False, True])
def test_at_the_cap_a_live_source_loses_the_oldest_and_a_file_waits(
    tmp_path: Path, patient: bool
) -> None:
    rig = Rig(tmp_path, patient=patient)
    rig.link.up = False
    rig.offer()
    rig.wait()

    taken = [rig.offer(size=50_000) for _ in range(100)]

    assert all(taken) is not patient
    assert rig.told["spool_full"] + rig.outbox.spooled + (not patient) == 1 + sum(taken)
    assert (rig.told["spool_full"] > 0) is not patient
    rig.link.up = True
    rig.wait(10)
    assert rig.told[None] + rig.told["spool_full"] == 1 + sum(taken)
