"""A partition of a segment, without a broker: what is done again is the same, or known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker import config as configuration
from datastalker import dead_letter, segments
from datastalker.delivery import Origin
from datastalker.message import Message
from datastalker.testing import SECOND, START, frame
from datastalker.wire import BatchEncoder, SingleObject, decode_batch, decode_event, encode_event
from processors.partition import Done, Partition, Record
from processors.status import Status

TA = "02:00:00:00:00:01"


class Home:
    """A segment, what of it is stored, and an agent that publishes to it."""

    def __init__(self, stages: list[Any], partitions: int = 2, **settings: Any) -> None:
        source = settings.pop("source", "in")
        pipeline = [
            {"pcap": {"path": "x.pcap"}},
            {"topic": source},
            *stages,
            {"topic": {"frame": "out", "presence": "events"}},
            {"csv": {"directory": "out"}},
        ]
        kafka = {"partitions": partitions}
        text = yaml.safe_dump({"name": "t", "kafka": kafka, "pipeline": pipeline, **settings})
        self.config = configuration.parse(text, str(settings.get("file", "t.yaml")))
        self.segment = segments.segments(self.config)[1]
        self.table: dict[bytes, bytes] = {}
        self.sent = 0
        self.start()

    def start(self, **topic_ids: str) -> None:
        """As after a crash: only what was stored is known."""
        blocks = self.table.items
        self.partition = Partition(
            self.config, self.segment, 0, SingleObject(), blocks, topic_ids=topic_ids
        )

    def batch(self, *frames: Message, now: int = 0, offset_ms: float | None = None) -> Record:
        encoder = BatchEncoder("porch", "session")
        raw = encoder.encode(
            frames, sequence=self.sent, sent_at=5, now=now, clock_offset_ms=offset_ms
        )
        self.sent += 1
        return Record("in", 0, self.sent - 1, None, raw)

    def process(self, record: Record) -> Done:
        done = self.partition.process(record)
        self.store(done)
        return done

    def store(self, done: Done) -> None:
        for key, value in done.block or ():
            if value is None:
                del self.table[key]
            else:
                self.table[key] = value


def frames_of(done: Done) -> list[Message]:
    outputs = [o for o in done.outputs if o.topic == "out"]
    return [message for output in outputs for message in decode_batch(output.value).messages]


def events_of(done: Done) -> list[Message]:
    return [decode_event(o.value) for o in done.outputs if o.topic == "events"]


def test_what_is_done_again_before_its_block_was_stored_gives_the_same() -> None:
    home = Home(["dedupe", {"presence": {"absent_after_seconds": 5}}])
    home.process(home.batch(*[frame(n, ta=TA, seq=n, id=f"a-{n}") for n in range(3)]))
    again = home.batch(*[frame(20 + n, ta=f"02:00:00:00:00:0{n}", seq=3, id=f"b-{n}") for n in range(5)])  # fmt: skip # noqa: E501

    once = home.partition.process(again)
    home.start()

    assert home.process(again).outputs == once.outputs
    assert [event["event"] for event in events_of(once)] == ["ABSENT", *["NEW"] * 5]


def test_what_is_done_again_after_its_block_was_stored_is_known() -> None:
    home = Home(["dedupe"])
    record = home.batch(frame(0, ta=TA, seq=1))
    home.process(record)
    home.start()

    assert home.process(record) == Done(repeated=True)


def test_what_merge_held_is_released_after_a_crash_as_it_would_have_been() -> None:
    def run(crash: bool) -> list[list[Message]]:
        home, out = Home([{"dedupe": {"mode": "merge"}}]), []
        for n in range(8):
            copies = [frame(n + s / 9, ta=TA, seq=n // 2, id=f"{n}-{s}", sensor=f"s{s}") for s in range(3)]  # fmt: skip # noqa: E501
            out.append(frames_of(home.process(home.batch(*copies))))
            if crash:
                home.start()
        return out

    assert run(crash=True) == run(crash=False)
    assert sum(map(len, run(crash=False))) == 3


def test_an_agents_repeat_is_dropped() -> None:
    home = Home(["dedupe"])
    record = home.batch(frame(0, ta=TA, seq=1))
    home.process(record)
    later = Record("in", 0, 7, None, record.value)

    assert home.process(later) == Done(repeated=True)
    assert home.partition.seen["in"].repeated == 1


def test_outputs_carry_where_they_were_made_from() -> None:
    home = Home([{"presence": {"min_sightings": 1}}], partitions=1)
    done = home.process(home.batch(*[frame(n, ta=f"02:00:00:00:00:0{n}") for n in range(3)]))

    assert [(o.topic, Origin.from_headers(o.headers)) for o in done.outputs] == [
        ("out", Origin("in", 0, 0)),
        *[("events", Origin("in", 0, 0, n)) for n in range(3)],
    ]
    assert [output.key for output in done.outputs[1:]] == [
        b"02:00:00:00:00:00", b"02:00:00:00:00:01", b"02:00:00:00:00:02"
    ]  # fmt: skip
    assert decode_batch(done.outputs[0].value).sent_at == 5


def test_what_came_from_a_worker_is_dropped_by_its_origin() -> None:
    home = Home(["presence"])
    raw = BatchEncoder("", "").encode([frame(0, ta=TA)], sequence=0, sent_at=0, now=0)
    first = Record("in", 0, 0, None, raw, Origin("before", 1, 4).to_headers())
    again = Record("in", 0, 1, None, raw, Origin("before", 1, 4).to_headers())

    assert len(frames_of(home.process(first))) == 1
    assert home.process(again) == Done(repeated=True)


def test_a_heartbeat_moves_time_and_goes_on_to_every_partition() -> None:
    home = Home([{"presence": {"absent_after_seconds": 5}}], partitions=3)
    home.process(home.batch(frame(0, ta=TA)))
    done = home.process(home.batch(now=START + 60 * SECOND))

    assert [event["event"] for event in events_of(done)] == ["ABSENT"]
    beats = [o for o in done.outputs if o.topic == "out"]
    assert [(o.partition, decode_batch(o.value).now) for o in beats] == [
        (n, START + 60 * SECOND) for n in range(3)
    ]
    assert home.process(home.batch(now=START + 60 * SECOND)).outputs == []


def test_time_is_handed_on_as_late_as_what_is_held() -> None:
    home = Home([{"dedupe": {"mode": "merge", "window_seconds": 2}}], partitions=1)
    done = home.process(home.batch(now=START))

    assert decode_batch(done.outputs[0].value).now == START - 2 * SECOND - 1


def test_a_sensor_whose_clock_is_hours_off_does_not_say_what_time_it_is() -> None:
    home = Home([{"presence": {"absent_after_seconds": 60}}])
    home.process(home.batch(frame(0, ta=TA)))
    wrong = frame(7200, ta="02:00:00:00:00:09")
    done = home.process(home.batch(wrong, now=START + 7200 * SECOND, offset_ms=7.2e6))

    done.outputs += home.process(home.batch(frame(9, ta=TA))).outputs
    assert home.partition.pipeline.now == START + 9 * SECOND
    assert "ABSENT" not in [event["event"] for event in events_of(done)]
    assert decode_batch(done.outputs[0].value).clock_offset_ms == 7.2e6


def test_events_are_read_from_topics_of_their_own() -> None:
    home = Home(["print"], source={"frame": "in", "presence": "in-events"})
    event = Message(type="presence", timestamp=START, id="x", event="NEW", key=TA)
    raw = encode_event(event)

    assert events_of(home.process(Record("in-events", 0, 0, None, raw))) == [event]


def test_a_message_without_a_value_holds_nothing_and_is_no_repeat() -> None:
    home = Home(["print"])
    first = home.batch(frame(0, ta=TA, id="a"))
    empty = Record("in", 0, 1, b"key", None)

    assert home.process(first).block
    assert home.process(empty) == Done()
    assert home.process(empty) == Done(repeated=True)


def test_what_was_read_again_takes_no_offset_back() -> None:
    home = Home(["dedupe"])
    records = [home.batch(frame(n, ta=TA, seq=n)) for n in range(4)]
    for record in records[:2]:
        home.process(record)

    parts = home.partition.several([*records[2:], *records[:3]])

    assert [done.repeated for _, done in parts] == [False, False, True, True, True]
    home.store(parts[-1][1])
    home.start()
    assert home.partition.offsets == {"in": 3}


FLAKY = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('flaky')
class Flaky(Stage):
    failures: int = 1

    def handle(self, message):
        count = self.state.get('count', 0) + 1
        self.state['count'] = count
        if self.failures and message['seq'] == 2:
            self.failures -= 1
            raise RuntimeError('not now')
        message['count'] = count
        return message
"""


