"""What lies in a topic once more: into the same topic, another, two configurations, a file."""

from __future__ import annotations

import csv
import fcntl
import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient, NewTopic

from datastalker import config as configuration
from datastalker import dump
from datastalker.compare import compare
from datastalker.delivery import COPY
from datastalker.errors import InputError, OutputError
from datastalker.history import History
from datastalker.position import show_time
from datastalker.record import Decoder, Record
from infra.local import Elasticsearch, Kafka
from infra.whole import ROOT, WholeError, capture, messages, stalk, wait_until_idle, worker

PIPELINE = """\
name: {name}
kafka: {{bootstrap_servers: "{kafka}", partitions: 3}}
workers: {{http_port: 0}}
pipeline:
  - pcap: {{path: "{folder}/air/sensor-*.pcap"}}
  - topic: {name}.frames
  - dedupe: {{window_seconds: {window}}}
  - beacon_filter
  - oui
  - presence: {{absent_after_seconds: 60}}
  - topic: {{frame: {name}.decorated, presence: {name}.presence}}
  - csv: {{directory: {folder}/out}}
  - elasticsearch: {{hosts: ["{elasticsearch}"], index: {name}, replicas: 0}}
"""


class Site:
    """A capture that went the whole way: agent, worker, both sinks."""

    def __init__(self, folder: Path, kafka: Kafka, elasticsearch: Elasticsearch) -> None:
        self.folder, self.servers, self.store = folder, kafka.bootstrap_servers, elasticsearch.url
        self.name = f"again-{uuid.uuid4().hex[:8]}"
        self.frames, self.decorated = f"{self.name}.frames", f"{self.name}.decorated"
        self.presence = f"{self.name}.presence"
        self.config = self.write("config", 2)
        stalk("simulate", "--out", str(folder / "air"), "--minutes", "3")
        stalk("topics", "apply", "-c", self.config)
        with worker(Path(self.config), folder / "worker.log") as address:
            capture(self.config)
            wait_until_idle(address, self.count(self.frames))
            end = time.monotonic() + 60
            while self.frames not in self.moved():  # a worker commits every few seconds
                assert time.monotonic() < end
                time.sleep(0.2)
        self.drain()

    def write(self, name: str, window: float) -> str:
        path = self.folder / f"{name}.yaml"
        text = PIPELINE.format(
            name=self.name, kafka=self.servers, elasticsearch=self.store, folder=self.folder,
            window=window,
        )  # fmt: skip
        path.write_text(text)
        return str(path)

    def drain(self) -> None:
        for sink in ("csv", "elasticsearch"):
            stalk("sink", sink, "--drain", "-c", self.config)

    def count(self, topic: str) -> int:
        return messages(self.servers, topic)

    def rows(self) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for path in (self.folder / "out").glob("*.csv"):
            with open(path, encoding="utf-8", newline="") as handle:
                found.update(tuple(row.items()) for row in csv.DictReader(handle))
        return found

    def documents(self) -> int:
        def request(path: str, method: str) -> Any:
            asked = urllib.request.Request(f"{self.store}/{self.name}*/{path}", method=method)
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return json.loads(answer.read())

        request("_refresh", "POST")
        return int(request("_count", "GET")["count"])

    def offsets(self) -> dict[str, list[tuple[str, int, int]]]:
        """Of its consumer groups (others' tests have theirs), that of replays left out."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
        found = {}
        for group in groups:
            if "-replay-" in group or not group.startswith(self.name):
                continue
            asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
            parts = asked[group].result().topic_partitions
            found[group] = sorted((p.topic, p.partition, p.offset) for p in parts)
        return found

    def moved(self) -> set[str]:
        """The topics in which somebody has come further than the beginning."""
        every = (part for parts in self.offsets().values() for part in parts)
        return {topic for topic, _, offset in every if offset > 0}

    def groups_of_replays(self) -> list[str]:
        admin = AdminClient({"bootstrap.servers": self.servers})
        valid = admin.list_consumer_groups().result().valid
        return [g.group_id for g in valid if g.group_id.startswith(f"{self.name}-replay-")]

    def records(self, topic: str) -> list[Record]:
        with History(configuration.load(self.config), [topic]) as history:
            return sorted(r for some in history.read() for r in some)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, kafka: Kafka, elasticsearch: Elasticsearch
) -> Site:
    return Site(tmp_path_factory.mktemp("again"), kafka, elasticsearch)


def content(record: Record) -> tuple[Any, ...]:
    return record.partition, record.key, record.value, record.headers


def test_into_live_topics_it_adds_no_document_and_no_row_and_moves_no_ones_offset(
    site: Site,
) -> None:
    rows, documents, offsets = site.rows(), site.documents(), site.offsets()
    assert documents > 100
    assert len(rows) == documents
    assert site.moved() >= {site.frames, site.decorated, site.presence}
    before = {topic: site.count(topic) for topic in (site.frames, site.decorated)}

    for topic in before:
        stalk("replay", "-c", site.config, "--topic", topic)

    assert {topic: site.count(topic) for topic in before} == {t: 2 * n for t, n in before.items()}
    assert site.offsets() == offsets
    with worker(Path(site.config), site.folder / "worker.log") as address:
        wait_until_idle(address, before[site.frames])
    site.drain()
    assert site.count(site.decorated) == 2 * before[site.decorated]  # the worker sent nothing new
    assert site.documents() == documents
    assert site.rows() == rows


def test_another_topic_is_made_and_has_the_same_bytes(site: Site) -> None:
    target = f"{site.name}.trial"

    said = stalk("replay", "-c", site.config, "--to", "5", "--to-topic", target)

    there = [record for record in site.records(site.frames) if record.offset < 5]
    assert f"{len(there):,} Kafka messages published to {target}" in said
    assert list(map(content, site.records(target))) == list(map(content, there))
    assert site.groups_of_replays() == []


def test_a_topic_with_other_partitions_is_refused(site: Site) -> None:
    narrow = f"{site.name}.narrow"
    admin = AdminClient({"bootstrap.servers": site.servers})
    admin.create_topics([NewTopic(narrow, 1, 1)])[narrow].result()

    with pytest.raises(WholeError, match=r"has 1 partitions and .* 3: messages stay in their"):
        stalk("replay", "-c", site.config, "--to-topic", narrow)


def test_a_filter_leaves_the_others_out_and_a_dry_run_publishes_nothing(site: Site) -> None:
    target, wanted = f"{site.name}.probes", "{kind: PROBE_REQ}"
    dry = stalk("replay", "-c", site.config, "--to", "9", "--filter", wanted, "--dry-run")
    before = site.count(site.frames)

    stalk("replay", "-c", site.config, "--to", "9", "--filter", wanted, "--to-topic", target)

    frames = [m for r in site.records(target) for m in Decoder().decode(r).messages]
    whole = [
        m
        for r in site.records(site.frames)
        if r.offset < 9
        for m in Decoder().decode(r).messages
        if m["kind"] == "PROBE_REQ"
    ]
    assert frames == whole
    assert len(frames) > 5
    assert f"; {len(frames):,} messages in them" in dry
    assert "would be published" in dry
    assert site.count(site.frames) == before


class Slow:
    """A topic of twelve messages that were published a second apart, a minute ago."""

    def __init__(self, site: Site) -> None:
        self.site, self.topic = site, f"{site.name}.slow-{uuid.uuid4().hex[:6]}"
        self.target = f"{self.topic}-again"
        self.start = (time.time_ns() // 10**9 - 60) * 1000
        admin = AdminClient({"bootstrap.servers": site.servers})
        for future in admin.create_topics(
            [NewTopic(self.topic, 1, 1), NewTopic(self.target, 1, 1)]
        ).values():
            future.result()
        told = [
            Record(self.topic, 0, n, self.start + n * 1000, None, b"%d" % n, []) for n in range(12)
        ]
        dump.publish(configuration.load(site.config), self.topic, told, 1)
        self.arguments = ["replay", "-c", site.config, "--topic", self.topic]
        self.arguments += ["--to-topic", self.target]

    @property
    def replayed(self) -> list[Record]:
        return self.site.records(self.target)

    def second(self, number: int) -> str:
        return show_time((self.start + number * 1000) * 1000)

    def play(self, count: int, number: int) -> tuple[int, str]:
        """Replay at twice the pace, on a terminal, and send a signal when so many have come;
        exit code, and what was shown."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [sys.executable, "-m", "datastalker", *self.arguments, "--speed", "2x"]
        process = subprocess.Popen(command, cwd=ROOT, stderr=theirs)
        os.close(theirs)
        end = time.monotonic() + 60
        while self.site.count(self.target) < count:
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        shown = b""
        try:
            while data := os.read(ours, 65_536):
                shown += data
        except OSError:  # nobody has the terminal's other end any more
            pass
        os.close(ours)
        return process.wait(60), shown.decode()


