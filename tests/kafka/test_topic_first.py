"""A pipeline whose first entry is a topic: what was published is read again, and nobody notices."""

from __future__ import annotations

import csv
import json
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from datastalker import config as configuration
from datastalker import history as history_module
from datastalker import merged
from datastalker.history import History
from datastalker.position import parse_position
from datastalker.record import Decoder
from infra.local import Kafka
from infra.whole import capture, stalk

STAGES = """\
  - dedupe: {window_seconds: 2}
  - beacon_filter
  - oui
  - moving_average
  - presence: {absent_after_seconds: 60}
"""
TOPICS = "  - topic: {frame: {n}.d, presence: {n}.p}\n"


class Site:
    """Three sensors' frames in a topic of three partitions, and the same as capture files."""

    def __init__(self, folder: Path, kafka: Kafka) -> None:
        self.folder, self.servers = folder, kafka.bootstrap_servers
        self.name = f"first-{uuid.uuid4().hex[:8]}"
        self.topic = f"{self.name}.frames"
        stalk("simulate", "--out", str(folder / "air"), "--minutes", "5", "--attack")
        self.pcap = f'  - pcap: {{path: "{folder}/air/sensor-*.pcap"}}\n'
        self.first = f"  - topic: {self.topic}\n"
        both = self.write("both", self.pcap + self.first + "  - print\n  - topic: {n}.out\n")
        stalk("topics", "apply", "-c", both)
        capture(both)

    def write(self, name: str, pipeline: str) -> str:
        path = self.folder / f"{name}.yaml"
        kafka = f'kafka: {{bootstrap_servers: "{self.servers}", partitions: 3}}\n'
        pipeline = pipeline.replace("{n}", self.name)
        path.write_text(f"name: {self.name}\n{kafka}pipeline:\n{pipeline}")
        return str(path)

    def rows(self, out: str, kind: str) -> list[dict[str, str]]:
        found = []
        for path in sorted((self.folder / out).glob(f"{kind}-*.csv")):
            with open(path, encoding="utf-8", newline="") as handle:
                found += list(csv.DictReader(handle))
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, kafka: Kafka) -> Site:
    return Site(tmp_path_factory.mktemp("first"), kafka)


def test_rows_and_their_order_are_those_of_the_capture_files(site: Site) -> None:
    for name, source in (("files", site.pcap), ("topic", site.first)):
        sink = f"  - csv: {{directory: {site.folder}/{name}}}\n"
        stalk("run", "-q", "-c", site.write(name, source + STAGES + sink))

    for kind in ("frame", "presence"):
        assert len(site.rows("files", kind)) > 10
        assert counted(site.rows("topic", kind)) == counted(site.rows("files", kind))
    times = [row["time"] for row in site.rows("topic", "frame")]
    assert times == sorted(times)


def counted(rows: list[dict[str, str]]) -> Counter[Any]:
    return Counter(tuple(row.items()) for row in rows)


def test_no_group_and_no_offset_tells_that_it_was_read(site: Site) -> None:
    admin = AdminClient({"bootstrap.servers": site.servers})
    stalk("run", "-q", "-c", site.write("quiet", site.first + "  - limit: {messages: 10}\n"))

    groups = {group.group_id for group in admin.list_consumer_groups().result().valid}
    assert not [group for group in groups if group.startswith(site.name)]


def history(site: Site, begin: str | None = None, end: str | None = None) -> History:
    config = configuration.load(site.write("range", site.first + "  - print\n"))
    positions = [None if text is None else parse_position(text) for text in (begin, end)]
    return History(config, [site.topic], *positions)


def places(site: Site, *positions: str | None) -> list[tuple[int, int]]:
    """Partition and offset of what lies in a range."""
    with history(site, *positions) as found:
        read = [(r.partition, r.offset) for records in found.read() for r in records]
        assert found.progress() == (len(read), len(read))
    return sorted(read)


def test_a_range_is_given_by_time_or_offset_and_ends_where_it_says(site: Site) -> None:
    every = places(site)

    assert len({number for number, _ in every}) == 3
    assert places(site, "2", "4") == [(n, offset) for n in range(3) for offset in (2, 3)]
    assert places(site, "1:3", "1:5") == [(1, 3), (1, 4)]
    assert places(site, "-1h") == every
    assert places(site, "end") == places(site, None, "-1h") == []


def test_a_time_is_that_of_the_broker_to_the_millisecond(site: Site) -> None:
    """By the stamps that it gave, not by our clock: a machine's may be set back at any moment."""
    with history(site) as found:
        stamps = {(r.partition, r.offset): r.time or 0 for some in found.read() for r in some}
    first, last = min(stamps.values()), max(stamps.values())
    middle = sorted(stamps.values())[len(stamps) // 2]

    assert first < middle <= last
    for stamp in (first, middle, last, last + 1):
        # In a partition, from the first of that time on
        later = sorted(
            (n, o) for n, o in stamps if any(stamps[n, p] >= stamp for p in range(o + 1))
        )
        assert places(site, at(stamp)) == later
        assert places(site, None, at(stamp)) == sorted(stamps.keys() - later)


def at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def test_a_new_stage_is_tried_on_a_range_of_it(site: Site) -> None:
    (site.folder / "new.py").write_text(NEW)
    trial = site.write("trial", f"{site.first}  - new\n  - csv: {{directory: {site.folder}/new}}\n")
    Path(trial).write_text("plugins: [new.py]\n" + Path(trial).read_text())
    stalk("run", "-q", "-c", trial, "--from", "2", "--to", "4")

    with history(site, "2", "4") as found:
        read = [m for some in found.read() for r in some for m in Decoder().decode(r).messages]
    rows = site.rows("new", "frame")
    assert Counter(row["id"] for row in rows) == Counter(message["id"] for message in read)
    assert {json.loads(row["extra"])["tried"] for row in rows} == {True}


NEW = """\
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage("new")
class New(Stage):
    def handle(self, message):
        message["tried"] = True
        return message
"""


def test_partitions_that_are_ahead_wait_and_nothing_is_lost_by_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with history(site) as found:
        every = sum(len(Decoder().decode(r).messages) for some in found.read() for r in some)
    monkeypatch.setattr(merged, "_MANY_HELD", 50)
    paused = []
    with history(site) as found:
        monkeypatch.setattr(history_module, "_AT_ONCE", 1)
        times = []
        for messages in merged.Merged(found, Decoder()).read():
            times += [message["timestamp"] for message in messages]
            paused.append(len(found.paused))

    assert max(paused) > 0
    assert len(times) == every
    assert times == sorted(times)


def test_check_explains_what_such_a_file_can_do(site: Site) -> None:
    sink = f"  - csv: {{directory: {site.folder}/x}}\n"
    said = stalk("check", "-c", site.write("one", site.first + STAGES + sink))
    assert "`stalk run` reads" in said
    said = stalk("check", "-c", site.write("two", site.first + STAGES + TOPICS + sink))
    assert f"workers run {site.name}-1; sinks: csv" in said