@pytest.fixture
def flaky(tmp_path: Path) -> Home:
    (tmp_path / "flaky.py").write_text(FLAKY)
    return Home(["flaky"], plugins=[str(tmp_path / "flaky.py")])


def test_what_fails_once_is_tried_again_from_the_state_before(flaky: Home) -> None:
    done = flaky.process(flaky.batch(*[frame(n, ta=TA, seq=n) for n in range(4)]))

    assert done.dead is None
    assert [message["count"] for message in frames_of(done)] == [1, 2, 3, 4]
    assert flaky.partition.stage_stats[0].received == 4
    assert flaky.partition.stage_stats[0].errors == 0


def test_what_fails_again_is_set_aside_and_the_rest_goes_on(flaky: Home) -> None:
    flaky.partition.pipeline.entries[0].component.failures = 9  # type: ignore[union-attr]
    done = flaky.process(flaky.batch(*[frame(n, ta=TA, seq=n, id=f"s-{n}") for n in range(4)]))

    assert done.dead is not None
    assert dead_letter.read(done.dead)["ids"] == "s-2"
    assert [message["count"] for message in frames_of(done)] == [1, 2, 4]
    assert flaky.partition.stage_stats[0].errors == 1


def again(home: Home, record: Record, done: Done) -> Record:
    """As `stalk dlq retry` sends a dead letter."""
    home.sent += 1
    headers = dead_letter.headers_to_retry(done.dead)
    return Record("in", 0, home.sent - 1, None, record.value, headers)


