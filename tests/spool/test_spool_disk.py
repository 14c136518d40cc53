"""The spool on disk: what was written comes out again, whatever became of process and disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from capture_agent import spool_format
from capture_agent.outbox import Parcel
from capture_agent.spool import Spool, SpoolFull
from capture_agent.spool_files import Position, contents
from datastalker.errors import OutputError

MB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


def parcel(number: int, size: int = 1000, kind: str = "frames", session: str = "now") -> Parcel:
    value = random.Random(number).randbytes(size)
    return Parcel("wifi.frames", number % 3, value, kind, 7, None, session, number, 1_000 + number)


def filled(path: Path, count: int, **options: Any) -> Spool:
    spool = Spool(path, options.pop("max_bytes", 4 * MB))
    for number in range(count):
        spool.append(parcel(number, **options))
    return spool


def given(spool: Spool) -> list[Parcel]:
    """Everything that it gives, each delivered at once."""
    out = []
    while (item := spool.next()) is not None:
        out.append(item[1])
        spool.done(*item)
    return out


def damage(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_what_was_written_comes_out_in_order_and_the_same_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    spool = filled(tmp_path, 2000)
    with_key = Parcel("wifi.presence", -1, b"", "event", 0, b"\0key", "now", -1, 9)
    spool.append(with_key)

    assert spool.frames == 14_000
    assert len(list(tmp_path.glob("*.spool"))) > 3
    assert given(spool) == [*map(parcel, range(2000)), with_key]
    assert (spool.batches, spool.frames, spool.bytes) == (0, 0, 0)
    assert not list(tmp_path.glob("*.spool"))


def test_what_is_not_delivered_is_there_at_the_next_start_and_little_else(tmp_path: Path) -> None:
    spool = filled(tmp_path, 900)
    for _ in range(500):
        spool.done(*spool.next())
    spool.close()

    again = Spool(tmp_path, 4 * MB)

    assert again.batches == 400
    assert again.frames == 2800
    assert [one.sequence for one in given(again)] == list(range(500, 900))


def test_what_is_delivered_out_of_order_is_not_given_again_when_all_before_it_is(
    tmp_path: Path,
) -> None:
    spool = filled(tmp_path, 10)
    items = [spool.next() for _ in range(10)]
    for number in (3, 1, 0, 2, 7):
        spool.done(*items[number])
    spool.close()

    assert [one.sequence for one in given(Spool(tmp_path, MB * 4))] == [4, 5, 6, 7, 8, 9]


def test_who_delivers_a_record_otherwise_does_not_get_it_from_the_spool(tmp_path: Path) -> None:
    spool = filled(tmp_path, 2)
    held = spool.append(parcel(2), ahead=True)
    spool.append(parcel(3))

    assert [spool.next()[1].sequence for _ in range(3)] == [0, 1, 3]
    assert spool.next() is None
    spool.done(held, parcel(2))
    assert spool.batches == 3


def test_at_the_cap_it_takes_no_more_and_the_oldest_segment_can_be_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2 * MB)
    number = 0
    while spool.bytes + 1075 <= 2 * MB:
        spool.append(parcel(number))
        number += 1
    with pytest.raises(SpoolFull):
        spool.append(parcel(number))

    assert spool.bytes <= 2 * MB
    assert sum(p.stat().st_size for p in tmp_path.glob("*.spool")) == spool.bytes
    lost = spool.drop_oldest()
    assert [one.sequence for _, one in lost] == list(range(len(lost)))
    assert 0 < len(lost) < number / 4
    spool.append(parcel(number))
    assert [one.sequence for one in given(spool)] == list(range(len(lost), number + 1))


def test_what_was_delivered_of_a_segment_is_not_lost_with_it(tmp_path: Path) -> None:
    spool = filled(tmp_path, 100)
    items = [spool.next() for _ in range(50)]
    for item in items[:10] + items[20:30]:
        spool.done(*item)

    lost = {one.sequence for _, one in spool.drop_oldest()}

    assert lost == set(range(10, 20)) | set(range(30, 100))
    assert spool.batches == 0


def test_segments_are_appended_to_and_removed_and_never_changed(tmp_path: Path) -> None:
    spool, seen, lengths = Spool(tmp_path, 2 * MB), dict[Path, bytes](), Counter[str]()
    chance = random.Random(1)
    for number in range(3000):
        if spool.bytes + 3000 > spool.max_bytes:
            spool.drop_oldest()
        spool.append(parcel(number, size=chance.randrange(2000)))
        if chance.random() < 0.6 and (item := spool.next()) is not None:
            spool.done(*item)
        if number % 10 == 0:
            spool.sync()
            now = {path: path.read_bytes() for path in tmp_path.glob("*.spool")}
            for path, data in now.items():
                before = seen.get(path, b"")
                assert data.startswith(before)
                lengths["grown" if len(data) > len(before) else "same"] += 1
            assert not set(seen) - set(now) or min(now) > min(seen)  # the oldest goes first
            seen = now
    spool.close()

    assert min(seen).stem > "0000000004"
    assert lengths["grown"] > 250
    assert lengths["same"] > 250


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_byte_anywhere_costs_one_record_and_no_wrong_one_comes_out(
    tmp_path: Path, seed: int
) -> None:
    filled(tmp_path, 60).close()
    (path,) = tmp_path.glob("*.spool")
    chance = random.Random(seed)
    at = chance.randrange(spool_format.START, path.stat().st_size - 1)
    before = path.read_bytes()[at]
    damage(path, at, bytes([before ^ 1 << chance.randrange(8)]))

    told = contents(tmp_path)
    spool = Spool(tmp_path, 4 * MB)
    out = given(spool)

    assert told.batches.total() == len(out) == 59
    assert 1000 < sum(told.damaged.values()) < 1200
    assert [one for one in out if one != parcel(one.sequence)] == []


@pytest.mark.parametrize("cut", [1, 11, 12, 500, 1050])
def test_a_record_that_was_cut_off_is_left_out_and_those_before_and_behind_come(
    tmp_path: Path, cut: int
) -> None:
    filled(tmp_path, 5).close()
    (path,) = tmp_path.glob("*.spool")
    os.truncate(path, path.stat().st_size - cut)

    spool = Spool(tmp_path, 4 * MB)
    spool.append(parcel(5))

    assert [one.sequence for one in given(spool)] == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("size", [0, 3, spool_format.START - 1])
def test_a_segment_without_a_whole_header_does_not_keep_it_from_starting(
    tmp_path: Path, size: int
) -> None:
    filled(tmp_path, 5).close()
    (tmp_path / "0000000007.spool").write_bytes(b"\0" * size)

    assert len(given(Spool(tmp_path, 4 * MB))) == 5


def test_a_segment_with_a_damaged_header_is_set_aside_and_one_of_a_later_version_left(
    tmp_path: Path,
) -> None:
    filled(tmp_path, 5).close()
    later = bytearray(spool_format.header(5))
    later[7] = 2
    later[12:] = zlib.crc32(bytes(later[:12])).to_bytes(4, "little")
    (tmp_path / "0000000008.spool").write_bytes(later + b"?" * 100)
    (tmp_path / "0000000009.spool").write_bytes(b"?" * 100)

    told = contents(tmp_path)
    spool = Spool(tmp_path, 4 * MB)

    assert told.unreadable["0000000008.spool"] == "it has version 2, not 1"
    assert told.unreadable["0000000009.spool"] == "its header is damaged"
    assert len(given(spool)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000000008.spool",
        "damaged",
        "lock",
        "totals",
    ]


@pytest.mark.parametrize(
    "text", [b"", b"\0" * 20, b"[1]", b"{}", b"[99, 16, 5]", b'["a", 1, 2]', b"[1e99, 0, 0]"]
)
def test_a_cursor_that_is_nonsense_means_from_the_beginning(tmp_path: Path, text: bytes) -> None:
    spool = filled(tmp_path, 5)
    spool.done(*spool.next())
    spool.close()
    (tmp_path / "cursor").write_bytes(text)

    assert len(given(Spool(tmp_path, 4 * MB))) == 5


def bytes_read() -> int:
    """By this process, so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("crash", [False, True])
