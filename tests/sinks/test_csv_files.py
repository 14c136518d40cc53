"""Files of the `csv` sink: whole or not there, whatever ends the run."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastalker.errors import OutputError
from datastalker.message import Message
from datastalker.pipeline import Pipeline, Sink
from datastalker.testing import build, frame, run

ROOT = Path(__file__).parents[2]


def frames(count: int, every: float = 1, **keys: Any) -> list[Message]:
    return [frame(i * every, id=f"f-{i}", seq=i, **keys) for i in range(count)]


def write(folder: Path, messages: Iterable[Message], batch: int = 1000, **options: Any) -> None:
    run([{"csv": {"directory": str(folder), **options}}], messages, batch=batch)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows(folder: Path) -> list[str]:
    """The ids in all finished files, in the order of the files' names; each file whole."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        assert path.read_bytes().endswith(b"\r\n")
        with open(path, newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines, strict=True):
                assert None not in row
                assert None not in row.values()
                found.append(row["id"])
    return found


def result(pipeline: Pipeline) -> str:
    """What the summary says of the last sink."""
    sink = pipeline.entries[-1].component
    assert isinstance(sink, Sink)
    return sink.result()


def python(program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)], cwd=ROOT, text=True, **options
    )


class TestRotation:
    def test_a_new_file_begins_after_so_much_of_the_datas_time(self, tmp_path: Path) -> None:
        write(tmp_path, frames(6, every=30), rotate_seconds=60)
        assert {name: text.count(b"\n") - 1 for name, text in content(tmp_path).items()} == {
            "frame-20260302T170000Z.csv": 2,
            "frame-20260302T170100Z.csv": 2,
            "frame-20260302T170200Z.csv": 2,
        }

    def test_a_gap_of_days_leaves_no_empty_files(self, tmp_path: Path) -> None:
        write(tmp_path, [frame(0), frame(3 * 86_400)])
        assert list(content(tmp_path)) == [
            "frame-20260302T170000Z.csv",
            "frame-20260305T170000Z.csv",
        ]

    def test_time_that_runs_backwards_goes_into_the_file_at_hand(self, tmp_path: Path) -> None:
        write(tmp_path, [frame(100), frame(0), frame(130), frame(160)], rotate_seconds=60)
        assert [text.count(b"\n") - 1 for text in content(tmp_path).values()] == [3, 1]

    def test_messages_without_a_time_are_written_too(self, tmp_path: Path) -> None:
        timeless = Message(type="frame", id="t")
        write(tmp_path, [timeless, frame(0, id="a"), timeless, frame(99, id="b")], rotate_seconds=9)
        assert sorted(rows(tmp_path)) == ["a", "b", "t", "t"]

    def test_a_new_file_begins_at_about_so_many_bytes(self, tmp_path: Path) -> None:
        write(tmp_path, frames(2000, every=0.001), rotate_mb=0.05)
        last, *full = sorted(len(text) for text in content(tmp_path).values())
        assert len(full) > 3
        assert all(last < 0.05 * 2**20 <= size < 0.07 * 2**20 for size in full)

    def test_files_of_one_second_are_told_apart_by_a_number(self, tmp_path: Path) -> None:
        write(tmp_path, frames(500, every=0.001), rotate_mb=0.02)
        assert list(content(tmp_path)) == [
            "frame-20260302T170000Z-2.csv",
            "frame-20260302T170000Z-3.csv",
            "frame-20260302T170000Z.csv",
        ]
        assert sorted(rows(tmp_path)) == sorted(f"f-{i}" for i in range(500))

    def test_files_are_the_same_however_the_input_is_cut_into_batches(self, tmp_path: Path) -> None:
        for batch in (1, 7, 1000):
            write(tmp_path / str(batch), frames(900, 0.3), batch, rotate_mb=0.02, rotate_seconds=90)
        one, seven, thousand = (content(tmp_path / str(batch)) for batch in (1, 7, 1000))
        assert one == seven == thousand
        assert len(one) > 4

    def test_types_rotate_each_by_itself(self, tmp_path: Path) -> None:
        alert = Message(type="alert", timestamp=frame(0)["timestamp"], id="x")
        write(tmp_path, [frame(0), alert, frame(70), frame(80)], rotate_seconds=60)
        assert len(list(tmp_path.glob("frame-*.csv"))) == 2
        assert len(list(tmp_path.glob("alert-*.csv"))) == 1


