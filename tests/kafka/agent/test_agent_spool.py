"""An agent's spool on a real broker that is away, slow, killed: everything arrives, once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capture_agent.outbox import Parcel
from capture_agent.spool import Spool
from capture_agent.spool_files import contents, look
from infra.local import Kafka

Make = Callable[..., Any]

PIPE = {"pcap": {"path": "-"}}


@pytest.fixture
def away(frail: Kafka) -> Iterator[Callable[[], None]]:
    """Takes the broker away, until the end of the test or `frail.start()`."""
    yield frail.kill
    frail.start()


def spooled(node: Any) -> int:
    """Frames in its spool, by what a look from outside sees."""
    time.sleep(0.2)  # looking is work
    return contents(Path(node.agent["spool_directory"])).frames


def ready(node: Any, **agent: Any) -> Any:
    folder = node.folder / "spool"
    agent = {"linger_ms": 50, "spool_fsync_seconds": 0.3, "status_seconds": 0.5} | agent
    return node.ready(spool_directory=str(folder), **agent)


def size(node: Any) -> int:
    """Bytes of its spool."""
    return sum(path.stat().st_size for path in (node.folder / "spool").glob("*.spool"))


def send(node: Any, data: bytes) -> subprocess.Popen[bytes]:
    """An agent that hears so much, with its pipe open still."""
    process = node.start(stdin=subprocess.PIPE, text=False)
    process.stdin.write(data)
    process.stdin.flush()
    return process


def sound(first: int, last: int) -> list[int]:
    """The numbers of those frames of the air that the source does not drop."""
    return [n for n in range(first, last + 1) if n % 20 and n % 50 != 49]


def numbers(node: Any) -> set[int]:
    """Of the frames in the topic."""
    every = [batch for kept in node.batches().values() for batch in kept]
    return {frame["frame_number"] for batch in every for frame in batch.messages}


def drain(node: Any) -> subprocess.CompletedProcess[str]:
    """`stalk spool drain`."""
    command = [sys.executable, "-m", "datastalker", "spool", "drain", "-c", str(node.file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def ids(node: Any) -> list[str]:
    """Of all frames in the topic, those of repeated batches once, as consumers see them."""
    found: list[str] = []
    for batches in node.batches().values():
        seen = set()
        for batch in batches:
            if (batch.session, batch.sequence) not in seen:
                seen.add((batch.session, batch.sequence))
                found += [frame["id"] for frame in batch.messages]
    return found


def test_a_broker_that_is_away_at_the_start_and_comes_later_gets_everything(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 3000))
    away()
    process = node.start()
    make_node.until(lambda: spooled(node) == len(node.embedded()), "all of it on disk")

    frail.start()
    said = make_node.end(process)

    assert said.code == 0, said.text
    assert "batches go to" in said.text
    assert "connection refused" in said.text
    assert re.search(r"the broker is back: [1-9]\d* batches were sent from ", said.text)
    assert said.balance["published"] == len(node.embedded())
    assert node.published() == node.embedded()
    assert not list((node.folder / "spool").glob("*.spool"))


def test_of_a_file_the_spool_is_drained_and_no_new_start_is_advised(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 500), delivery_timeout_seconds=3)
    away()

    said = make_node.end(node.start())

    assert said.code == 0, said.text
    assert "`stalk spool drain` delivers them; a new start would send the whole file again" in (
        said.text
    )
    frail.start()
    assert drain(node).returncode == 0
    assert sorted(ids(node)) == sorted(frame["id"] for frame in node.embedded())


def test_what_the_broker_did_not_get_is_on_disk_at_the_end_and_sent_by_the_next_run(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 0, source=PIPE))
    process = send(node, make_node.header() + make_node.air(100))
    make_node.until(lambda: len(node.published()) == 93, "the first frames")
    away()
    process.stdin.write(make_node.air(2000, first=100))
    process.stdin.close()
    said = process.stderr.read().decode()

    assert process.wait(60) == 0, said
    assert "+ spooled 1,860" in said
    assert "the next start, or `stalk spool drain`, delivers them" in said
    assert spooled(node) == 1860
    frail.start()
    process = send(node, make_node.header())
    make_node.until(lambda: len(node.published()) == 1953, "the rest")
    process.stdin.close()
    said = process.stderr.read().decode()
    assert process.wait(60) == 0, said
    assert set(Counter(ids(node)).values()) == {1}
    assert len(ids(node)) == 1953
    last = max(node.statuses(), key=lambda status: status["timestamp"])
    assert last["earlier_published"] == 1860
    assert last["captured"] == last["spool_batches"] == last["spool_bytes"] == 0


def test_kill_9_loses_nothing_that_is_on_disk_and_everything_arrives_once(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    """Ten minutes at 1,000 frames a second, as fast as they can be read; the agent is killed twice."""
    node = ready(make_node(frail, 0, source=PIPE), linger_ms=250)
    away()
    for part in range(3):
        data = make_node.air(200_000, step_us=1000, first=part * 200_000)
        process = send(node, make_node.header() + data)
        expected = (part + 1) * 186_000
        make_node.until(lambda: spooled(node) == expected, "a part on disk")  # noqa: B023
        if part < 2:
            process.send_signal(signal.SIGKILL)
            process.wait()

    frail.start()
    make_node.until(lambda: spooled(node) == 0, "all of it delivered")
    process.stdin.close()
    said = process.stderr.read().decode()

    assert process.wait(60) == 0, said
    assert "Traceback" not in said
    found = ids(node)
    assert len(found) == len(set(found)) == 558_000


@pytest.mark.parametrize("after_seconds", [3.1, 4.0])
def test_kill_9_at_any_moment_costs_at_most_what_the_last_interval_brought(
    frail: Kafka, make_node: Make, after_seconds: float
) -> None:
    """The broker is silent, so that all there is to lose is on its way to the disk."""
    node = ready(make_node(frail, 0, source=PIPE), linger_ms=100)
    process = send(node, make_node.header() + make_node.air(100))
    make_node.until(lambda: len(node.published()) == 93, "the first frames")
    frail.pause()
    written: list[tuple[float, int]] = []
    begin = time.monotonic()
    while time.monotonic() < begin + after_seconds:
        process.stdin.write(make_node.air(20, first=100 + 20 * len(written)))
        process.stdin.flush()
        written.append((time.monotonic(), 120 + 20 * len(written)))
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    process.wait()
    frail.resume()
    process = send(node, make_node.header())
    make_node.until(lambda: spooled(node) == 0, "what was on disk to be delivered")
    process.stdin.close()
    assert process.wait(60) == 0

    # Interval 0.3, linger 0.1, and what a busy machine adds.
    safe = max(number for at, number in written if at < killed - 0.4 - 1.0)
    assert safe > 1000
    assert set(sound(1, safe)) <= numbers(node)
    assert len(ids(node)) == len(set(ids(node)))


def test_a_broker_that_is_slow_gets_everything_once(frail: Kafka, make_node: Make) -> None:
    node = ready(make_node(frail, 0, source=PIPE), spool_fsync_seconds=0.1, linger_ms=20)
    process = send(node, make_node.header() + make_node.air(100))
    make_node.until(lambda: len(node.published()) == 93, "the first frames")
    on_disk = []
    for part in range(10):
        frail.pause()
        process.stdin.write(make_node.air(1000, first=100 + 1000 * part))
        process.stdin.flush()
        time.sleep(0.6)
        on_disk.append(spooled(node))
        frail.resume()
        time.sleep(0.05)  # in which it answers some
    make_node.until(lambda: len(set(ids(node))) == 9393, "all of it")
    process.stdin.close()
    said = process.stderr.read().decode()

    assert process.wait(60) == 0, said
    assert "the broker has not confirmed within 0.1 s; batches go to" in said
    assert sum(map(bool, on_disk)) >= 8
    assert len(ids(node)) == 9393
    ended = node.statuses()[-1]
    assert (ended["state"], ended["published"], ended["spooled"]) == ("ended", 9393, 0)


def test_a_full_disk_is_survived_and_what_it_cost_is_counted(
    frail: Kafka, away: Callable[[], None], make_node: Make, tmp_path: Path
) -> None:
    node = ready(make_node(frail, 0, source=PIPE), spool_mb=2)
    disk = tmp_path / "spool"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        away()
        process = send(node, make_node.header() + make_node.air(100_000))  # all but a pipe's 64 KiB
        frail.start()
        make_node.until(lambda: spooled(node) == 0, "what found room to be delivered")
        process.stdin.write(make_node.air(1000, first=100_000))
        process.stdin.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 0, said
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)

    assert "No space left on device" in said
    assert "Traceback" not in said
    ended = node.statuses()[-1]
    assert (ended["captured"], ended["state"], ended["spooled"]) == (101_000, "ended", 0)
    assert ended["dropped_spool_full"] > 50_000
    assert len(ids(node)) == len(set(ids(node))) == ended["published"] > 5_000
    assert set(sound(100_001, 101_000)) <= numbers(node)


@pytest.mark.parametrize("order", ["oldest_first", "fresh_first"])
def test_fresh_frames_follow_the_spool_in_order_or_do_not_wait_for_it(
    frail: Kafka, away: Callable[[], None], make_node: Make, order: str
) -> None:
    node = ready(make_node(frail, 0, source=PIPE, partitions=1), batch_frames=5, spool_order=order)
    away()
    process = send(node, make_node.header() + make_node.air(100_000))
    make_node.until(lambda: spooled(node) == 93_000, "a backlog")
    frail.start()
    make_node.until(lambda: spooled(node) < 93_000, "the broker to be back")
    process.stdin.write(make_node.air(5, first=100_000))
    process.stdin.flush()
    make_node.until(lambda: spooled(node) == 0, "the backlog to be delivered")
    process.stdin.close()
    process.wait(60)

    (batches,) = node.batches().values()
    numbers = [frame["frame_number"] for batch in batches for frame in batch.messages]
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) == 93_005
    assert (numbers.index(100_001) < 92_000) == (order == "fresh_first")
    rest = [number for number in numbers if number <= 100_000]
    assert rest == sorted(rest)


@pytest.mark.parametrize("dropped", ["oldest", "newest"])
def test_at_the_cap_the_oldest_or_the_newest_are_dropped_and_counted_to_the_frame(
    frail: Kafka, away: Callable[[], None], make_node: Make, dropped: str
) -> None:
    node = make_node(frail, 0, source=PIPE, partitions=1)
    node = ready(node, spool_mb=2, spool_when_full=dropped)
    away()
    process = send(node, make_node.header() + make_node.air(100_000))
    make_node.until(lambda: spooled(node) > 10_000, "some on disk")
    process.stdin.close()
    said = process.stderr.read().decode()

    assert process.wait(60) == 0
    left = spooled(node)
    assert f"+ spooled {left:,}" in said
    assert f"spool_full {93_000 - left:,}" in said
    assert 1_700_000 < size(node) < 2_100_000
    frail.start()
    assert drain(node).returncode == 0
    all_of_them, kept = sound(1, 100_000), sorted(numbers(node))
    assert len(ids(node)) == len(kept) == left
    if dropped == "oldest":
        assert kept == all_of_them[-left:]
    else:  # where no whole batch finds room any more, a shorter one may
        assert kept[:-400] == all_of_them[: left - 400]


def test_what_is_dropped_of_an_earlier_run_is_told_where_no_status_arrives(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 0, source=PIPE), spool_mb=2)
    folder = node.folder / "spool"
    spool = Spool(folder, 2 << 20)
    for number in range(90):
        spool.append(Parcel(node.frames, 0, bytes(20_000), "frames", 10, None, "before", number, 1))
    spool.close()
    away()
    process = send(node, make_node.header() + make_node.air(20_000))
    make_node.until(lambda: not (folder / "0000000001.spool").exists(), "the oldest are gone")
    process.stdin.close()
    said = process.stderr.read().decode()

    assert process.wait(60) == 0, said
    parcels = [found.parcel for _, found, _, _ in look(folder) if found is not None]
    left = sum(parcel.frames for parcel in parcels if parcel.session == "before")
    assert f"; of earlier runs 0 published, {900 - left} dropped" in said
    assert re.search(r" frames were dropped: .*of earlier runs \d+", said)


def test_a_capture_file_waits_at_the_cap_and_loses_nothing(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 100_000), spool_mb=2)
    away()
    process = node.start()
    make_node.until(lambda: size(node) > 1_900_000, "a full spool")
    frail.start()
    said = make_node.end(process)

    assert said.code == 0, said.text
    assert said.balance["published"] == 93_000
    assert len(ids(node)) == len(set(ids(node))) == 93_000


def test_memory_is_flat_while_the_broker_is_away(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 0, source=PIPE), spool_mb=64)
    process = send(node, make_node.header() + make_node.air(1000))
    make_node.until(lambda: len(node.published()) == 930, "the first frames")
    frail.pause()
    try:
        process.stdin.write(make_node.air(100_000, first=1000))
        make_node.until(lambda: spooled(node) > 80_000, "some on disk")
        before = resident(process)
        process.stdin.write(make_node.air(400_000, first=101_000))
        make_node.until(lambda: spooled(node) > 450_000, "more on disk")
        grown = resident(process) - before
    finally:
        frail.resume()
    process.stdin.close()
    process.wait(90)

    assert grown < 8_000  # kB; 400,000 frames are some 30 MB


def resident(process: subprocess.Popen[Any]) -> int:
    """Its memory, kB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def test_a_second_agent_on_the_same_folder_is_told_so(frail: Kafka, make_node: Make) -> None:
    node = ready(make_node(frail, 0, source=PIPE))
    first = send(node, make_node.header() + make_node.air(100))
    make_node.until(lambda: len(node.published()) == 93, "the first")

    second = make_node.end(node.start(stdin=subprocess.DEVNULL))

    assert second.code == 1
    assert f"is used by process {first.pid}; end it, or give each agent a folder" in second.text
    assert "Traceback" not in second.text
    first.stdin.close()
    assert first.wait(30) == 0