def test_a_start_reads_nothing_but_what_a_crash_left_unknown(tmp_path: Path, crash: bool) -> None:
    """A gigabyte would keep it from capturing for many seconds."""
    spool = filled(tmp_path / "before", 3000)
    if crash:
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    spool.close()
    if not crash:
        (tmp_path / "before").rename(tmp_path / "after")
    last = max((tmp_path / "after").glob("*.spool")).stat().st_size

    before = bytes_read()
    again = Spool(tmp_path / "after", 4 * MB)
    read = bytes_read() - before

    assert read < 50_000 + (last * 1.1 if crash else 0) < 700_000 < again.bytes / 4
    assert (again.batches, again.frames) == (3000, 21_000)
    assert again.held.places == {("wifi.frames", number): 1000 for number in range(3)}
    assert [one.sequence for one in given(again)] == list(range(3000))
    assert again.batches == 0


def test_what_is_delivered_of_a_segment_is_not_counted_at_the_next_start(tmp_path: Path) -> None:
    """Its note says what was written to it."""
    spool = filled(tmp_path, 1500)
    for _ in range(800):
        spool.done(*spool.next())
    spool.close()
    for _ in range(3):
        spool = Spool(tmp_path, 4 * MB)
        assert (spool.batches, spool.frames) == (700, 4900)
        spool.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0\n",
        "x\n[]",
        "[1]",
        "223132457\n[]",
        "{0}\n[[1]]",
        "{0}\n[[1, 2, 3, 4, 5, 6]]",
        "{0}\n5",
    ],
)
def test_a_note_that_is_nonsense_is_not_believed(tmp_path: Path, text: str) -> None:
    filled(tmp_path, 900).close()
    body = text.partition("\n")[2]
    (tmp_path / "totals").write_text(text.format(zlib.crc32(body.encode())))

    assert Spool(tmp_path, 4 * MB).batches == 900


