"""Replay where it is easily wrong: sparse partitions, gaps, kills, copies, compaction, broken files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from datastalker import config as configuration
from datastalker import dump, record_writer
from datastalker import replay as replay_module
from datastalker.broker import connect
from datastalker.compare import compare
from datastalker.delivery import COPY
from datastalker.errors import BrokerError, InputError, OutputError, RegistryError
from datastalker.history import History
from datastalker.merged import Merged
from datastalker.position import parse_position
from datastalker.record import Decoder, Record
from datastalker.record_writer import RecordWriter
from datastalker.replay import Replay
from datastalker.wire.encoder import BatchEncoder
from infra.local import Kafka
from infra.whole import ROOT, WholeError, stalk


class Place:
    """A topic of raw messages, and a configuration that begins with it."""

    def __init__(self, folder: Path, servers: str) -> None:
        self.folder, self.servers = folder, servers
        self.topic = f"edge-{uuid.uuid4().hex[:8]}"
        self.again = f"{self.topic}-again"
        self.path = self.write("")

    def write(self, more: str, stages: str = "") -> str:
        path = self.folder / f"{uuid.uuid4().hex[:6]}.yaml"
        kafka = f'kafka: {{bootstrap_servers: "{self.servers}"}}\n'
        pipeline = f"pipeline:\n  - topic: {self.topic}\n{stages}  - print\n"
        path.write_text(f"name: {self.topic}\n{kafka}{more}{pipeline}")
        return str(path)

    @property
    def config(self) -> configuration.Config:
        return configuration.load(self.path)

    def make(self, partitions: int = 1, name: str = "", **settings: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers})
        name = name or self.topic
        new = NewTopic(
            name, partitions, 1, config={k.replace("_", "."): settings[k] for k in settings}
        )
        admin.create_topics([new])[name].result()

    def put(self, *records: Record, topic: str = "") -> None:
        writer = RecordWriter(self.config, topic or self.topic, keep_time=True)
        for record in records:
            writer.write(record)
        writer.flush()

    def read(self, topic: str = "", *positions: str) -> list[Record]:
        begin, end = (*map(parse_position, positions), None, None)[:2]
        with History(self.config, [topic or self.topic], begin, end) as history:
            return sorted(record for some in history.read() for record in some)

    def replay(self, target: str = "", **options: Any) -> Replay:
        options = {"speed": None, "group": f"{self.topic}-replay-x", **options}
        return Replay(self.config, self.topic, target or self.again, None, None, **options)


NOW = time.time_ns() // 10**6 - 600_000


def record(value: bytes | None, ms: int = 0, partition: int = 0, **rest: Any) -> Record:
    told = {"key": b"key", "headers": [], **rest}
    return Record("", partition, 0, NOW + ms, told["key"], value, told["headers"])


@pytest.fixture
def place(tmp_path: Path, kafka: Kafka) -> Place:
    return Place(tmp_path, kafka.bootstrap_servers)


def test_what_is_empty_and_what_is_null_stay_apart(place: Place, tmp_path: Path) -> None:
    place.make()
    headers: list[tuple[str, bytes | None]] = [("h", b""), ("h", None), ("ü", b"\xff\0")]
    place.put(
        record(None, key=None), record(b"", 1, key=b"", headers=headers), record(None, 2, key=b"k")
    )
    there = [r[4:] for r in place.read()]
    assert there == [(None, None, []), (b"", b"", headers), (b"k", None, [])]

    stalk("replay", "-c", place.path, "--to-topic", place.again)
    assert [r[4:] for r in place.read(place.again)] == there
    for name in ("all.avro", "all.jsonl"):
        topic, file = f"{place.topic}-{name[-4:].strip('.')}", str(tmp_path / name)
        place.make(name=topic)
        stalk("export", "-c", place.path, "--topic", place.topic, file)
        stalk("import", "-c", place.path, "--topic", topic, file)
        assert [r[3:] for r in place.read(topic)] == [r[3:] for r in place.read()]


def test_partitions_that_begin_at_other_times_keep_step(place: Place) -> None:
    place.make(2)
    place.put(*(record(b"late", 2000 + n * 200) for n in range(5)))
    place.put(*(record(b"early", n * 200, partition=1) for n in range(10)))

    with place.replay(speed=2.0) as replay:
        replay.run()

    back = sorted((r.time or 0, r.value) for r in place.read(place.again))
    assert [value for _, value in back] == [b"early"] * 10 + [b"late"] * 5
    apart = [(later[0] - back[0][0]) / 1000 for later in back]
    assert apart == pytest.approx([n / 10 for n in range(15)], abs=0.4)


def test_the_time_left_is_that_of_the_pace_and_not_of_the_count(place: Place) -> None:
    place.make()
    place.put(*(record(b"many", n) for n in range(100)), record(b"last", 3000))
    left: list[float] = []

    with place.replay(speed=1.0) as replay:
        replay.run(lambda: left.append(replay.seconds_left(1.0) or 0))

    assert 2 < max(left) <= 3  # with 100 of 101 done it is most of the time
    assert left[-1] < 1


def test_time_left_of_one_that_goes_on_is_by_what_it_did_itself(place: Place) -> None:
    place.make()
    place.put(*(record(b"%d" % n) for n in range(100)))
    with place.replay() as replay:
        replay.history.mark({(place.topic, 0): 50})

    with place.replay() as replay:
        assert replay.go_on()
        assert replay.seconds_left(1.0) is None
        replay._done[place.topic, 0] = 60
        assert replay.progress() == (60, 100)
        assert replay.seconds_left(1.0) == pytest.approx(4.0)


def test_gaps_of_transactions_are_no_end_and_no_hang(place: Place) -> None:
    place.make(2)
    for number in range(3):
        producer = Producer(
            {"bootstrap.servers": place.servers, "transactional.id": f"{place.topic}-{number}"}
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        for n in range(600):
            producer.produce(place.topic, b"%d" % number, partition=n % 2, timestamp=NOW + n)
        producer.flush()
        if number == 1:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)

    with place.replay(speed=1.0) as replay:  # by its pace, so partitions are held back
        replay.run()
        done, total = replay.progress()

    assert [r.value for r in place.read(place.again)] == ([b"0"] * 300 + [b"2"] * 300) * 2
    assert done == total


def test_of_partitions_that_are_not_named_nothing_is_read(place: Place) -> None:
    place.make(3)
    place.put(*(record(b"%d" % n, partition=p) for p in range(3) for n in range(5)))

    def read(*positions: str | None) -> list[tuple[int, int]]:
        begin, end = (None if text is None else parse_position(text) for text in positions)
        with History(place.config, [place.topic], begin, end) as history:
            return sorted((r.partition, r.offset) for some in history.read() for r in some)

    assert read(None, "1:2") == [(1, 0), (1, 1)]
    assert read("-1h", "0:1,2:1") == [(0, 0), (2, 0)]
    assert read("0:4,1:4", "0:5") == [(0, 4), (1, 4)]
    assert read("9", None) == read("3", "2") == []


def test_a_topic_that_is_misspelt_is_told_one_that_is_there(place: Place) -> None:
    place.make()
    wrong = place.topic.replace("edge", "egde")
    path = Path(place.path)
    path.write_text(path.read_text().replace(f"topic: {place.topic}", f"topic: {wrong}"))

    with pytest.raises(WholeError, match=f"is no topic '{wrong}', did you mean '{place.topic}'"):
        stalk("run", "-c", str(path))
    with pytest.raises(WholeError, match=r"is no topic 'nothing-like-it'\n"):
        stalk("replay", "-c", str(path), "--topic", "nothing-like-it")


def test_partitions_that_were_named_are_said(place: Place) -> None:
    place.make(3)
    place.put(*(record(b"%d" % n, partition=p) for p in range(3) for n in range(5)))

    def notes(begin: str | None, end: str | None) -> list[str]:
        positions = (None if text is None else parse_position(text) for text in (begin, end))
        with History(place.config, [place.topic], *positions) as history:
            return history.notes

    assert notes("2:3", None) == ["partition 2 from offset 3, of the others nothing"]
    assert notes("0:1,2:3", "2:4") == [
        "partition 0 from offset 1, partition 2 from offset 3 to offset 4, of the others nothing"
    ]
    assert notes("-1h", "1:2") == ["partition 1 to offset 2, of the others nothing"]
    assert notes("2", "4") == []


def test_partitions_that_were_named_are_said_by_tap_too(place: Place) -> None:
    place.make()
    place.put(record(batch("s")), record(batch("t")))

    said = stalk("tap", place.topic, "-c", place.path, "--from", "0:1", "--limit", "1")

    assert "partition 0 from offset 1, of the others nothing" in said
    assert "1 message looked at, 1 shown" in said


def test_a_range_behind_the_end_or_before_the_beginning_is_said_once(place: Place) -> None:
    place.make(2)
    place.put(*(record(b"%d" % n, partition=p) for p in range(2) for n in range(5 + p)))
    said = stalk("replay", "-c", place.path, "--from", "100000", "--dry-run")

    assert said.splitlines() == [
        f"{place.topic} ends before --from 100000: [0] has 0 to 5, [1] has 0 to 6",
        f"nothing of {place.topic} lies in that range",
    ]
    delete_before(place, 3)
    said = stalk("replay", "-c", place.path, "--from", "0:1", "--dry-run")
    assert said.splitlines()[:2] == [
        "partition 0 from offset 1, of the others nothing",
        f"{place.topic} begins behind --from 0:1: [0] has 3 to 5",
    ]


def delete_before(place: Place, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": place.servers})
    (future,) = admin.delete_records([TopicPartition(place.topic, 0, offset)]).values()
    future.result()


@pytest.mark.parametrize("command", ["replay", "run", "export x.jsonl --topic t"])
@pytest.mark.parametrize("positions", [("-1h", "-2h"), ("1", "0")])
def test_a_range_that_ends_before_it_begins_is_refused(
    place: Place, command: str, positions: tuple[str, str]
) -> None:
    begin, end = positions

    with pytest.raises(WholeError, match=rf"(?s)ended with 2.*--to {end} is before --from {begin}"):
        stalk(*command.split(), "-c", place.path, "--from", begin, "--to", end)


class KilledError(Exception):
    pass


def test_killed_before_it_marked_anything_it_goes_on_with_its_own_range(place: Place) -> None:
    """Not with that of an earlier one of the same name, and not with another `-2h`."""
    place.make()
    place.put(*(record(b"old", n) for n in range(4)))
    with place.replay() as replay:  # an earlier one, ended half way
        replay.history.mark({(place.topic, 0): 2})
    place.put(*(record(b"new", n) for n in range(3)))

    def kill() -> None:
        raise KilledError

    with place.replay() as replay, pytest.raises(KilledError):
        replay.run(kill)
    with place.replay() as replay:
        assert replay.go_on()
        replay.run()

    assert [r.value for r in place.read(place.again)] == [b"old"] * 4 + [b"new"] * 3


def test_after_kills_at_any_moment_nothing_is_missing(place: Place) -> None:
    place.make(2)
    place.put(*(record(b"%d" % n, n, partition=n % 2) for n in range(4000)))
    arguments = ["replay", "-c", place.path, "--to-topic", place.again, "--speed", "1x"]
    command = [sys.executable, "-m", "datastalker", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    resume: list[str] = []
    for seconds in (1.5, 0.7, 2.6):
        process = subprocess.Popen([*command, *resume], cwd=ROOT, env=environment)
        time.sleep(seconds)
        process.kill()
        process.wait()
        resume = ["--resume"] if groups(place) else []
    stalk(*arguments, *resume)

    back = [int(r.value or b"") for r in place.read(place.again)]
    assert set(back) == set(range(4000))
    assert len(back) < 3 * 4000  # what was published since the last mark, again
    assert groups(place) == []


def groups(place: Place) -> list[str]:
    admin = AdminClient({"bootstrap.servers": place.servers})
    valid = admin.list_consumer_groups().result().valid
    return [g.group_id for g in valid if g.group_id.startswith(f"{place.topic}-replay-")]


def test_there_is_nothing_to_go_on_with_unless_the_same_command_was_ended(place: Place) -> None:
    place.make()
    place.put(record(b"1"))
    stalk("replay", "-c", place.path, "--to-topic", place.again)

    with pytest.raises(WholeError, match="nothing to go on with: no replay of"):
        stalk("replay", "-c", place.path, "--to-topic", place.again, "--resume")

    assert len(place.read(place.again)) == 1


def test_what_retention_took_meanwhile_is_told_by_who_goes_on(place: Place) -> None:
    place.make()
    place.put(*(record(b"%d" % n) for n in range(10)))
    with place.replay() as replay:
        replay.history.mark({(place.topic, 0): 3})
    delete_before(place, 7)

    with place.replay() as replay:
        assert replay.go_on()
        assert replay.history.notes == [f"{place.topic}[0]: 3 to 7 are no longer there"]
        replay.run()

    assert [r.value for r in place.read(place.again)] == [b"7", b"8", b"9"]


def test_copies_are_not_copied_again(place: Place) -> None:
    place.make()
    place.put(record(b"1"), record(b"2", key=None))
    for _ in range(2):
        said = stalk("replay", "-c", place.path)
        place.put(record(b"3"))

    assert "3 Kafka messages published" in said
    assert "2 copies of an earlier replay passed over" in said
    assert [r.value for r in place.read()] == [b"1", b"2", b"1", b"2", b"3", b"1", b"2", b"3", b"3"]
    copies = [dict(r.headers).get(COPY) for r in place.read()]
    assert copies[5:8] == [f"{place.topic}/0/{n}".encode() for n in (0, 1, 4)]


def test_a_topic_that_is_read_first_gives_copies_once_however_many_sessions(place: Place) -> None:
    place.make()
    place.put(*(record(batch(f"session-{n}")) for n in range(300)))
    stalk("replay", "-c", place.path)

    with History(place.config, [place.topic]) as history:
        merged = Merged(history, Decoder())
        found = [message["id"] for messages in merged.read() for message in messages]

    assert len(found) == len(set(found)) == 300
    assert merged.repeated == 300


def batch(session: str, **keys: Any) -> bytes:
    from datastalker.message import Message

    frame = Message({"type": "frame", "timestamp": NOW * 1000, "kind": "BEACON", **keys})
    frame["id"] = f"{session}-1"
    return BatchEncoder("hall", session).encode([frame], sequence=1, sent_at=0, now=NOW * 1000)


def test_copies_are_not_exported_and_what_is_imported_into_its_own_topic_is_warned_of(
    place: Place, tmp_path: Path
) -> None:
    place.make()
    place.make(name=place.again)
    place.put(record(b"1"), record(b"2", key=None))
    stalk("replay", "-c", place.path)
    file = str(tmp_path / "all.jsonl")

    said = stalk("export", "-c", place.path, "--topic", place.topic, file)
    assert f"2 Kafka messages of {place.topic} in {file}; 2 copies of an earlier replay" in said

    warning = f"'{place.topic}' is the topic that the file was of: what still lies there will"
    assert warning not in stalk("import", "-c", place.path, "--topic", place.again, file)
    assert [r.value for r in place.read(place.again)] == [b"1", b"2"]
    assert warning in stalk("import", "-c", place.path, file)
    delete_before(place, 6)
    assert warning not in stalk("import", "-c", place.path, file)  # there is nothing else


def test_copies_whose_originals_are_not_in_the_range_are_exported(
    place: Place, tmp_path: Path
) -> None:
    place.make()
    place.put(record(b"1"), record(b"2"))
    stalk("replay", "-c", place.path)
    file = tmp_path / "all.jsonl"

    stalk("export", "-c", place.path, "--topic", place.topic, "--from", "1", str(file))

    assert [r.value for r in dump.read(file)] == [b"2", b"1"]


def test_messages_that_a_topic_does_not_carry_are_not_imported_into_it(
    place: Place, tmp_path: Path
) -> None:
    place.make()
    place.put(record(batch("s")))
    events, file = f"{place.topic}.events", str(tmp_path / "frames.jsonl")
    config = place.write("", "  - presence\n")
    cut = f"  - topic: {{frame: {place.topic}.out, presence: {events}}}\n"
    Path(config).write_text(Path(config).read_text().replace("  - print\n", cut))
    for name in (events, f"{place.topic}.sensors", place.again):
        place.make(name=name)
    stalk("export", "-c", config, "--topic", place.topic, file)

    for name, kind in ((events, "presence"), (f"{place.topic}.sensors", "sensor")):
        said = (
            f"'{name}' carries {kind}, and the file holds batches of frames: nothing is published"
        )
        with pytest.raises(WholeError, match=said):
            stalk("import", "-c", config, "--topic", name, file)
        assert place.read(name) == []
    stalk("import", "-c", config, "--topic", place.again, file)
    assert len(place.read(place.again)) == 1


def test_into_a_compacted_topic_itself_it_does_not_go(place: Place) -> None:
    """An old state would take the place of the newer one for good."""
    place.make(cleanup_policy="compact")
    place.put(record(b"old"), record(b"new"))

    with pytest.raises(WholeError, match=r"is compacted.*--to-topic another"):
        stalk("replay", "-c", place.path, "--to", "1")
    stalk("replay", "-c", place.path, "--to", "1", "--to-topic", place.again)

    assert [r.value for r in place.read()] == [b"old", b"new"]
    assert [r.value for r in place.read(place.again)] == [b"old"]


def test_a_target_that_is_made_takes_messages_as_large_as_the_source(place: Place) -> None:
    place.make(max_message_bytes="3000000")
    place.put(record(os.urandom(2_000_000)))

    stalk("replay", "-c", place.path, "--to-topic", place.again)

    assert place.read(place.again)[0].value == place.read()[0].value


def test_a_message_too_large_for_the_target_says_which_setting(place: Place) -> None:
    place.make(max_message_bytes="3000000")
    place.make(name=place.again)
    place.put(record(os.urandom(2_000_000)))

    with pytest.raises(WholeError, match=r"publishing: .*max\.message\.bytes"):
        stalk("replay", "-c", place.path, "--to-topic", place.again)


def test_a_dry_run_makes_and_marks_nothing_and_says_what_does_not_fit(place: Place) -> None:
    place.make(2)
    place.put(record(b"1", 5000), record(b"2"), record(b"3", 2500))
    said = stalk("replay", "-c", place.path, "--to-topic", place.again, "--dry-run")
    assert "at 1x it takes 5 s" in said
    with connect(place.config) as broker:
        assert broker.describe([place.again]) == {}
    assert groups(place) == []

    place.make(1, place.again)
    with pytest.raises(WholeError, match="has 1 partitions"):
        stalk("replay", "-c", place.path, "--to-topic", place.again, "--dry-run")


def test_what_a_registry_that_is_away_can_not_tell_is_not_filtered_out(place: Place) -> None:
    place.make()
    place.put(record(b"\0\0\0\0\1" + batch("s")[10:]))
    place.path = place.write('schema_registry: {url: "http://127.0.0.1:9"}\n')

    with place.replay(meets=lambda message: True) as replay, pytest.raises(RegistryError):
        replay.run()


def test_a_broker_that_goes_away_ends_it_and_it_goes_on_where_it_was(
    tmp_path: Path, own_kafka: Callable[[], Kafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_writer, "_SILENT_SECONDS", 2.0)
    monkeypatch.setattr(replay_module, "_MARK_SECONDS", 0.1)
    broker = own_kafka()
    place = Place(tmp_path, broker.bootstrap_servers)
    place.make()
    place.put(*(record(b"%d" % n, n * 10) for n in range(500)))

    with place.replay(speed=1.0) as replay:
        began = time.monotonic()

        def kill() -> None:
            if time.monotonic() - began > 1.0:
                broker.kill()

        with pytest.raises(BrokerError) as raised:
            replay.run(kill)
        assert raised.value.retriable
    broker.start()
    with place.replay() as replay:
        assert replay.go_on()
        replay.run()

    back = [int(r.value or b"") for r in place.read(place.again)]
    assert set(back) == set(range(500))
    assert len(back) < 600


@pytest.mark.parametrize(
    "changed",
    [{"partition": "0"}, {"partition": -1}, {"headers": [{"name": 1, "value": None}]},
     {"time": "now"}, {"key": "no base64"}, {"more": 1}],
)  # fmt: skip
def test_a_line_that_export_would_not_write_is_damaged(tmp_path: Path, changed: Any) -> None:
    file = tmp_path / "all.jsonl"
    dump.write(file, [record(b"1"), record(b"2")])
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\n{json.dumps({**json.loads(second), **changed})}\n")

    with pytest.raises(InputError, match="damaged behind its message 1"):
        dump.look(file)


@pytest.mark.parametrize("name", ["all.avro", "all.jsonl.gz"])
def test_times_that_no_calendar_has_come_back(tmp_path: Path, name: str) -> None:
    times = [0, 1, NOW, NOW * 1000, 2**62]
    written = [record(None)._replace(time=time) for time in [*times, None]]
    dump.write(tmp_path / name, written)

    assert list(dump.read(tmp_path / name)) == written
    assert dump.look(tmp_path / name) == dump.Contents(6, "", 1)


def test_an_import_that_fails_says_how_much_of_it_is_there(place: Place, tmp_path: Path) -> None:
    place.make(max_message_bytes="100000")
    file = tmp_path / "all.jsonl"
    dump.write(file, [record(b"1"), record(os.urandom(200_000)), record(b"3")])

    with pytest.raises(WholeError, match=r"max\.message\.bytes.* the file's messages \d are in"):
        stalk("import", "-c", place.path, "--topic", place.topic, str(file))


def test_an_import_is_compressed_as_configured(place: Place, tmp_path: Path) -> None:
    place.make(1, max_message_bytes="10000")
    file = tmp_path / "all.jsonl"
    dump.write(file, [record(b"x" * 100_000)])

    stalk("import", "-c", place.path, "--topic", place.topic, str(file))

    assert place.read()[0].value == b"x" * 100_000


def test_a_disk_that_is_full_leaves_no_part_and_an_interrupt_neither(tmp_path: Path) -> None:
    def records() -> Iterator[Record]:
        yield record(b"1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dump.write(tmp_path / "all.jsonl", records())
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"file/all\.jsonl can't be written: Not a directory"):
        dump.write(tmp_path / "file" / "all.jsonl", [record(b"1")])


SPOIL = """\
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage("spoil")
class Spoil(Stage):
    "Changes what a message holds, in its place."
    def handle(self, message):
        message["labels"]["spoilt"] = "yes"
        return message