class TestNames:
    def test_a_file_has_its_name_only_when_it_is_whole(self, tmp_path: Path) -> None:
        pipeline = build([{"csv": {"directory": str(tmp_path)}}])
        pipeline.feed(frames(10))
        assert [path.name for path in tmp_path.iterdir()] == ["frame-20260302T170000Z.csv.part"]
        pipeline.finish()
        assert [path.name for path in tmp_path.iterdir()] == ["frame-20260302T170000Z.csv"]

    def test_rows_can_be_followed_while_a_file_is_written(self, tmp_path: Path) -> None:
        pipeline = build([{"csv": {"directory": str(tmp_path)}}])
        pipeline.feed(frames(3))
        (part,) = tmp_path.iterdir()
        assert part.read_text().count("\n") == 4
        pipeline.finish()

    def test_without_messages_there_are_no_files(self, tmp_path: Path) -> None:
        write(tmp_path / "out", [])
        assert not (tmp_path / "out").exists()

    def test_the_same_input_again_leaves_the_same_files(self, tmp_path: Path) -> None:
        write(tmp_path, frames(300, 0.5), rotate_mb=0.02)
        before = content(tmp_path)
        write(tmp_path, frames(300, 0.5), rotate_mb=0.02)
        assert content(tmp_path) == before

    def test_other_rows_of_the_same_name_are_never_overwritten(self, tmp_path: Path) -> None:
        for sensor in ("hall", "attic", "hall"):
            write(tmp_path, frames(3, sensor=sensor))
        assert list(content(tmp_path)) == [
            "frame-20260302T170000Z-2.csv",
            "frame-20260302T170000Z.csv",
        ]

    def test_a_run_that_was_ended_early_becomes_one_with_the_whole_one(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path / "a", frames(100))
        for count in (50, 100, 70):
            write(tmp_path / "b", frames(count))
        assert content(tmp_path / "a") == content(tmp_path / "b")