def test_topics_that_are_missing_when_the_broker_comes_are_said_and_waited_for(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = make_node(frail, 300)
    node.agent |= {"spool_directory": str(node.folder / "spool"), "spool_fsync_seconds": 0.3}
    node.write()
    away()
    process = node.start()
    make_node.until(lambda: spooled(node) == 279, "all of it on disk")
    frail.start()
    said = process.stderr.readline()
    while "batches stay on disk until this is mended" not in said:
        assert process.poll() is None
        said = process.stderr.readline()

    assert f"topic '{node.frames}' is missing" in said
    assert spooled(node) == 279
    process.send_signal(signal.SIGTERM)
    assert make_node.end(process).code == 0
    node.ready()
    process = node.start()
    assert make_node.end(process).code == 0
    assert len(set(ids(node))) == 279


def test_stalk_spool_drain_sends_what_an_agent_left(
    frail: Kafka, away: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 0, source=PIPE))
    away()
    process = send(node, make_node.header() + make_node.air(1000))
    make_node.until(lambda: spooled(node) == 930, "all of it on disk")
    process.stdin.close()
    assert process.wait(60) == 0
    frail.start()

    done = drain(node)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"930 frames sent; {node.folder}/spool is empty\n"
    assert len(ids(node)) == len(set(ids(node))) == 930