def test_a_note_of_another_segment_of_that_number_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path / "one", 10, session="then").close()
    filled(tmp_path / "two", 10, session="now.").close()
    shutil.copy(tmp_path / "one" / "totals", tmp_path / "two" / "totals")

    assert Spool(tmp_path / "two", 4 * MB).held.frames == {"now.": 70}


def test_a_record_inside_a_strangers_bytes_is_never_taken_for_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4 * MB)
    forged = spool_format.pack(parcel(666), salt=0)
    spool.append(Parcel("wifi.frames", 0, b"ssid" + forged, "frames", 1, None, "now", 0, 1))
    spool.append(parcel(1))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    damage(path, spool_format.START + 20, b"\xff")

    assert [one.sequence for one in given(Spool(tmp_path, 4 * MB))] == [1]


def test_what_is_damaged_while_it_runs_is_lost_and_does_not_stand_in_the_way(
    tmp_path: Path,
) -> None:
    spool = filled(tmp_path, 5)
    (path,) = tmp_path.glob("*.spool")
    damage(path, spool_format.START + 20, b"\xff\xff")

    assert [one.sequence for one in given(spool)] == [1, 2, 3, 4]
    assert spool.next() is None
    assert spool.batches == 0


def test_what_can_not_be_read_any_more_is_said_once_while_another_is_on_its_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = filled(tmp_path / "spool", 40, size=20_000, max_bytes=2 * MB)
    segments = len(list((tmp_path / "spool").glob("*.spool")))
    first = spool.next()
    shutil.rmtree(tmp_path / "spool")
    while spool.next() is not None:
        pass
    for _ in range(100):  # an agent asks some fifty times a second
        assert spool.next() is None

    assert first is not None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == segments - 1 > 1, said
    assert all("can't be read any more: No such file" in line for line in said)


@pytest.mark.parametrize("noted", [False, True])
def test_a_spool_of_which_nothing_can_be_read_is_an_empty_one(tmp_path: Path, noted: bool) -> None:
    filled(tmp_path, 5).close()
    (path,) = tmp_path.glob("*.spool")
    damage(path, spool_format.START, bytes(path.stat().st_size - spool_format.START))
    if not noted:
        (tmp_path / "totals").unlink()

    spool = Spool(tmp_path, 2 * MB)

    assert given(spool) == []
    assert (spool.batches, spool.bytes) == (0, 0)
    spool.append(parcel(9))
    assert [one.sequence for one in given(spool)] == [9]


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    spool = filled(tmp_path, 1)

    with pytest.raises(OutputError, match=f"is used by process {os.getpid()}; end it, or give"):
        Spool(tmp_path, MB)
    spool.close()
    Spool(tmp_path, MB).close()


def test_a_folder_that_can_t_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"spool_directory: .*file/spool can't be used: Not a"):
        Spool(tmp_path / "file" / "spool", MB)


_WRITER = """
import sys
from pathlib import Path
from capture_agent.outbox import Parcel
from capture_agent.spool import Spool
spool = Spool(Path(sys.argv[1]), 1 << 30)
number = 0
while True:
    value = b"%d " % number * 3000
    spool.append(Parcel("t", 0, value, "frames", 1, None, "s", number, 0))
    print(number, flush=True)
    number += 1
    if number % 7 == 0:
        spool.sync()
        spool.done(*spool.next())
"""


@pytest.mark.parametrize("lines", [1, 40, 333])
def test_kill_9_in_the_middle_of_writing_loses_at_most_the_record_in_hand(
    tmp_path: Path, lines: int
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(lines):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    last = int((writer.stdout.read().split() or [lines - 1])[-1])
    writer.wait()
    writer.stdout.close()

    out = given(Spool(tmp_path, 1 << 30))

    numbers = [one.sequence for one in out]
    assert numbers[-1] in (last, last + 1)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= (last + 1) // 7 + 1
    assert all(one.value == b"%d " % one.sequence * 3000 for one in out)


def test_positions_of_a_spool_that_was_emptied_come_behind_those_before(tmp_path: Path) -> None:
    spool = filled(tmp_path, 3)
    given(spool)
    first = spool.append(parcel(9))
    spool.close()
    again = Spool(tmp_path, 4 * MB)

    assert first > Position(1, 0)
    assert [one.sequence for one in given(again)] == [9]