"""


def test_a_stage_of_the_old_does_not_reach_into_the_new(place: Place, tmp_path: Path) -> None:
    place.make()
    place.put(record(batch("s", labels={"site": "home"})))
    (tmp_path / "spoil.py").write_text(SPOIL)
    old = place.write("plugins: [spoil.py]\n", "  - spoil\n")

    found = compare(configuration.load(old), place.config, [place.topic])

    assert found.keys == {("frame", "labels"): 1}


def test_what_compare_shows_commands_no_terminal(place: Place, tmp_path: Path) -> None:
    place.make()
    place.put(record(batch("\x1b]0;mine\x07", labels={"site": "home"})))
    (tmp_path / "spoil.py").write_text(SPOIL)
    old = place.write("plugins: [spoil.py]\n", "  - spoil\n")

    done = subprocess.run(
        [sys.executable, "-m", "datastalker", "replay", "--compare", old, place.path],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "mine" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_compare_tells_what_can_not_be_read_and_what_came_twice(place: Place) -> None:
    place.make()
    place.put(record(batch("s")), record(b"none of ours"), record(batch("s")))

    path = place.write("", "  - oui\n")
    said = stalk("replay", "--compare", path, path)

    assert "1 repeated Kafka messages passed over; 1 Kafka messages can't be read" in said
    assert "no difference" in said


def test_compare_tells_of_what_differs_above_the_topic(place: Place, tmp_path: Path) -> None:
    place.make()
    place.put(record(batch("s")))
    text = Path(place.write("", "  - oui\n")).read_text()
    text = text.replace("  - print\n", f"  - topic: {place.topic}.out\n")
    above = "pipeline:\n  - pcap: {path: x.pcap}\n  - beacon_filter%s\n"
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text.replace("pipeline:\n", above % ""))
    new.write_text(
        text.replace(
            "pipeline:\n", above % ": {min_time_between_seconds: 9}" + "  - strip: {keys: [tsf]}\n"
        )
    )

    said = stalk("replay", "--compare", str(old), str(new)).splitlines()
    assert said[1:5] == [
        f"above {place.topic} the files differ too, and that is not compared:",
        f"  {old}:5: beacon_filter",
        f"  {new}:5: beacon_filter",
        f"  {new}:6: strip",
    ]
    assert said[-1] == f"no difference behind {place.topic}"
    assert "above" not in stalk("replay", "--compare", str(new), str(new))


def test_compare_says_where_there_is_nothing_to_compare(place: Place) -> None:
    """Not `no difference`, and not 0: what differs may stand above."""
    place.make()
    place.put(record(batch("s")))

    with pytest.raises(WholeError, match=r"(?s)ended with 2.*there is nothing to compare"):
        stalk("replay", "--compare", place.path, place.path)
    stage = place.write("", "  - dedupe\n")
    assert "no difference" in stalk("replay", "--compare", place.path, stage)


def test_compare_tells_of_what_it_reads_and_then_of_what_it_compares(place: Place) -> None:
    place.make()
    place.put(*(record(batch(f"s{n}")) for n in range(1_200)))
    heard: dict[str, list[tuple[int, tuple[int, int] | None]]] = {}

    def told(what: str, count: int, part: tuple[int, int] | None) -> None:
        heard.setdefault(what, []).append((count, part))

    compare(place.config, place.config, [place.topic], told=told)

    assert list(heard) == ["messages", "results"]
    assert heard["messages"][-1][0] == 1_200
    assert heard["results"] == [(0, (0, 1_200)), (1_000, (1_000, 1_200))]


def test_compare_reads_no_further_than_both_go(place: Place) -> None:
    place.make()
    place.put(*(record(batch(f"s{n}")) for n in range(1_200)))
    short = configuration.load(place.write("", "  - limit: {messages: 10}\n"))

    found = compare(short, short, [place.topic])

    assert (found.read, found.same) == (1_000, {"frame": 10})
    assert compare(place.config, short, [place.topic]).read == 1_200


def test_a_target_is_noted_to_be_partitioned_as_the_source(place: Place) -> None:
    topics = f"topics: {{{place.topic}: {{key: ssid}}}}\n"
    path = place.write(topics)
    stalk("topics", "apply", "-c", path)
    place.put(record(batch("s")))
    with connect(configuration.load(path)) as broker:
        source = broker.describe([place.topic])[place.topic]
        assert broker.keys([source]) == {place.topic: "ssid"}

        stalk("replay", "-c", path, "--to-topic", place.again)

        target = broker.describe([place.again])[place.again]
        assert broker.keys([target]) == {place.again: "ssid"}


def test_ctrl_c_in_a_long_gap_ends_it_at_once(place: Place) -> None:
    place.make()
    place.put(record(b"1"), record(b"2", 500_000))
    command = [sys.executable, "-m", "datastalker", "replay", "-c", place.path]
    process = subprocess.Popen(
        [*command, "--to-topic", place.again, "--speed", "1x"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not there(place) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    said = process.communicate(timeout=60)[1]

    assert "1 Kafka messages published" in said
    assert time.monotonic() - began < 5


def there(place: Place) -> list[Record]:
    try:
        return place.read(place.again)
    except BrokerError:
        return []
