"""The source `pcap`: which files it reads, in which order, and what it counts."""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capture_agent.capture_file import CHUNK, CaptureError
from capture_agent.pcap import PcapSource
from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.options import complete, options_of
from datastalker.stats import Stats


def source(stats: Stats | None = None, **options: Any) -> PcapSource:
    known = options_of(PcapSource)
    assert known is not None
    problems: list[Any] = []
    config = complete(known, options, (), lambda *problem: problems.append(problem))
    problems += PcapSource.check_config(config)
    assert problems == []
    made = PcapSource.from_config(config, stats or Stats())
    assert isinstance(made, PcapSource)
    return made


def everything(**options: Any) -> list[Message]:
    return [message for batch in source(**options).run() for message in batch]


@pytest.fixture
def ack(make: SimpleNamespace, tmp_path: Path) -> Any:
    def write(name: str, *seconds: int, data: bytes = b"") -> Path:
        path = tmp_path / name
        path.write_bytes(make.pcap([(second, 0, data or make.ACK) for second in seconds], 105))
        return path

    return write


def shown(messages: list[Message]) -> list[tuple[int, str, int]]:
    return [(m["timestamp"] // 1_000_000, m["file"], m["frame_number"]) for m in messages]


def test_frames_know_their_file_number_and_sensor(ack: Any) -> None:
    path = ack("hall.pcap", 1, 2)
    first, second = everything(path=str(path))
    assert shown([first, second]) == [(1, "hall.pcap", 1), (2, "hall.pcap", 2)]
    assert first["sensor"] == "hall"
    assert everything(path=str(path), sensor="attic")[0]["sensor"] == "attic"


def test_ids_are_the_same_whenever_a_file_is_read_and_differ_between_files(ack: Any) -> None:
    one, two = ack("one.pcap", 1, 2), ack("two.pcap", 1, 3)
    ids = [message["id"] for message in everything(path=str(one))]
    assert ids == [message["id"] for message in everything(path=str(one))]
    others = [message["id"] for message in everything(path=str(two))]
    assert len({*ids, *others}) == 4
    assert ids[0].endswith("-1")


def test_files_are_merged_by_time_and_ties_by_name(ack: Any, tmp_path: Path) -> None:
    ack("b.pcap", 1, 4, 6)
    ack("a.pcap", 2, 3, 6)
    ack("c.pcap", 5)
    expected = [
        (1, "b.pcap", 1),
        (2, "a.pcap", 1),
        (3, "a.pcap", 2),
        (4, "b.pcap", 2),
        (5, "c.pcap", 1),
        (6, "a.pcap", 3),
        (6, "b.pcap", 3),
    ]
    assert shown(everything(path=str(tmp_path))) == expected
    assert shown(everything(path=str(tmp_path / "*.pcap"))) == expected
    paths = [str(tmp_path / name) for name in ("a.pcap", "b.pcap", "c.pcap", "a.pcap")]
    assert shown(everything(path=paths)) == expected


def test_time_that_runs_backwards_in_a_file_stays_so(ack: Any, tmp_path: Path) -> None:
    ack("a.pcap", 5, 1, 6)
    ack("b.pcap", 2, 7)
    assert [second for second, _, _ in shown(everything(path=str(tmp_path)))] == [2, 5, 1, 6, 7]


def test_many_files_are_opened_one_after_the_other(ack: Any, tmp_path: Path) -> None:
    for number in range(60):
        ack(f"{number:03}.pcap", 2 * number, 2 * number + 1)

    def handles() -> int:
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    before = handles()  # servers and clients of other tests among them
    reader = source(path=str(tmp_path))
    assert max(handles() for _ in reader.run()) - before < 10


def test_a_long_file_comes_in_batches(ack: Any) -> None:
    path = ack("a.pcap", *range(20_000))
    sizes = [len(batch) for batch in source(path=str(path)).run()]
    assert sum(sizes) == 20_000
    assert min(sizes[:-1]) >= 250
    assert max(sizes) < 3000


def test_what_is_dropped_is_counted_and_numbers_go_on(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    bad = bytes.fromhex("00000900 02000000 50") + make.ACK + b"FCS!"
    good = bytes.fromhex("00000900 02000000 10") + make.ACK + b"FCS!"
    path = tmp_path / "x.pcap"
    path.write_bytes(make.pcap([(1, 0, bad), (2, 0, good), (3, 0, b"x"), (4, 0, good)]))
    stats = Stats()
    messages = [m for batch in source(stats, path=str(path)).run() for m in batch]
    assert [m["frame_number"] for m in messages] == [2, 4]
    assert stats.get("pcap/dropped/bad_fcs") == 1
    assert stats.get("pcap/dropped/radio_header_cut") == 1
    assert len(everything(path=str(path), keep_bad_fcs=True)) == 3


def test_a_cut_file_is_said(ack: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = ack("a.pcap", 1, 2)
    path.write_bytes(path.read_bytes()[:-3])
    stats = Stats()
    assert len([m for batch in source(stats, path=str(path)).run() for m in batch]) == 1
    assert stats.get("pcap/damaged_files") == 1
    assert "was cut short inside record 2" in caplog.text


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_of_a_file_with_garbage_in_it_is_said_how_much_is_left_unread(
    make: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    if form == "pcap":
        frames = [make.pcap([(n, 0, make.ACK)], 105)[24:] for n in range(3000)]
        head = make.pcap([], 105)
    else:
        frames = [make.enhanced(0, n, make.ACK) for n in range(3000)]
        head = make.section() + make.interface(105)
    behind = b"\xff" * 64 + b"".join(frames[1:])
    path = tmp_path / f"a.{form}"
    path.write_bytes(head + frames[0] + behind)
    assert len(behind) > 2 * CHUNK
    stats = Stats()

    assert sum(map(len, source(stats, path=str(path)).run())) == 1
    size = path.stat().st_size
    assert f"({len(behind):,} of the file's {size:,} bytes were left unread)" in caplog.text
    assert stats.get("pcap/unread_bytes") == len(behind)
    assert stats.get("pcap/damaged_files") == 1


def test_of_a_packed_file_its_packed_bytes_count(
    make: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [(n, 0, make.ACK + random.Random(n).randbytes(200)) for n in range(2000)]
    data = make.pcap(records[:1], 105) + b"\xff" * 16 + make.pcap(records[1:], 105)
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(data))
    stats = Stats()

    assert sum(map(len, source(stats, path=str(path)).run())) == 1
    assert stats.get("pcap/unread_bytes") == path.stat().st_size - CHUNK
    assert "bytes were left unread" in caplog.text


def test_the_name_of_an_interface(make: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "a.b.pcapng"
    path.write_bytes(
        make.section()
        + make.interface(105, make.option(2, b"mon0"))
        + make.interface(105, make.option(2, b"mon1"))
        + make.enhanced(0, 1, make.ACK)
        + make.enhanced(1, 2, make.ACK)
    )
    messages = everything(path=str(path))
    assert [(m["interface"], m["frame_number"]) for m in messages] == [("mon0", 1), ("mon1", 2)]
    assert messages[0]["sensor"] == "a.b"


@pytest.mark.parametrize("name", ["a.pcap", "*.pcap", ""])
def test_a_folder_that_may_not_be_looked_into_is_not_called_empty(
    name: str, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    before = os.geteuid()
    if before == 0:  # who may look into everything
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"may not look into|locked/: Permission denied"):
            everything(path=f"{locked}/{name}")
    finally:
        os.seteuid(before)


def test_what_isnt_there_or_no_capture_is_named(ack: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(InputError, match="no such file"):
        everything(path=str(tmp_path / "nothing.pcap"))
    with pytest.raises(InputError, match="no file matches"):
        everything(path=str(tmp_path / "*.pcap"))
    with pytest.raises(InputError, match=r"correct pcap: path, or make a sample: stalk simulate"):
        everything(path=str(tmp_path / "*.pcap"))
    with pytest.raises(CaptureError, match="notes"):
        everything(path=str(tmp_path / "notes.txt"))
    with pytest.raises(InputError, match="holds no capture"):
        everything(path=str(tmp_path))
    ack("a.pcap", 1)
    assert len(everything(path=str(tmp_path))) == 1  # in a folder, notes are left out


@pytest.mark.parametrize("pattern", ["", "*"])
def test_of_several_files_one_that_is_no_capture_is_left_out_with_a_warning(
    ack: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    ack("a.pcap", 1)
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "notes.pcap").write_text("hello\n")
    stats = Stats()

    batches = list(source(stats, path=str(tmp_path / pattern)).run())

    assert sum(map(len, batches)) == 1
    assert stats.get("pcap/damaged_files") == 2
    assert [record.getMessage().split(": nothing")[0][:80] for record in caplog.records] == [
        f"left out: {tmp_path}/empty.pcap is empty"[:80],
        f"left out: {tmp_path}/notes.pcap is no capture file: it starts with"[:80],
    ]


def test_what_lies_in_a_folder_beside_captures_is_passed_over_in_silence(
    ack: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ack("a.pcap", 1)
    (tmp_path / "README.txt").write_text("hello\n")
    (tmp_path / "truth.csv.gz").write_text("hello\n")
    stats = Stats()

    assert sum(map(len, source(stats, path=str(tmp_path)).run())) == 1
    assert (caplog.messages, stats.get("pcap/damaged_files")) == ([], 0)


def test_of_several_files_none_that_can_be_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "notes.pcap").write_text("hello\n")

    with pytest.raises(
        InputError, match=r"can't read any file of .*\*.pcap: .*empty.pcap is empty"
    ):
        everything(path=str(tmp_path / "*.pcap"))


def test_a_file_that_is_named_outright_is_not_left_out(ack: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").touch()

    with pytest.raises(CaptureError, match="is empty"):
        everything(path=[str(ack("a.pcap", 1)), str(tmp_path / "empty.pcap")])


def test_progress_in_bytes(ack: Any) -> None:
    path = ack("a.pcap", 1, 2)
    reader = source(path=str(path))
    list(reader.run())
    assert reader.progress() == (path.stat().st_size, path.stat().st_size)


def test_speed_is_a_multiple_of_the_pace_of_the_air(ack: Any) -> None:
    path = ack("a.pcap", 1, 2, 3)
    began = time.monotonic()
    batches = list(source(path=str(path), speed=5.0).run())
    assert 0.35 < time.monotonic() - began < 3
    assert [len(batch) for batch in batches if batch] == [1, 1, 1]


def test_wrong_options_are_named() -> None:
    def problems(**options: Any) -> list[tuple[str, str]]:
        full = {"speed": "max", "keep_bad_fcs": False, "sensor": None, **options}
        return list(PcapSource.check_config(full))

    assert problems(path="") == [("path", "must name at least one file")]
    assert problems(path=["-", "a.pcap"]) == [("path", "'-' can't be merged with files")]
    assert [name for name, _ in problems(path="a", speed=0.0)] == ["speed"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_gives_frames_as_they_come(make: SimpleNamespace, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    raw = make.pcap([(1, 0, make.ACK), (2, 0, make.ACK)], 105)
    script = (
        "import sys, time\n"
        "out = open(sys.argv[1], 'wb', buffering=0)\n"
        "raw = bytes.fromhex(sys.argv[2])\n"
        "out.write(raw[:55]); time.sleep(1.0); out.write(raw[55:])\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(fifo), raw.hex()]):
        arrived: list[float] = []
        idle = 0
        batches: Iterator[list[Message]] = source(path=str(fifo)).run()
        for batch in batches:
            idle += not batch
            arrived += [time.monotonic()] * len(batch)
    assert len(arrived) == 2
    assert arrived[1] - arrived[0] > 0.5  # the first didn't wait for the second
    assert idle >= 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_nobody_writes_to_yet_is_waited_for_and_can_be_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Timer(10, lambda: fifo.open("wb").close())  # or a failure would never end
    writer.daemon = True
    writer.start()
    begin = time.monotonic()
    waiting = source(path=str(fifo))

    assert next(waiting.run()) == []

    writer.cancel()
    waiting.close()
    assert time.monotonic() - begin < 5


def test_a_file_of_ethernet_is_said_to_be_none_of_802_11(
    make: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lan.pcap"
    path.write_bytes(make.pcap([(1, 0, b"\0" * 60), (2, 0, b"\0" * 60)], 1))
    stats = Stats()
    assert everything(path=str(path), stats=stats) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} holds frames that are not of 802.11 (link type 1, Ethernet): they are dropped; "
        "capture in monitor mode"
    ]
    assert stats.get("pcap/dropped/link_type") == 2


def test_a_file_that_the_disk_cannot_read_is_named() -> None:
    with pytest.raises(CaptureError, match="can't read /proc/self/mem: Input/output error"):
        everything(path="/proc/self/mem")


def test_the_records_of_a_modified_pcap(make: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(make.pcap([(1, 0, make.ACK)], 105, ">", 0xA1B2CD34))
    assert struct.unpack(">I", path.read_bytes()[:4]) == (0xA1B2CD34,)
    assert everything(path=str(path))[0]["ra"] == make.A1.hex(":")