def test_what_was_set_aside_is_handled_when_it_is_sent_again_and_nothing_else_is(
    flaky: Home,
) -> None:
    component: Any = flaky.partition.pipeline.entries[0].component
    component.failures = 3
    record = flaky.batch(*[frame(n, ta=TA, seq=n, id=f"s-{n}") for n in range(4)])
    first = flaky.process(record)
    second = flaky.process(again(flaky, record, first))
    third = flaky.process(again(flaky, record, second))

    ids = [[message["id"] for message in frames_of(done)] for done in (first, second, third)]
    assert ids == [["s-0", "s-1", "s-3"], [], ["s-2"]]
    assert third.dead is None
    assert flaky.process(Record("in", 0, 9, None, record.value)).repeated


EVENTFUL = """
from datastalker.message import Message
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('eventful')
class Eventful(Stage):
    note: object = object()

    def handle(self, message):
        return [message, Message(type='presence', id='e-' + message['id'], note=self.note)]
"""


def test_where_a_stages_own_message_was_lost_all_is_handled_again(tmp_path: Path) -> None:
    (tmp_path / "eventful.py").write_text(EVENTFUL)
    home = Home(["eventful"], plugins=[str(tmp_path / "eventful.py")])
    record = home.batch(frame(0, ta=TA, id="a"), frame(1, ta=TA, id="b"))
    done = home.process(record)
    component: Any = home.partition.pipeline.entries[0].component
    component.note = "text"

    assert events_of(done) == []
    assert [e["id"] for e in events_of(home.process(again(home, record, done)))] == ["e-a", "e-b"]


