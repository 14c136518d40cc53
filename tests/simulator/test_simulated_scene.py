"""What a scene leaves behind: the same files for the same seed, and a truth that is true."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from datastalker.errors import OutputError
from datastalker.simulator.scene import Options, Scene
from datastalker.simulator.truth import read_devices, read_stays
from datastalker.simulator.write import write_scene

START = 1_772_470_800_000_000
MINUTE = 60_000_000


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def transmissions(directory: Path) -> list[dict[str, str]]:
    with gzip.open(directory / "truth-transmissions.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_writes_the_same_bytes(small: Path, tmp_path: Path):
    write_scene(Options(minutes=5, attack=True), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(small)


def test_another_seed_is_another_scene(small: Path, tmp_path: Path):
    write_scene(Options(seed=2, minutes=5, attack=True), tmp_path / "other")
    other, first = contents(tmp_path / "other"), contents(small)
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first)


def test_others_find_in_each_capture_what_the_truth_says(small: Path, dissect):
    truth = transmissions(small)
    for sensor in ("hall", "study", "garage"):
        said = [row for row in truth if row[f"{sensor}_frame"]]
        seen = dissect(small / f"sensor-{sensor}.pcap")
        assert [int(row[f"{sensor}_frame"]) for row in said] == [*range(1, len(seen) + 1)]
        assert all(row["good"] for row in seen)
        for true, row in zip(said, seen, strict=True):
            assert [true[key] for key in ("kind", "ta", "ra", "seq", "frag", "tid")] == [
                "" if row.get(key) is None else str(row[key])
                for key in ("kind", "ta", "ra", "seq", "frag", "tid")
            ]
            assert int(true[f"{sensor}_signal_dbm"]) == row["signal_dbm"]
            assert 25 + int(true["length"]) + 4 == row["wire"]
            assert true["retry"] in ("", str(int(row["retry"])))


def test_each_sensor_hears_its_own(hour: Path):
    heard = [
        tuple(bool(row[f"{sensor}_frame"]) for sensor in ("hall", "study", "garage"))
        for row in transmissions(hour)
    ]
    assert len(set(heard)) == 8  # all, none, and every combination
    assert 60_000 < sum(map(sum, heard)) < 120_000


def confused(options: Options, *, receiver: bool) -> int:
    """How many transmissions are like another's of the last two seconds, with or without its RA."""
    last: dict[object, int] = {}
    count = 0
    for sent in Scene(options).run():
        f = sent.frame
        if f.seq is not None:
            tsf = f.data[24:32] if f.kind == "BEACON" else b""
            key = (f.ta, f.ra if receiver else b"", f.kind, f.seq, f.frag, f.retry, f.tid,
                   len(f.data), tsf)  # fmt: skip
            count += sent.time_us - last.get(key, -MINUTE) < 2_100_000
            last[key] = sent.time_us
    return count


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_transmission_is_told_from_all_others_by_its_header(seed: int):
    assert confused(Options(seed=seed, attack=True), receiver=True) == 0


def test_an_access_point_sends_the_same_numbers_to_several_receivers():
    assert confused(Options(), receiver=False) > 0


def test_a_third_try_is_bit_for_bit_the_second():
    assert confused(Options(retries=3), receiver=True) > 10


def test_the_truth_tells_the_story_of_the_hour(hour: Path):
    stays = defaultdict(list)
    for stay in read_stays(hour):
        stays[stay.device].append((stay.first_us - START, stay.last_us - START))
    (gone, _), (begin, _) = stays["phone-anna"][0], stays["phone-anna"][1]
    assert gone < MINUTE
    assert 11 * MINUTE < stays["phone-anna"][0][1] < 12 * MINUTE
    assert 35 * MINUTE < begin < 36 * MINUTE
    ((arrives, leaves),) = stays["phone-ben"]
    assert 5 * MINUTE < arrives < 6 * MINUTE
    assert 39 * MINUTE < leaves < 40 * MINUTE
    ((arrives, leaves),) = stays["phone-dora"]
    assert 20 * MINUTE < arrives < 21 * MINUTE
    assert 34 * MINUTE < leaves < 35 * MINUTE
    assert len(stays["phone-cleo"]) >= 5
    assert "attacker" not in stays