@pytest.fixture
def slow(site: Site) -> Slow:
    return Slow(site)


ALL = [b"%d" % n for n in range(12)]


def test_it_keeps_the_pace_tells_the_time_left_and_goes_on_where_it_was_ended(slow: Slow) -> None:
    code, shown = slow.play(6, signal.SIGINT)

    assert code == 0, shown
    assert "go on with --resume" in shown
    times = [record.time or 0 for record in slow.replayed]
    assert 6 <= len(times) < 12
    assert 2.4 < (times[5] - times[0]) / 1000 < 4.5  # 5 s of then, at twice the pace
    lines = [line for line in shown.split("\r\x1b[2K")[:-1] if line]
    looks = r"\[█*·*\] \d+%  [\d,]+ messages  [\d,]+/s  \d+ s left"
    assert len(lines) > 3
    assert [line for line in lines[1:] if not re.fullmatch(looks, line)] == []

    stalk(*slow.arguments, "--resume")
    assert [record.value for record in slow.replayed] == ALL
    assert slow.site.groups_of_replays() == []


def test_one_that_is_killed_goes_on_from_its_last_mark(slow: Slow) -> None:
    code, _ = slow.play(9, signal.SIGKILL)
    assert code == -signal.SIGKILL

    stalk(*slow.arguments, "--resume")

    values = [record.value for record in slow.replayed]
    assert list(dict.fromkeys(values)) == ALL
    assert values.count(b"0") == 1  # not from the beginning
    assert slow.site.groups_of_replays() == []