class TestRefused:
    def test_a_file_where_the_folder_should_be_is_named_with_the_remedy(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "out").touch()
        pipeline = build([{"csv": {"directory": str(tmp_path / "out")}}], frames(1))
        with pytest.raises(OutputError, match=r"csv: .*/out can't be written .*choose another"):
            pipeline.run()
        assert result(pipeline) == f"nothing could be written in {tmp_path}/out/"

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 64 KiB."""
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("needs the right to mount a tmpfs; the file size limit is tested instead")
        yield disk
        subprocess.run(["umount", str(disk)], check=True)

    def test_when_the_disk_is_full_rows_that_were_written_are_whole(self, small_disk: Path) -> None:
        pipeline = build([{"csv": {"directory": str(small_disk / "out")}}], frames(5000))
        with pytest.raises(OutputError, match=r"left on device\).*full: make room") as told:
            pipeline.run()
        assert str(small_disk / "out") in str(told.value)
        written = rows(small_disk / "out")
        assert result(pipeline) == (
            f"{len(written):,} rows in {small_disk}/out/: frame-20260302T170000Z.csv; "
            "what came after could not be written"
        )
        assert written == [f"f-{i}" for i in range(len(written))]
        assert len(written) > 100

    def test_when_there_is_room_again_the_same_run_gives_what_it_would_have_given(
        self, small_disk: Path, tmp_path: Path
    ) -> None:
        write(tmp_path / "whole", frames(400))
        (small_disk / "other").write_bytes(bytes(40_000))
        with pytest.raises(OutputError):
            build([{"csv": {"directory": str(small_disk / "out")}}], frames(400)).run()
        (small_disk / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
        write(small_disk / "out", frames(400))
        assert content(small_disk / "out") == content(tmp_path / "whole")

    def test_a_write_that_failed_leaves_nothing_for_later(self, small_disk: Path) -> None:
        sink = build([{"csv": {"directory": str(small_disk / "out")}}])
        sink.feed(frames(50))
        (small_disk / "other").write_bytes(bytes(40_000))
        with pytest.raises(OutputError):
            sink.feed(frames(500))
        (small_disk / "other").unlink()
        sink.feed([frame(0, id="after")])
        sink.finish()
        assert rows(small_disk / "out")[-1] == "after"

    def test_when_a_file_may_not_grow_rows_that_were_written_are_whole(
        self, tmp_path: Path
    ) -> None:
        program = (
            "import resource, sys\n"
            "from datastalker.testing import build, frame\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "frames = [frame(i, id=f'f-{i}') for i in range(5000)]\n"
            "try: build([{'csv': {'directory': sys.argv[1]}}], frames).run()\n"
            "except Exception as error: print(type(error).__name__, error)\n"
        )
        said, _ = python(program, tmp_path, stdout=subprocess.PIPE).communicate(timeout=60)
        assert said.startswith(f"OutputError csv: {tmp_path}/frame-20260302T170000Z.csv.part can't")
        written = rows(tmp_path)
        assert written == [f"f-{i}" for i in range(len(written))]
        assert len(written) > 100


class TestCrash:
    def test_after_kill_9_the_next_start_keeps_the_whole_rows(self, tmp_path: Path) -> None:
        program = (
            "import sys\n"
            "from datastalker.testing import build, frame\n"
            "pipeline = build([{'csv': {'directory': sys.argv[1]}}])\n"
            "for n in range(10**9): pipeline.feed([frame(n / 1000, id=f'f-{n}')])\n"
        )
        process = python(program, tmp_path)
        part = tmp_path / "frame-20260302T170000Z.csv.part"
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 100_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open(part, "ab") as torn:
            torn.write(b"2026-03-02T17:00:00.00")
        write(tmp_path, [frame(86_400, id="next")])
        *kept, last = rows(tmp_path)
        assert kept == [f"f-{i}" for i in range(len(kept))]
        assert (len(kept) > 300, last) == (True, "next")
        assert not list(tmp_path.glob("*.part"))

    def test_a_run_over_the_same_input_after_a_crash_gives_what_it_would_have_given(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path / "whole", frames(200, 0.5), rotate_seconds=60)
        crashed = tmp_path / "crashed"
        pipeline = build([{"csv": {"directory": str(crashed), "rotate_seconds": 60}}])
        pipeline.feed(frames(150, 0.5))
        for file in pipeline.entries[0].component.files.values():  # type: ignore[union-attr]
            file.handle.close()
        write(crashed, frames(200, 0.5), rotate_seconds=60)
        assert content(crashed) == content(tmp_path / "whole")

    @pytest.mark.parametrize(
        "left", [b"", b"time,times", b"time,timestamp\r\n", b"a\r\nhalf a row"]
    )
    def test_a_file_without_a_whole_row_is_thrown_away(self, tmp_path: Path, left: bytes) -> None:
        (tmp_path / "frame-20260302T170000Z.csv.part").write_bytes(left)
        write(tmp_path, [frame(0, id="a")])
        assert (list(content(tmp_path)), rows(tmp_path)) == (["frame-20260302T170000Z.csv"], ["a"])

    def test_what_another_process_is_writing_is_left_alone(self, tmp_path: Path) -> None:
        one = build([{"csv": {"directory": str(tmp_path)}}])
        one.feed(frames(10, sensor="hall"))
        write(tmp_path, frames(20, sensor="attic"))
        one.feed(frames(5, sensor="hall"))
        one.finish()
        assert Counter(rows(tmp_path)) == Counter(m["id"] for n in (10, 20, 5) for m in frames(n))

    def test_processes_that_share_a_folder_lose_no_row_and_write_none_twice(
        self, tmp_path: Path
    ) -> None:
        program = (
            "import sys\n"
            "from datastalker.testing import frame, run\n"
            "csv = {'csv': {'directory': sys.argv[1], 'rotate_seconds': 5}}\n"
            "for turn in range(4):\n"
            "    ids = (f'{sys.argv[2]}-{turn}-{i}' for i in range(300))\n"
            "    run([csv], [frame(i / 10, id=id) for i, id in enumerate(ids)], batch=10)\n"
        )
        processes = [python(program, tmp_path, name) for name in "abcd"]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
        expected = [
            f"{name}-{turn}-{i}" for name in "abcd" for turn in range(4) for i in range(300)
        ]
        assert sorted(rows(tmp_path)) == sorted(expected)
        assert not list(tmp_path.glob("*.part"))