def test_a_shy_phone_never_uses_an_address_twice(hour: Path):
    (addresses,) = [
        row.addresses.split() for row in read_devices(hour) if row.label == "phone-cleo"
    ]
    stays = [stay.address for stay in read_stays(hour) if stay.device == "phone-cleo"]
    assert stays == addresses
    assert len(set(stays)) == len(stays)
    assert all(int(address[1], 16) & 2 for address in addresses)


def test_nobody_who_is_there_is_silent_for_a_minute(hour: Path):
    assert max(stay.longest_silence_us for stay in read_stays(hour)) < MINUTE


def test_the_attack_is_a_flood_in_an_access_points_name(hour: Path):
    flood = [row for row in transmissions(hour) if row["device"] == "attacker"]
    times = [int(row["time_us"]) for row in flood]
    (victim,) = [row.addresses for row in read_devices(hour) if row.label == "ap-living"]
    assert 19_000_000 < max(times) - min(times) < 20_100_000
    assert len(flood) > 500
    assert {(row["kind"], row["ta"]) for row in flood} == {("DEAUTH", victim)}


def test_who_was_thrown_out_joins_again(hour: Path):
    joins = [row for row in transmissions(hour) if row["kind"] == "REASSOC_REQ"]
    attacked = START + 30 * MINUTE
    assert any(0 < int(row["time_us"]) - attacked < 2 * MINUTE for row in joins)


def test_sensors_disagree_by_less_than_five_milliseconds():
    """With the truth, and so by less than ten with each other; never to the microsecond."""
    scene = Scene(Options(minutes=5))
    off = [
        copy.timestamp_us - scene.start_us - sent.time_us
        for sent in scene.run()
        for copy in sent.copies
        if copy
    ]
    assert -5000 < min(off) < max(off) < 5000
    assert len(set(off)) > 1000


@pytest.mark.parametrize(("minutes", "sensors", "density"), [(1, 1, 0.1), (1, 6, 10), (2, 2, 3)])
def test_a_scene_of_any_size(tmp_path: Path, minutes: float, sensors: int, density: float):
    written = write_scene(Options(minutes=minutes, sensors=sensors, density=density), tmp_path)
    assert len(written.frames) == sensors
    assert all(written.frames.values())


def test_it_does_not_write_among_other_peoples_files(tmp_path: Path):
    (tmp_path / "README.txt").write_text("mine")
    with pytest.raises(OutputError, match="did not write"):
        write_scene(Options(minutes=1), tmp_path)
    assert contents(tmp_path) == {"README.txt": b"mine"}


def test_it_replaces_what_it_wrote_before_and_leaves_no_sensor_behind(tmp_path: Path):
    write_scene(Options(minutes=1, sensors=3), tmp_path)
    write_scene(Options(minutes=1, sensors=2), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("sensor-*")) == [
        "sensor-hall.pcap",
        "sensor-study.pcap",
    ]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_a_sentence_with_the_remedy_and_no_half_files(small_disk: Path):
    with pytest.raises(OutputError) as told:
        write_scene(Options(minutes=10), small_disk / "out")
    assert str(told.value) == (
        f"can't write {small_disk}/out: No space left on device; make room, or name another "
        "directory; what was written of it is removed"
    )
    assert list(small_disk.iterdir()) == []


def test_who_interrupts_it_finds_no_half_files(tmp_path: Path):
    def stop(part: float) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_scene(Options(minutes=10), tmp_path / "out", stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_it_says_where_it_can_not_write(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file; name a directory"):
        write_scene(Options(minutes=1), tmp_path / "file")
    with pytest.raises(OutputError, match=r"can't write .*out"):
        write_scene(Options(minutes=1), tmp_path / "file" / "out")