def test_a_dead_letter_names_all_that_was_lost_or_none(tmp_path: Path) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    home = Home(["flaky"], plugins=[str(tmp_path / "flaky.py")])
    component: Any = home.partition.pipeline.entries[0].component
    component.failures = 1 << 30
    many = home.batch(*[frame(n, ta=TA, seq=2, id=f"session-{n}") for n in range(1500)])
    without = frame(0, ta=TA, seq=2)
    without.pop("id", None)
    nameless = home.batch(without, frame(1, ta=TA, seq=2, id="b"))

    dead = home.process(many).dead
    assert dead_letter.read(dead)["ids"].split() == [f"session-{n}" for n in range(1500)]
    assert "ids" not in dead_letter.read(home.process(nameless).dead)


def together(home: Home, records: list[Record]) -> list[Done]:
    """As the bridge does: those that go together, each by itself where they don't."""
    found: list[Done] = []
    while rest := records[len(found) :]:
        parts = home.partition.several(rest) or [(rest[0], home.partition.process(rest[0]))]
        found += [done for _, done in parts]
        home.store(found[-1])
    return found


def test_messages_that_wait_come_to_the_same_and_have_one_block_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How many go together is a matter of time, too: not here, on a busy machine.
    monkeypatch.setattr("processors.partition._MOST_SECONDS", 60)

    def make() -> tuple[Home, list[Record]]:
        home = Home(["dedupe", {"presence": {"absent_after_seconds": 5}}])
        batches = [[frame(n * 3 + m, ta=f"02:00:00:00:00:0{m}", seq=n) for m in range(3)] for n in range(8)]  # fmt: skip # noqa: E501
        records = [home.batch(*frames) for frames in batches]
        again = Record("in", 0, 8, None, records[2].value)
        return home, [
            *records,
            again,
            Record("in", 0, 9, None, home.batch(now=START + 99 * SECOND).value),
        ]

    home, records = make()
    expected = [home.process(record) for record in records]
    home, records = make()
    home.process(records[0])
    parts = home.partition.several(records[1:5])  # and it dies before the block is stored
    assert [done.outputs for _, done in parts] == [done.outputs for done in expected[1:5]]
    assert [done.block is None for _, done in parts] == [True, True, True, False]
    home.start()

    rest = home.partition.several(records)
    assert [done.outputs for _, done in rest[1:]] == [done.outputs for done in expected[1:]]
    assert [done.repeated for _, done in rest] == [True, *[False] * 7, True, False]
    home.store(rest[-1][1])
    home.start()
    assert all(home.process(record).repeated for record in records)


def test_what_fails_among_messages_that_wait_is_done_again_by_itself(flaky: Home) -> None:
    component: Any = flaky.partition.pipeline.entries[0].component
    component.failures = 4
    records = [flaky.batch(frame(n, ta=TA, seq=n, id=f"s-{n}")) for n in range(5)]
    records[4] = Record("in", 0, 4, None, b"poison")
    records += [Record("in", 0, 5, None, flaky.batch(frame(9, ta=TA, seq=2, id="s-9")).value)]

    done = together(flaky, records)

    assert [message["count"] for one in done for message in frames_of(one)] == [1, 2, 4]
    dead = [dead_letter.read(one.dead) for one in done if one.dead is not None]
    assert [(one["who"], one["offset"]) for one in dead] == [
        ("flaky", "2"), ("decode", "4"), ("flaky", "5")
    ]  # fmt: skip
    stats = flaky.partition.stage_stats[0]
    assert (stats.received, stats.sent, stats.errors) == (5, 3, 2)


UNKEEPABLE = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('unkeepable')
class Unkeepable(Stage):
    def handle(self, message):
        self.state['lock'] = object()
        return message
