"""CSV files over Kafka: each row exactly once, whatever happens."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastalker.cli import main
from datastalker.errors import OutputError
from sinks.csv_partitions import PartitionFiles
from sinks.offsets import from_metadata, to_metadata

Make = Callable[..., Any]

KILLS = int(os.environ.get("SINK_KILLS", "100"))
KILL_SECONDS = float(os.environ.get("SINK_KILL_SECONDS", "40"))


@pytest.fixture
def csv_site(site: Make, tmp_path: Path) -> Make:
    """A site whose one sink writes CSV files to `out` beside its configuration."""

    def make(partitions: int = 1, **options: Any) -> Any:
        folder = str(tmp_path / "site-0" / "out")
        return site([{"csv": {"directory": folder, **options}}], partitions)

    return make


def names(here: Any) -> list[str]:
    return sorted(p.name for p in here.folder.glob("out/*") if not p.name.startswith("."))


def test_a_file_says_from_where_its_rows_are_and_its_end_is_committed(csv_site: Make) -> None:
    here = csv_site()
    ids = here.publish(5)
    here.run("csv")
    assert [row["id"] for row in here.rows()] == ids
    assert names(here) == [f"frame-{here.frames}-0-000000000000-000000000005.csv"]
    assert here.committed("csv", here.frames) == 5


def test_a_file_can_be_followed_with_tail_while_it_is_written_and_to_its_end(
    csv_site: Make, tmp_path: Path
) -> None:
    here = csv_site()
    ids = here.publish(3)
    runner = here.start("csv")
    (part,) = here.until(lambda: list(here.folder.glob("out/*.part")), "a file is begun")
    shown = tmp_path / "shown"
    with open(shown, "wb") as output:
        tail = subprocess.Popen(["tail", "-n", "+1", "-f", str(part)], stdout=output)
    try:

        def lines() -> list[str]:
            with open(shown, newline="", encoding="utf-8") as handle:
                return [row["id"] for row in csv.DictReader(handle)]

        here.until(lambda: lines() == ids, "what was there")
        ids += here.publish(3)
        here.until(lambda: lines() == ids, "what came since")
        assert here.rows() == [], "it is not finished"
        here.stop(runner)
        assert [row["id"] for row in here.rows()] == lines() == ids
    finally:
        tail.kill()
        tail.wait()


def test_a_batch_that_a_worker_sent_again_is_written_once_also_after_a_restart(
    csv_site: Make,
) -> None:
    here = csv_site()
    ids = here.publish(3)
    here.run("csv")
    here.batch([here.frame(900)], origin=1)  # made again, after a crash of the worker
    here.batch([here.frame(901)], origin=7)
    here.flush()
    runner = here.run("csv")
    assert [row["id"] for row in here.rows()] == [*ids, f"{here.name}-901"]
    assert runner.stats.get("sink/repeated") == 1


def test_a_renamed_file_that_was_not_committed_is_not_written_again(csv_site: Make) -> None:
    here = csv_site()
    ids = here.publish(4)
    writer = here.start("csv")
    here.until(lambda: writer.stats.get("csv/rows") == len(ids))
    # As a crash between the rename and the commit leaves it
    (part,) = here.folder.glob("out/*.part")
    part.rename(part.with_name(f"{part.stem}-000000000004.csv"))
    files = writer.way.partitions[here.frames, 0].writer.files
    files.pop("frame").handle.close()
    writer.way.partitions[here.frames, 0].following = -1
    here.stop(writer)
    assert here.committed("csv", here.frames) < 0
    more = here.publish(2)
    runner = here.run("csv")
    assert [row["id"] for row in here.rows()] == [*ids, *more]
    assert runner.stats.get("csv/rows_there_already") == len(ids)


def test_who_has_a_partition_keeps_others_from_writing_it(csv_site: Make) -> None:
    here = csv_site()
    ids = here.publish(2)
    from sinks.consume import SinkRunner, find_sink

    other = SinkRunner(here.config, find_sink(here.config, "csv"))
    held = other.sink.partition(here.frames, 0, "")
    assert isinstance(held, PartitionFiles)
    waiting = here.start("csv")
    here.until(lambda: waiting.way.untaken == {(here.frames, 0)}, "the rest is taken")
    assert waiting.stats.get("csv/rows") == 0
    held.drop()
    here.until(lambda: waiting.stats.get("csv/rows") == len(ids))
    here.stop(waiting)
    other.group.leave()


def test_files_of_a_topic_that_was_deleted_since_are_an_error(csv_site: Make) -> None:
    here = csv_site()
    here.publish(1)
    here.run("csv")
    lock = here.folder / "out" / f".{here.frames}-0.lock"
    lock.write_text("anotherTopicsId")
    with pytest.raises(Exception, match="earlier topic of the name"):
        here.run("csv")


def test_a_poison_message_is_set_aside_and_stops_nothing(csv_site: Make) -> None:
    here = csv_site()
    ids = here.publish(1)
    here.send(here.frames, b"\xc3\x01 nothing of ours", headers=[("trace", b"7")], key=b"k")
    ids += here.publish(1)
    runner = here.run("csv")
    assert [row["id"] for row in here.rows()] == ids
    (letter,) = here.dead_letters()
    said = dict(letter.headers())
    assert (letter.value(), letter.key()) == (b"\xc3\x01 nothing of ours", b"k")
    assert said["trace"] == b"7"
    assert said["dead-letter-topic"] == here.frames.encode()
    assert (said["dead-letter-partition"], said["dead-letter-offset"]) == (b"0", b"1")
    assert said["dead-letter-who"] == b"sink csv"
    assert b"a schema that isn't known here" in said["dead-letter-reason"]
    assert runner.stats.get("sink/dead") == 1


def test_a_full_disk_pauses_the_sink_and_nothing_is_written_twice(
    csv_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from sinks.files import Rows

    here = csv_site()
    full = {"disk": True}
    append = Rows.append

    def no_room(self: Rows, text: str) -> None:
        if full["disk"] and self.size > 2000:
            self.handle.write(text.encode()[:100])  # what a full disk takes, it takes
            self.cut(self.size)
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, text)

    monkeypatch.setattr(Rows, "append", no_room)
    ids = here.publish(20)
    runner = here.start("csv")
    here.until(lambda: runner.stats.get("sink/retries") >= 2, "it is paused")
    rows = runner.stats.get("csv/rows")
    assert rows < len(ids)
    full["disk"] = False
    here.until(lambda: runner.stats.get("csv/rows") == len(ids), "it goes on")
    here.stop(runner)
    assert [row["id"] for row in here.rows()] == ids


def test_a_disk_that_is_really_full_is_said_with_the_remedy_and_it_goes_on_when_there_is_room(
    csv_site: Make,
) -> None:
    here = csv_site()
    ids = here.publish(100)
    out, log = here.folder / "out", here.folder / "sink.log"
    out.mkdir()
    # A megabyte of disk that only this process sees, nearly full
    shell = f"mount -t tmpfs -o size=1m tmpfs {out} && head -c 900k /dev/zero > {out}/ballast"
    command = ["unshare", "-Urm", "sh", "-c", f'{shell} && exec "$@"', "sh"]
    command += [sys.executable, "-m", "sinks", "csv", "-c", str(here.path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with open(log, "wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    here.processes.append(process)
    here.until(lambda: "is paused" in log.read_text(), "it says so")
    said = log.read_text()
    assert f"csv is paused: csv: {out} can't be written (No space left on device): the disk" in said
    assert "is full: make room, it goes on by itself" in said
    assert "Traceback" not in said

    inside = Path(f"/proc/{process.pid}/root{out}")
    (inside / "ballast").unlink()

    def rows() -> list[str]:
        (part,) = inside.glob("frame-*.part")
        with open(part, newline="", encoding="utf-8") as handle:
            return [row["id"] for row in csv.DictReader(handle)]

    here.until(lambda: len(rows()) >= len(ids), "it goes on")
    assert rows() == ids
    assert "csv goes on after" in log.read_text()
    process.terminate()
    assert process.wait(30) == 0
    assert here.committed("csv", here.frames) == 100


def test_a_disk_that_fails_ends_the_sink_and_nothing_is_kept_that_may_be_broken(
    csv_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    here = csv_site()
    ids = here.publish(3)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("sinks.csv_partitions.os.fsync", broken)
        with pytest.raises(OutputError, match="Input/output error"):
            here.run("csv")
    assert names(here) == []
    here.run("csv")
    assert [row["id"] for row in here.rows()] == ids


def test_a_second_process_takes_half_of_the_partitions(csv_site: Make) -> None:
    here = csv_site(partitions=4)
    first = here.start("csv", "one")
    ids = [i for p in range(4) for i in here.publish(5, partition=p)]
    here.until(lambda: first.stats.get("csv/rows") == len(ids))
    second = here.start("csv", "two")
    every = {(topic, n) for topic in (here.frames, here.presence) for n in range(4)}
    here.until(
        lambda: (
            second.group.places
            and not second.group.places & first.group.places
            and second.group.places | first.group.places == every
            and not second.way.untaken
        ),
        "they share the partitions",
    )
    ids += [i for p in range(4) for i in here.publish(5, partition=p)]
    total = len(ids)
    here.until(
        lambda: first.stats.get("csv/rows") + second.stats.get("csv/rows") == total, "all written"
    )
    here.stop(first)
    here.stop(second)
    assert sorted(row["id"] for row in here.rows()) == sorted(ids)


def test_killed_with_minus_nine_at_random_no_row_is_lost_and_none_is_double(
    csv_site: Make,
) -> None:
    here = csv_site(partitions=2, rotate_mb=0.02)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        ["datastalker.commands.sink", "sinks.consume", "sinks.csv_files"]
    )
    chance = random.Random(20260302)
    ids: list[str] = []
    kills, end = 0, time.monotonic() + KILL_SECONDS
    folder = here.folder / "out"
    while kills < KILLS and (time.monotonic() < end or kills < 5):
        ids += here.publish(chance.randrange(1, 60), 20, chance.randrange(2))
        before = len(list(folder.glob("*")))
        arguments = ["sink", "csv", "-c", str(here.path), "--instance", "killed"]
        process = processes.Process(target=main, args=(arguments,), daemon=True)
        process.start()
        patience = time.monotonic() + 3
        if chance.random() < 0.7:  # while it works; else while it starts
            while time.monotonic() < patience and len(list(folder.glob("*"))) == before:
                time.sleep(0.005)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.join(30)
        kills += 1
    runner = here.start("csv", "killed")
    here.until(lambda: not runner.way.untaken and runner._drained(), "the rest is read")
    here.stop(runner)
    found = [row["id"] for row in here.rows()]
    print(f"{kills} kills, {len(ids)} rows, {len(names(here))} files")
    assert len(found) == len(set(found)), "rows are double"
    assert sorted(found) == sorted(ids), "rows are lost"
    assert not list(folder.glob("*.part"))


def test_what_was_seen_fits_into_a_commit(csv_site: Make) -> None:
    from datastalker.delivery import Origin, Seen

    seen = Seen()
    for number in range(300):
        seen.batch(f"{random.Random(number).getrandbits(64):016x}", 3)
    for number in range(64):
        seen.origin(Origin("home.wifi.frames", number, number * 1_000_003))
    text = to_metadata(seen)
    assert len(text) <= 4000
    again = from_metadata(text)
    assert not again.origin(Origin("home.wifi.frames", 5, 5_000_015))
    assert not again.batch(f"{random.Random(299).getrandbits(64):016x}", 3)
    assert from_metadata("1not ours").to_data() == Seen().to_data()


def test_memory_is_flat_while_the_sink_is_held(
    csv_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datastalker.errors import RetryLater

    def away(*_: Any) -> None:
        raise RetryLater("the store is away", 0.3)

    here = csv_site()
    monkeypatch.setattr(PartitionFiles, "write", away)
    here.publish(10, 200)
    runner = here.start("csv")
    here.until(lambda: runner.stats.get("sink/retries") >= 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    here.publish(300, 200)
    tries = runner.stats.get("sink/retries")
    here.until(lambda: runner.stats.get("sink/retries") >= tries + 5)
    assert len(runner.fetched) <= 33
    assert runner.group.places, "it is a member still"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