def test_a_range_is_given_by_the_times_at_which_messages_were_published(slow: Slow) -> None:
    stalk(*slow.arguments, "--from", slow.second(3), "--to", slow.second(7))

    assert [record.value for record in slow.replayed] == ALL[3:7]


def test_two_configurations_over_the_same_range_and_what_differs(site: Site) -> None:
    same = stalk("replay", "-c", site.config, "--compare", site.config, site.config)
    assert "no difference" in same

    with pytest.raises(WholeError, match="ended with 1"):
        stalk("replay", "--compare", site.config, site.write("other", 0.001))
    command = [sys.executable, "-m", "datastalker", "replay"]
    command += ["--compare", site.config, str(site.folder / "other.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    head = done.stdout.splitlines()[1].split()
    frame = done.stdout.splitlines()[2].split()
    assert (head[:2], frame[0]) == (["type", "same"], "frame")
    assert int(frame[-1].replace(",", "")) > 10  # copies that a short window lets pass
    assert any(line.startswith("+ ") for line in done.stdout.splitlines())
    assert site.count(site.decorated) == len(site.records(site.decorated))


SLOW = """\
import time
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage("slow")
class Slow(Stage):
    "Takes 5.1 s with the first messages that it gets."
    pause = 5.1
    def handle(self, message):
        time.sleep(self.pause)
        self.pause = 0
        return message
"""


def test_a_comparison_that_takes_long_tells_how_far_it_is_without_a_terminal_too(
    site: Site,
) -> None:
    (site.folder / "slow.py").write_text(SLOW)
    slow = site.folder / "slow.yaml"
    text = Path(site.config).read_text()
    slow.write_text("plugins: [slow.py]\n" + text.replace("  - oui\n", "  - slow\n  - oui\n"))

    command = [sys.executable, "-m", "datastalker", "replay", "--compare", site.config, str(slow)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    looks = r"\d+%  [\d,]+ messages  [\d,]+/s  \d+ s left"
    told = [line for line in done.stderr.splitlines() if re.fullmatch(looks, line)]
    assert (done.returncode, len(told) > 0) == (0, True), done.stderr


def test_which_keys_differ_and_in_how_many_messages_is_said(site: Site) -> None:
    other = site.folder / "receivers.yaml"
    text = Path(site.config).read_text()
    other.write_text(text.replace("  - oui\n", "  - oui: {fields: [ra]}\n"))
    before = {topic: site.count(topic) for topic in (site.frames, site.decorated, site.presence)}

    command = [sys.executable, "-m", "datastalker", "replay"]
    command += ["--to", "9", "--compare", site.config, str(other)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    kind, _, changed, gone, new = lines[2].replace(",", "").split()
    assert (kind, gone, new) == ("frame", "0", "0")
    transmitters = sum(
        message.get("ta") is not None
        for record in site.records(site.frames)
        if record.offset < 9
        for message in Decoder().decode(record).messages
    )
    (said,) = [line for line in lines if "'ta_randomized' differs in" in line]
    assert 10 < int(said.split()[-1].replace(",", "")) <= min(int(changed), transmitters)
    assert any(line.startswith("~ frame ") for line in lines)
    assert {topic: site.count(topic) for topic in before} == before


def test_where_no_file_can_be_kept_a_sentence_says_which_folder(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/self/fdinfo")
    config = configuration.load(site.config)

    with pytest.raises(OutputError, match=r"can't be kept in /proc/self/fdinfo: .*TMPDIR names"):
        compare(config, config, [site.frames])


@pytest.mark.parametrize("name", ["all.avro", "all.jsonl.gz"])
def test_a_file_brings_every_byte_back(site: Site, name: str, tmp_path: Path) -> None:
    topic, file = f"{site.name}.{uuid.uuid4().hex[:6]}", tmp_path / name
    config = tmp_path / "new.yaml"
    text = Path(site.config).read_text().replace(site.decorated, topic)
    config.write_text(text)
    stalk("topics", "apply", "-c", str(config))

    stalk("export", "-c", site.config, "--topic", site.decorated, "--to", "40", str(file))
    stalk("import", "-c", site.config, "--dry-run", str(file))
    stalk("import", "-c", site.config, "--topic", topic, str(file))

    there = [
        record
        for record in site.records(site.decorated)
        if record.offset < 40 and COPY not in dict(record.headers)  # of a replay before
    ]
    back = site.records(topic)
    assert [(content(r), r.time) for r in back] == [(content(r), r.time) for r in there]
    with pytest.raises(WholeError, match="is there already; --force replaces it"):
        stalk("export", "-c", site.config, "--topic", site.decorated, str(file))


@pytest.mark.parametrize("name", ["cut.avro", "cut.jsonl.gz"])
def test_a_damaged_file_says_where_and_publishes_nothing(
    site: Site, name: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    stalk("export", "-c", site.config, "--topic", site.frames, "--to", "40", str(file))
    before, data = site.count(site.frames), file.read_bytes()

    for damaged in (data[: len(data) * 2 // 3], data[:-9] + bytes(9)):
        file.write_bytes(damaged)
        with pytest.raises(WholeError, match=r"is damaged behind its message [\d,]+, or cut off"):
            stalk("import", "-c", site.config, str(file))
    file.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(InputError, match="damaged behind its message 0"):
        list(dump.read(file.rename(tmp_path / "no.jsonl.gz")))

    assert site.count(site.frames) == before