def test_an_interrupted_drain_notes_what_it_has_sent(
    frail: Kafka, paused: Callable[[], None], make_node: Make
) -> None:
    node = ready(make_node(frail, 0, source=PIPE, partitions=1), delivery_timeout_seconds=60)
    folder = node.folder / "spool"
    spool = Spool(folder, 256 << 20)
    for number in range(3000):
        value = bytes(20_000)
        spool.append(Parcel(node.frames, 0, value, "frames", 1, None, "abc", number, 1))
    spool.close()
    command = [sys.executable, "-m", "datastalker", "spool", "drain", "-c", str(node.file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    make_node.until(lambda: len(list(folder.glob("*.spool"))) < 4, "a part of it is sent")
    paused()
    make_node.until(lambda: is_at_rest(folder), "no more confirmations")

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 1
    found = re.search(r"([\d,]+) frames sent; ([\d,]+) batches stay in .*: interrupted", said)
    assert found, said
    sent, left = (int(number.replace(",", "")) for number in found.groups())
    assert sent + left == 3000
    assert contents(folder).frames == left


def is_at_rest(folder: Path) -> bool:
    """Whether nothing is noted in it for so long that what was not is in memory alone."""
    before = (folder / "cursor").read_bytes()
    time.sleep(1)
    return (folder / "cursor").read_bytes() == before


def test_a_drain_that_can_not_read_all_says_so(frail: Kafka, make_node: Make) -> None:
    node = ready(make_node(frail, 0, source=PIPE))
    folder = node.folder / "spool"
    folder.mkdir()
    data = b"DSspool\x02" + bytes(4)  # of a later version
    later = folder / "0000000001.spool"
    later.write_bytes(data + zlib.crc32(data).to_bytes(4, "little") + bytes(100))

    done = drain(node)

    assert done.returncode == 1
    assert done.stdout == f"0 frames sent; 1 files stay in {folder}: see stalk spool check\n"
    assert later.exists()


def test_what_is_heard_while_a_silent_broker_is_waited_for_is_not_lost(
    frail: Kafka, paused: Callable[[], None], make_node: Make, make_radio: Make
) -> None:
    radio = make_radio()
    node = ready(make_node(frail, 0, source={"wifi_sniffer": {"interface": radio.name}}))
    paused()
    process = node.start()
    said = ""
    while "listening" not in said:
        said += process.stderr.readline()
    acknowledgement = bytes((0, 0, 8, 0, 0, 0, 0, 0)) + b"\xd4\0\0\0\2\0\0\0\0\1"

    assert radio.send([acknowledgement] * 4000, 800) == 4000  # some in each 50 ms
    make_node.until(lambda: spooled(node) >= 3000, "it is on disk")

    frail.resume()
    process.send_signal(signal.SIGTERM)
    ended = make_node.end(process)

    assert ended.code == 0
    assert "the kernel dropped" not in ended.text
    assert ended.balance["captured"] == 4000