"""


def test_state_that_cannot_be_kept_fails_the_batch_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "unkeepable.py").write_text(UNKEEPABLE)
    home = Home(["unkeepable"], plugins=[str(tmp_path / "unkeepable.py")])
    record = home.batch(frame(0, ta=TA))
    done = home.process(record)

    assert done.outputs == []
    assert done.dead is not None
    assert "stage 'unkeepable': an object can't be kept" in dead_letter.read(done.dead)["reason"]
    home.start()
    assert home.process(record) == Done(repeated=True)
    # Nothing was noted as seen, so that it can be sent again from the dead letters.
    assert home.process(Record("in", 0, 9, None, record.value)).dead is not None


def test_a_topic_that_was_made_anew_is_read_from_its_beginning_and_is_no_repeat() -> None:
    home = Home([{"presence": {"min_sightings": 1}}], partitions=1)
    home.start(**{"in": "one"})
    first = home.process(home.batch(frame(0, ta=TA, id="a")))
    home.start(**{"in": "one"})
    assert home.partition.offsets == {"in": 0}

    for _ in range(2):  # and dies before anything of it is stored
        home.start(**{"in": "two"})
        assert home.partition.offsets == {}
    later = home.process(Record("in", 0, 0, None, home.batch(frame(1, ta=TA, id="b")).value))

    origins = [Origin.from_headers(o.headers) for o in (*first.outputs, *later.outputs)]
    assert origins == [Origin("in", 0, 0), Origin("in", 0, 0), Origin("in~1", 0, 0)]
    home.start(**{"in": "two"})
    assert home.partition.offsets == {"in": 0}


REMEMBERING = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('remembering')
class Remembering(Stage):
    restorations: int = 0
    failures: int = 1

    def restored(self):
        self.restorations += 1

    def handle(self, message):
        self.state[message['seq']] = 1
        if self.failures and message['seq'] == 5:
            self.failures -= 1
            raise RuntimeError('not now')
        return message
"""


@pytest.fixture
def remembering(tmp_path: Path) -> Home:
    (tmp_path / "remembering.py").write_text(REMEMBERING)
    plugins = [str(tmp_path / "remembering.py")]
    return Home(["remembering"], plugins=plugins, state_max_entries=2)


def test_poison_costs_no_state_being_read_again(remembering: Home) -> None:
    component: Any = remembering.partition.pipeline.entries[0].component
    before = component.restorations
    wrong = [("origin", b"no origin")]
    dead = [
        remembering.process(Record("in", 0, 0, None, b"poison")).dead,
        remembering.process(Record("in", 0, 1, None, remembering.batch().value, wrong)).dead,
    ]

    assert [dead_letter.read(one)["who"] for one in dead] == ["decode", "decode"]
    assert component.restorations == before


def test_what_was_evicted_is_counted_once_and_stays_counted(remembering: Home) -> None:
    status = Status(60, 60, 60)
    status.partitions["t-1", 0] = remembering.partition
    remembering.process(remembering.batch(*[frame(n, ta=TA, seq=n) for n in range(6)]))

    def evicted() -> list[float]:
        wanted = "datastalker_stage_state_evicted_total"
        return [value for name, _, value in status.samples() if name == wanted]

    assert evicted() == [4]
    status.give_up("t-1")
    assert evicted() == [4]


LONG = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('long')
class Long(Stage):
    def handle(self, message):
        message['note'] = 'x' * 100_000
        return message
"""


def test_what_is_large_is_sent_in_parts_that_a_broker_takes(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(LONG)
    home = Home(["long"], partitions=1, plugins=[str(tmp_path / "long.py")])
    done = home.process(home.batch(*[frame(n, ta=TA, id=f"a-{n}") for n in range(20)]))
    assert [len(decode_batch(output.value).messages) for output in done.outputs] == [7, 7, 6]
    assert [m["id"] for m in frames_of(done)] == [f"a-{n}" for n in range(20)]
    origins = [Origin.from_headers(output.headers) for output in done.outputs]
    assert [origin.n for origin in origins if origin is not None] == [0, 1, 2]
