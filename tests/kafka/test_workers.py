"""Workers on a real broker: `faust -A processors worker` as a user starts it."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from datastalker import __version__, dead_letter
from datastalker import config as configuration
from datastalker.cli import main
from datastalker.delivery import Origin, Seen
from datastalker.message import Message as DataMessage
from datastalker.metrics import METRICS
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from datastalker.state import Journal
from datastalker.testing import frame
from datastalker.topics import partition_of_value
from datastalker.wire import BatchEncoder, decode_batch, decode_event
from infra.local import Kafka, Stack
from infra.whole import stalk
from processors.store import Ring

ROOT = Path(__file__).parents[2]
WAIT = 90.0
"""Seconds for what takes two or three on an idle machine."""
STAGES: list[Any] = [
    {"dedupe": {"window_seconds": 2}},
    "beacon_filter",
    {"oui": {"fields": ["ta"]}},
    {"moving_average": {"samples": 5}},
    {"presence": {"absent_after_seconds": 60, "active_every_seconds": 30}},
]
NAMES = ("dedupe", "beacon_filter", "oui", "moving_average", "presence")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


class Worker:
    """A process as a user starts it, with its log."""

    def __init__(
        self, rig: Rig, number: int, segment: str = "", instance: str = "", named: bool = True
    ) -> None:
        """`named`: the environment says where the configuration is."""
        self.log_file = rig.path / f"worker-{number}-{time.monotonic_ns()}.log"
        environment = {
            **os.environ,
            "DATASTALKER_CONFIG": str(rig.config),
            "DATASTALKER_SEGMENT": segment,
            "WORKER": instance,
            "PYTHONPATH": str(ROOT),
        }
        if not named:
            del environment["DATASTALKER_CONFIG"]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", "processors", "worker"],
                cwd=rig.path,
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its web server, (0, "") while it has none."""
        _, found, rest = self.log.partition("health and metrics on ")
        if not found:
            return 0, ""
        try:
            with urllib.request.urlopen(rest.split()[0] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> Worker:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            return self.get("/readyz")[0] == 200

        wait_for(ready, f"worker ready\n{self.log}")
        return self

    def end(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
            raise


class Rig:
    """A configuration with topics of its own, and workers that are gone at the end."""

    def __init__(self, kafka: Kafka, path: Path) -> None:
        self.path, self.servers = path, kafka.bootstrap_servers
        self.name = f"w{uuid.uuid4().hex[:10]}"
        self.frames, self.out = f"{self.name}.frames", f"{self.name}.out"
        self.events, self.dead = f"{self.name}.presence", f"{self.name}.dead-letters"
        self.config = path / "config.yaml"
        self.workers: list[Worker] = []

    def write(self, stages: list[Any], partitions: int = 1, **settings: Any) -> Rig:
        workers = {"http_port": 0, "session_timeout_seconds": 6, **settings.pop("workers", {})}
        document = {
            "name": self.name,
            "kafka": {"bootstrap_servers": self.servers, "partitions": partitions},
            "workers": workers,
            "pipeline": [
                {"pcap": {"path": str(settings.pop("capture", "none.pcap"))}},
                {"topic": self.frames},
                *stages,
                {"topic": {"frame": self.out, "presence": self.events}},
                {"csv": {"directory": str(self.path / "csv")}},
            ],
            **settings,
        }
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))
        self.partitions = partitions
        return self

    def apply(self) -> Rig:
        with pytest.raises(SystemExit) as done:
            main(["topics", "apply", "-c", str(self.config)])
        assert not done.value.code
        return self

    def worker(self, segment: str = "", instance: str = "", named: bool = True) -> Worker:
        self.workers.append(Worker(self, len(self.workers), segment, instance, named))
        return self.workers[-1]

    def batches(self, messages: list[DataMessage], size: int = 50) -> list[tuple[int, bytes]]:
        """What an agent would publish: partition and bytes, a heartbeat to each at the end."""
        encoder = BatchEncoder("porch", "session")
        sequence: Counter[int] = Counter()
        lanes: dict[int, list[DataMessage]] = defaultdict(list)
        made: list[tuple[int, bytes]] = []
        now = 0

        def send(number: int, frames: list[DataMessage]) -> None:
            raw = encoder.encode(frames, sequence=sequence[number], sent_at=1, now=now)
            sequence[number] += 1
            made.append((number, raw))

        for message in messages:
            now = max(now, message["timestamp"])
            number = partition_of_value(message["ta"] or message["ra"], self.partitions)
            lanes[number].append(message)
            if len(lanes[number]) >= size:
                send(number, lanes.pop(number))
        for number in sorted(lanes):
            send(number, lanes[number])
        for number in range(self.partitions):
            send(number, [])
        return made

    def publish(self, batches: list[tuple[int, bytes]]) -> None:
        producer = Producer({"bootstrap.servers": self.servers, "compression.type": "lz4"})
        for number, raw in batches:
            producer.produce(self.frames, raw, partition=number)
        assert producer.flush(30) == 0

    def read(self, topic: str) -> list[Message]:
        """All that is in a topic now."""
        settings = {"bootstrap.servers": self.servers, "group.id": "none"}
        consumer = Consumer({**settings, "enable.partition.eof": True})
        try:
            there = consumer.list_topics(topic, 10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in there])
            found, left = [], len(there)
            until = time.monotonic() + WAIT
            while left and time.monotonic() < until:
                message = consumer.poll(1)
                if message is None:
                    continue
                if message.error() is None:
                    found.append(message)
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF
                    left -= 1
            return found
        finally:
            consumer.close()

    def rows(self) -> list[DataMessage]:
        """What a sink would store: repeats dropped by their origin."""
        out = []
        for topic in (self.out, self.events):
            seen: dict[int, Seen] = defaultdict(Seen)
            for message in self.read(topic):
                origin = Origin.from_headers(message.headers())
                assert origin is not None
                if seen[message.partition()].origin(origin):
                    value = message.value()
                    frames = topic == self.out
                    out += decode_batch(value).messages if frames else [decode_event(value)]
        return out

    def stored(self) -> Counter[str]:
        """The ids of the rows that the CSV sink wrote."""
        found: Counter[str] = Counter()
        for path in (self.path / "csv").glob("*.csv"):
            with open(path, encoding="utf-8", newline="") as handle:
                found.update(row["id"] for row in csv.DictReader(handle))
        return found

    def topics(self) -> set[str]:
        """All topics that there are of this name."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        return {name for name in admin.list_topics(timeout=30).topics if name.startswith(self.name)}

    def state(self) -> dict[str, Any]:
        """What the stages of all partitions remember, by stage, from the changelog."""
        found: dict[str, Any] = {}
        for number, table in self.blocks().items():
            states = {stage: Journal() for stage in NAMES}
            head = Ring().restore(table.items(), states)
            found[str(number)] = list(head["offsets"].values()), head["now"]
            for stage, state in states.items():
                found.setdefault(stage, {}).update({key: state.entry(key) for key in state})
        return found

    def offsets(self) -> int:
        """How many messages of the input are done with, by the state."""
        heads = [Ring().restore(table.items(), {}) for table in self.blocks().values()]
        return sum(head["offsets"][self.frames] + 1 for head in heads if head)

    def blocks(self) -> dict[int, dict[bytes, bytes]]:
        """The records of state by partition, as who takes over finds them."""
        found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for message in self.read(f"{self.name}-1-state-changelog"):
            table, key = found[message.partition()], message.key().partition(b"/")[2]
            if message.value() is None:
                table.pop(key, None)
            else:
                table[key] = message.value()
        return found


@pytest.fixture
def rig(rigs: Callable[[], Rig]) -> Rig:
    return rigs()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one sensor hears in five minutes."""
    directory = tmp_path_factory.mktemp("sample")
    write_scene(Options(seed=3, minutes=5, sensors=1), directory)
    (found,) = directory.glob("*.pcap")
    return found


@pytest.fixture
def rigs(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[[], Rig]]:
    made: list[Rig] = []

    def make() -> Rig:
        path = tmp_path / str(len(made))
        path.mkdir()
        made.append(Rig(kafka, path))
        return made[-1]

    yield make
    for rig in made:
        for worker in rig.workers:
            worker.end(signal.SIGKILL)


def read_sample(rig: Rig) -> list[DataMessage]:
    source = configuration.build(configuration.load(str(rig.config))).source
    assert source is not None
    return [message for batch in source.run() for message in batch]


def embedded(rig: Rig) -> list[DataMessage]:
    """What the same file gives in one process, in front of its sinks."""
    config = configuration.load(str(rig.config))
    config.steps.pop()
    pipeline = configuration.build(config)
    assert pipeline.source is not None
    out = []
    for batch in pipeline.source.run():
        out += pipeline.feed(batch)
    return out + pipeline.finish()


def lines(messages: list[DataMessage]) -> list[str]:
    return sorted(json.dumps(message, sort_keys=True) for message in messages)


@pytest.mark.parametrize("partitions", [1, 3])
def test_workers_give_what_a_run_in_one_process_gives(
    rig: Rig, sample: Path, partitions: int
) -> None:
    rig.write(STAGES, partitions, capture=sample).apply()
    batches = rig.batches(read_sample(rig))
    rig.publish(batches)

    worker = rig.worker().wait_ready()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    assert lines(rig.rows()) == lines(embedded(rig))
    assert worker.end() == 0


KILLS = int(os.environ.get("DATASTALKER_KILLS", "10"))


def test_workers_killed_at_random_lose_nothing_and_double_nothing(
    rigs: Callable[[], Rig], sample: Path
) -> None:
    chance = random.Random(4)
    rig = rigs().write(STAGES, 3, capture=sample).apply()
    batches = rig.batches(read_sample(rig), size=8)
    over = threading.Event()

    def replay() -> None:
        """Steadily, for about as long as workers are killed."""
        for at in range(0, len(batches), 10):
            rig.publish(batches[at : at + 10])
            over.wait(KILLS * 4 / (len(batches) / 10))

    replaying = threading.Thread(target=replay)
    replaying.start()
    try:
        running = [rig.worker(), rig.worker()]
        for worker in running:
            worker.wait_ready()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 3))
            victim = running.pop(chance.randrange(2))
            victim.end(signal.SIGKILL)
            running.append(rig.worker())
        rig.worker()
    finally:
        over.set()
        replaying.join()
    wait_for(lambda: rig.offsets() == len(batches), "all handled after the kills", 2 * WAIT)

    calm = rigs().write(STAGES, 3, capture=sample).apply()
    calm.publish(batches)
    calm.worker()
    wait_for(lambda: calm.offsets() == len(batches), "all handled undisturbed")
    state, undisturbed = rig.state(), calm.state()
    assert state.keys() == undisturbed.keys()
    assert [key for key in state if state[key] != undisturbed[key]] == []
    rows, expected = Counter(lines(rig.rows())), Counter(lines(calm.rows()))
    assert (rows - expected, expected - rows) == (Counter(), Counter())

    stalk("sink", "csv", "--drain", "-c", str(rig.config))
    assert rig.stored() == Counter(message["id"] for message in calm.rows())


SLOW = """
import time
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('slow')
class Slow(Stage):
    def handle(self, message):
        time.sleep(0.02)
        return message
"""


def test_a_worker_that_was_taken_for_dead_harms_nothing_when_it_goes_on(
    rigs: Callable[[], Rig],
) -> None:
    both = [rigs(), rigs()]
    for rig in both:
        (rig.path / "slow.py").write_text(SLOW)
        rig.write([*STAGES, "slow"], 2, plugins=["slow.py"]).apply()
    rig, calm = both
    frames = [frame(n / 9, ta=f"02:00:00:00:00:{n % 16:02x}", seq=n, id=f"s-{n}") for n in range(960)]  # fmt: skip # noqa: E501
    batches = rig.batches(frames, size=8)
    stopped, heir = rig.worker(), rig.worker()
    has = f'datastalker_partitions{{segment="{rig.name}-1"}} 1\n'

    def one_each() -> bool:
        return all(has in worker.get("/metrics")[1] for worker in (stopped, heir))

    wait_for(one_each, f"one each\n{stopped.log}\n{heir.log}")
    for one in both:
        one.publish(batches)
    calm.worker()
    wait_for(lambda: rig.offsets() > 4, "some handled")

    both_mine = ": partitions 0, 1"
    before = heir.log.count(both_mine)
    stopped.process.send_signal(signal.SIGSTOP)
    # Its session is 6 s; by Kafka's own default it would be 45
    wait_for(lambda: heir.log.count(both_mine) > before, f"all given to one\n{heir.log}", 30)
    assert rig.offsets() < len(batches)  # or it had nothing in hand
    stopped.process.send_signal(signal.SIGCONT)

    assert stopped.process.wait(30) == 1
    assert "the process stood still for" in stopped.log
    for one in both:
        wait_for(lambda o=one: o.offsets() == len(batches), "all handled")  # type: ignore[misc]
    assert rig.state() == calm.state()
    assert Counter(lines(rig.rows())) == Counter(lines(calm.rows()))


CUSTOM = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('custom_stage')
class CustomStage(Stage):
    "My custom stage"
    def __init__(self, stats, parameter):
        self.parameter = parameter

    def handle(self, message):
        self.stats.incr('custom-stage/ignored')
        if message['seq'] == 13:
            raise ValueError('thirteen')
        message['new_key'] = self.parameter
        return message

    @classmethod
    def from_config(cls, config, stats):
        return cls(stats, config.get('parameter', 42))
"""


def test_a_stage_of_ones_own_runs_and_what_it_fails_on_is_set_aside(rig: Rig) -> None:
    (rig.path / "mine.py").write_text(CUSTOM)
    rig.write([{"custom_stage": {"parameter": 7}}], plugins=["mine.py"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(20)]
    batches = [*rig.batches(frames, size=5)[:-1], (0, b"poison"), (0, b"")]
    rig.publish(batches)

    worker = rig.worker()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    assert [(row["id"], row["new_key"]) for row in rig.rows()] == [
        (f"s-{n}", 7) for n in range(20) if n != 13
    ]
    dead = rig.read(rig.dead)
    assert [message.value() for message in dead] == [batches[2][1], b"poison", b""]
    said = dead_letter.read(dead[0].headers())
    assert (said["topic"], said["partition"], said["offset"]) == (rig.frames, "0", "2")
    assert (said["who"], said["reason"], said["ids"]) == ("custom_stage", "ValueError: thirteen", "s-13")  # fmt: skip # noqa: E501
    assert "mine.py" in said["traceback"]
    assert dead_letter.read(dead[1].headers())["who"] == "decode"


def test_what_was_set_aside_is_sent_again_when_its_stage_is_mended(rig: Rig) -> None:
    (rig.path / "mine.py").write_text(CUSTOM)
    rig.write([{"custom_stage": {"parameter": 7}}], plugins=["mine.py"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(20)]
    batches = rig.batches(frames, size=5)
    rig.publish(batches)
    worker = rig.worker()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")
    worker.end()
    (rig.path / "mine.py").write_text(CUSTOM.replace("== 13", "== 99"))
    worker = rig.worker()

    with pytest.raises(SystemExit) as done:
        main(["dlq", "retry", "--all", "-c", str(rig.config)])

    assert not done.value.code
    wait_for(lambda: rig.offsets() == len(batches) + 1, f"handled again\n{worker.log}")
    assert Counter(row["id"] for row in rig.rows()) == Counter(f"s-{n}" for n in range(20))


LARGE = """
import random
from datastalker.message import Message
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('large')
class Large(Stage):
    def handle(self, message):
        chance = random.Random(message['seq'])
        if message['seq'] == 1:
            raise ValueError('one')
        if message['seq'] == 3:
            message['note'] = chance.randbytes(3_000_000)
        elif message['seq'] == 8:
            event = Message(type='presence', id='e', key='k', note=chance.randbytes(9_000_000))
            return [message, event]
        else:
            message['note'] = chance.randbytes(300_000)
        return message
"""


def test_what_the_broker_finds_too_large_is_set_aside_and_stops_nothing(rig: Rig) -> None:
    (rig.path / "large.py").write_text(LARGE)
    rig.write(["large"], plugins=["large.py"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(12)]
    batches = rig.batches(frames, size=4)
    rig.publish(batches)

    worker = rig.worker()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    assert [row["id"] for row in rig.rows()] == [f"s-{n}" for n in range(12) if n not in (1, 3)]
    dead = rig.read(rig.dead)
    assert [message.value() for message in dead] == [batches[0][1], batches[0][1], batches[2][1]]
    said = [dead_letter.read(message.headers()) for message in dead]
    assert [one["who"] for one in said] == ["large", "topic", "topic"]
    assert [one.get("ids") for one in said] == ["s-1", None, None]
    assert f"to {rig.out} is larger than the broker takes" in said[1]["reason"]
    assert f"to {rig.events} is larger than the broker takes" in said[2]["reason"]


def test_poison_as_large_as_the_broker_takes_keeps_its_bytes(rig: Rig) -> None:
    rig.write(["oui"]).apply()
    poison = random.Random(1).randbytes(1_048_400)
    producer = Producer({"bootstrap.servers": rig.servers, "message.max.bytes": 2 << 20})
    producer.produce(rig.frames, poison, partition=0)
    assert producer.flush(30) == 0

    worker = rig.worker()
    wait_for(lambda: rig.offsets() == 1, f"handled\n{worker.log}")

    (letter,) = rig.read(rig.dead)
    assert letter.value() == poison


BULKY = """
import random, zlib
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('bulky')
class Bulky(Stage):
    def handle(self, message):
        if 'bulk' not in self.state:
            self.state['bulk'] = random.Random(1).randbytes(2_500_000)
        message['crc'] = zlib.crc32(self.state['bulk'])
        return message
"""


def test_state_that_is_larger_than_the_brokers_limit_is_stored_and_found_again(rig: Rig) -> None:
    (rig.path / "bulky.py").write_text(BULKY)
    rig.write(["bulky"], plugins=["bulky.py"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(2)]
    batches = rig.batches(frames, size=1)
    for at, batch in enumerate(batches):
        rig.publish([batch])
        worker = rig.worker()
        wait_for(lambda n=at: rig.offsets() == n + 1, f"handled\n{worker.log}")  # type: ignore[misc]
        worker.end(signal.SIGKILL)

    crc = zlib.crc32(random.Random(1).randbytes(2_500_000))
    assert [row["crc"] for row in rig.rows()] == [crc, crc]
    assert max(len(value) for table in rig.blocks().values() for value in table.values()) < 2**20


COUNTING = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('counting')
class Counting(Stage):
    failed = frozenset()

    def handle(self, message):
        self.state['count'] = self.state.get('count', 0) + 1
        if message['seq'] % 7 == 6 and message['seq'] not in self.failed:
            self.failed |= {message['seq']}
            raise RuntimeError('not now')
        message['count'] = self.state['count']
        return message
"""


def test_what_is_tried_again_goes_on_from_what_is_still_on_its_way(rig: Rig) -> None:
    (rig.path / "counting.py").write_text(COUNTING)
    rig.write(["counting"], plugins=["counting.py"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(600)]
    batches = rig.batches(frames, size=3)
    rig.publish(batches)

    worker = rig.worker()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    assert [(row["id"], row["count"]) for row in rig.rows()] == [
        (f"s-{n}", n + 1) for n in range(600)
    ]
    assert rig.read(rig.dead) == []


def test_a_stage_that_ends_the_run_ends_the_worker_in_order_and_the_rest_is_left(rig: Rig) -> None:
    rig.write([{"limit": {"messages": 10}}]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(600)]
    rig.publish(rig.batches(frames, size=3))
    worker = rig.worker()

    assert worker.process.wait(60) == 0, worker.log
    assert "the worker ends in order: limit of 10 messages reached" in worker.log
    assert [row["id"] for row in rig.rows()] == [f"s-{n}" for n in range(10)]
    assert rig.offsets() == 4


def test_a_worker_that_has_much_to_do_ends_in_order_when_it_is_asked_to(rig: Rig) -> None:
    (rig.path / "slow.py").write_text(SLOW.replace("0.02", "0.002"))
    rig.write(["slow"], plugins=["slow.py"]).apply()
    frames = [frame(n / 50, ta="02:00:00:00:00:01", seq=n % 4096, id=f"s-{n}") for n in range(9000)]
    batches = rig.batches(frames, size=8)
    rig.publish(batches)

    for _ in range(4):
        worker = rig.worker().wait_ready()
        some = re.compile(r"datastalker_batches_total.* [1-9]").search
        wait_for(lambda w=worker, s=some: s(w.get("/metrics")[1]), f"some\n{worker.log}")  # type: ignore[misc]
        assert worker.end() == 0, worker.log
        assert "could not be finished" not in worker.log

    assert 0 < (done := rig.offsets()) < len(batches)
    assert len(rig.rows()) == done * 8


def test_a_worker_goes_on_where_what_it_went_back_for_is_gone(rig: Rig) -> None:
    rig.write(["oui"]).apply()
    admin = AdminClient({"bootstrap.servers": rig.servers})
    encoder = BatchEncoder("porch", "session")
    worker = rig.worker().wait_ready()
    count = 0

    def publish() -> None:
        nonlocal count
        message = frame(0, ta="02:00:00:00:00:01", seq=1, id=f"s-{count}")
        raw = encoder.encode([message], sequence=count, sent_at=1, now=1)
        rig.publish([(0, raw)])
        count += 1

    def gone() -> bool:
        """As retention does it: what was published is gone, maybe before it was read."""
        publish()
        part = TopicPartition(rig.frames, 0, count)
        admin.delete_records([part])[part].result(30)
        return f"{rig.frames}[0]: from " in worker.log

    wait_for(gone, f"it goes back\n{worker.log}")
    for _ in range(50):
        gone()
    publish()

    last = f"s-{count - 1}"
    wait_for(lambda: last in {row["id"] for row in rig.rows()}, f"handled\n{worker.log}", 30)


def test_the_marks_of_transactions_are_no_messages_that_wait(rig: Rig) -> None:
    rig.write(["oui"], workers={"stall_seconds": 8}).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(3)]
    producer = Producer({"bootstrap.servers": rig.servers, "transactional.id": rig.name})
    producer.init_transactions(60)
    for number, raw in rig.batches(frames, size=1):
        producer.begin_transaction()
        producer.produce(rig.frames, raw, partition=number)
        producer.commit_transaction(60)
    worker = rig.worker().wait_ready()
    lag = f'datastalker_lag{{segment="{rig.name}-1",topic="{rig.frames}",partition="0"}}'

    wait_for(lambda: f"{lag} 0\n" in worker.get("/metrics")[1], f"no lag\n{worker.log}")

    assert [row["id"] for row in rig.rows()] == ["s-0", "s-1", "s-2"], worker.log
    assert worker.get("/readyz")[0] == 200


def test_health_and_metrics_are_served(rig: Rig) -> None:
    rig.write(["dedupe"], partitions=2).apply()
    copies = [frame(n / 10, ta="02:00:00:00:00:01", seq=n // 2, id=f"s-{n}") for n in range(10)]
    batches = rig.batches(copies)
    rig.publish([*batches, batches[0]])
    worker = rig.worker().wait_ready()
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    def lag_is_known() -> Any:
        return 'partition="1"} 0' in worker.get("/metrics")[1]

    wait_for(lag_is_known, "lag measured")
    assert worker.get("/livez") == (200, "alive\n")
    assert worker.get("/readyz") == (200, "running\n")
    text = worker.get("/metrics")[1]
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert named == {
        name
        for name, metric in METRICS.items()
        if "worker" in metric.served_by or metric.served_by == "all"
    } - {"datastalker_stage_counter"}  # dedupe has counted nothing
    stage = f'{{segment="{rig.name}-1",stage="dedupe"}}'
    assert f"datastalker_stage_messages_in_total{stage} 10" in text
    assert f"datastalker_stage_messages_out_total{stage} 5" in text
    assert f"datastalker_stage_messages_dropped_total{stage} 5" in text
    assert f"datastalker_stage_state_entries{stage} 6" in text
    assert f'datastalker_batches_repeated_total{{segment="{rig.name}-1"}} 1' in text
    assert "datastalker_recovery_remaining 0\n" in text


def test_messages_are_shown_in_each_partition_of_a_worker(rig: Rig) -> None:
    rig.write(["dedupe"], partitions=2).apply()
    worker = rig.worker().wait_ready()
    encoder = BatchEncoder("porch", "session")
    address = worker.log.partition("health and metrics on ")[2].split()[0]
    with urllib.request.urlopen(f"{address}/tap?stage=dedupe&at=in", timeout=60) as tap:
        tap.readline()
        time.sleep(0.5)  # it hangs a moment later
        for number in (0, 1):
            raw = encoder.encode([frame(id=f"s-{number}")], sequence=number, sent_at=1, now=1)
            rig.publish([(number, raw)])
        said = (json.loads(line) for line in tap)
        shown = (message["id"] for message in said if isinstance(message, dict))

        assert {next(shown), next(shown)} == {"s-0", "s-1"}


def test_a_topic_that_was_deleted_and_made_anew_loses_nothing(rig: Rig) -> None:
    rig.write(["oui"]).apply()
    admin = AdminClient({"bootstrap.servers": rig.servers})
    for session in ("one", "another"):
        encoder = BatchEncoder("porch", session)
        message = frame(0, ta="02:00:00:00:00:01", seq=1, id=f"{session}-1")
        rig.publish([(0, encoder.encode([message], sequence=0, sent_at=1, now=1))])
        worker = rig.worker()
        has = f"{session}-1"
        wait_for(lambda: has in {row["id"] for row in rig.rows()}, f"handled\n{worker.log}")  # noqa: B023
        worker.end()
        admin.delete_topics([rig.frames])[rig.frames].result(30)
        wait_for(lambda: rig.frames not in admin.list_topics(timeout=10).topics, "deleted")
        rig.apply()

    assert [row["id"] for row in rig.rows()] == ["one-1", "another-1"]


def test_a_worker_in_good_health_logs_no_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_PROCESSING_TIMEOUT", "1")  # Faust's own watch, of five minutes
    monkeypatch.setenv("BROKER_COMMIT_INTERVAL", "0.1")  # how often it looks: 2.5 of these
    rig.write(["dedupe"], partitions=2).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(60)]
    batches = rig.batches(frames, size=2)
    worker = rig.worker().wait_ready()
    rig.publish(batches)
    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")

    rig.worker().wait_ready()  # partitions are moved
    time.sleep(5)

    assert [line for w in rig.workers for line in w.log.splitlines() if " ERROR " in line] == []


STUCK = """
import time
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('stuck')
class Stuck(Stage):
    def handle(self, message):
        while True:
            time.sleep(0.1)
"""


def test_a_worker_that_makes_no_progress_turns_unready_and_exits(rig: Rig) -> None:
    (rig.path / "stuck.py").write_text(STUCK)
    rig.write(["stuck"], plugins=["stuck.py"], workers={"stall_seconds": 5}).apply()
    worker = rig.worker().wait_ready()
    rig.publish(rig.batches([frame(0, ta="02:00:00:00:00:01", seq=1, id="s-1")]))

    wait_for(lambda: worker.get("/readyz")[0] == 503, f"unready\n{worker.log}")
    assert wait_for(lambda: worker.process.poll(), "exit") == 1
    assert "the worker ends: " in worker.log


UNRESTORABLE = """
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('unrestorable')
class Unrestorable(Stage):
    def handle(self, message):
        return message

    def restored(self):
        raise LookupError('where is my state?')
"""


def test_a_stage_that_cannot_take_its_state_ends_the_worker(rig: Rig) -> None:
    (rig.path / "stage.py").write_text(UNRESTORABLE)
    rig.write(["unrestorable"], plugins=["stage.py"]).apply()
    worker = rig.worker()

    assert worker.process.wait(60) == 1
    assert f"the worker ends: {rig.name}-1: where is my state?" in worker.log
    assert "stage.py" in worker.log


def test_a_worker_under_lag_that_finishes_nothing_turns_unready_and_exits(
    rig: Rig, own_stack: Callable[[], Stack]
) -> None:
    registry = own_stack().registry.start()
    rig.write(
        ["dedupe"], workers={"stall_seconds": 5}, schema_registry={"url": registry.url}
    ).apply()
    worker = rig.worker().wait_ready()
    registry.kill()
    unknown = b"\0\0\0\xff\xff and whatever a schema that only the registry knows makes of it"
    rig.publish([(0, unknown), (0, unknown)])

    wait_for(lambda: worker.get("/readyz")[0] == 503, f"unready\n{worker.log}")
    assert "nothing was finished for" in worker.get("/livez")[1]
    assert wait_for(lambda: worker.process.poll(), "exit") == 1
    assert "waiting for the schema registry" in worker.log
    assert rig.read(rig.dead) == []


def test_a_worker_that_waits_for_the_registry_ends_when_it_is_asked_to(
    rig: Rig, own_stack: Callable[[], Stack]
) -> None:
    registry = own_stack().registry.start()
    rig.write(["dedupe"], schema_registry={"url": registry.url}).apply()
    worker = rig.worker().wait_ready()
    registry.kill()
    rig.publish([(0, b"\0\0\0\xff\xff what a schema that only the registry knows makes of it")])
    wait_for(lambda: "waiting for the schema registry" in worker.log, f"waits\n{worker.log}")

    assert worker.end(signal.SIGTERM) == 0
    assert "the worker ends: " not in worker.log


def test_a_broker_that_goes_away_makes_workers_unready_until_it_is_back(
    own_kafka: Callable[[], Kafka], tmp_path: Path
) -> None:
    broker = own_kafka()
    rig = Rig(broker, tmp_path)
    (rig.path / "slow.py").write_text(SLOW)
    rig.write(["slow"], plugins=["slow.py"], workers={"stall_seconds": 5}).apply()
    frames = [frame(n / 9, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(900)]
    batches = rig.batches(frames, size=8)
    worker = rig.worker().wait_ready()
    try:
        broker.kill()
        wait_for(lambda: worker.get("/readyz")[0] == 503, f"unready\n{worker.log}")
        assert worker.get("/readyz")[1].startswith("the broker has not answered for ")
        assert worker.get("/livez")[0] == 200
        assert len(worker.log.splitlines()) < 100
        broker.restart()
        rig.publish(batches)
        wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")
        assert [row["id"] for row in rig.rows()] == [f"s-{n}" for n in range(900)]
        worker.wait_ready()
        assert worker.log.count(" WARNING datastalker.worker: the broker does not answer; ") == 1
        assert (
            worker.log.count(" WARNING datastalker.worker: the broker answers again, after ") == 1
        )

        rig.publish(batches[:-1])
        broker.kill()
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(25)
    finally:
        worker.end(signal.SIGKILL)


def test_a_worker_that_does_not_get_its_partitions_in_time_exits(
    own_kafka: Callable[[], Kafka], tmp_path: Path
) -> None:
    broker = own_kafka()
    rig = Rig(broker, tmp_path)
    rig.write(["dedupe"], workers={"recovery_seconds": 12}).apply()
    worker = rig.worker()
    try:
        wait_for(lambda: worker.get("/livez")[0], f"health\n{worker.log}")
        broker.pause()
        wait_for(lambda: worker.get("/readyz")[0] == 503, "unready")
        assert wait_for(lambda: worker.process.poll(), f"exit\n{worker.log}") == 1
        assert re.search(r"recovering: \d+ records of state remain", worker.log)
        assert "records of state remain)" in worker.log
    finally:
        broker.resume()
        worker.end(signal.SIGKILL)


def test_a_worker_with_a_name_that_is_back_in_time_disturbs_no_other(rig: Rig) -> None:
    named = {"instance_id": "${WORKER:-none}", "session_timeout_seconds": 60}
    rig.write(["dedupe"], partitions=4, workers=named).apply()
    stays, goes = rig.worker(instance="a"), rig.worker(instance="b")
    has = f'datastalker_partitions{{segment="{rig.name}-1"}} 2\n'
    for worker in (stays, goes):
        wait_for(lambda w=worker: has in w.get("/metrics")[1], f"two each\n{worker.log}")  # type: ignore[misc]
    given = ": partitions "
    before = stays.log.count(given)

    goes.end(signal.SIGKILL)
    back = rig.worker(instance="b").wait_ready()
    frames = [frame(n, ta=f"02:00:00:00:00:{n:02x}", seq=n, id=f"s-{n}") for n in range(40)]
    batches = rig.batches(frames)
    rig.publish(batches)

    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{back.log}")
    assert stays.log.count(given) == before
    assert (
        back.log.rpartition(given)[2].splitlines()[0]
        == (goes.log.rpartition(given)[2].splitlines()[0])
    )


def test_another_number_of_partitions_is_said_at_the_start(rig: Rig) -> None:
    rig.write(["dedupe"], partitions=1).apply()
    rig.write(["dedupe"], partitions=3)
    worker = rig.worker()

    assert worker.process.wait(60) == 1
    assert f"topic '{rig.frames}' has 1 partition, and partitions: 3 is configured" in worker.log
    assert "Traceback" not in worker.log


def test_a_missing_topic_is_said_at_the_start(rig: Rig) -> None:
    rig.write(["dedupe"])
    worker = rig.worker()

    assert worker.process.wait(60) == 1
    assert re.search(f" ERROR datastalker.worker: .*topic '{rig.frames}' is missing", worker.log)
    assert "Traceback" not in worker.log
    assert rig.topics() == set()


def test_a_port_that_is_taken_is_said_at_the_start(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        rig.write(["dedupe"], workers={"http_port": port}).apply()
        worker = rig.worker()

        assert worker.process.wait(60) == 1
    said = f"workers: http_host and http_port: can't listen on 127.0.0.1:{port}"
    assert f" ERROR datastalker.worker: {said}" in worker.log
    assert "Traceback" not in worker.log


def test_the_log_begins_with_what_starts(rig: Rig) -> None:
    worker = rig.write(["dedupe"]).worker()

    assert worker.process.wait(60) == 1  # no topics
    assert (
        f" INFO datastalker.worker: DataStalker {__version__}: a worker of {rig.name}-1 at "
        in (worker.log.splitlines()[0])
    )


def test_a_missing_configuration_is_said_with_how_a_worker_is_told_another(rig: Rig) -> None:
    worker = rig.worker()

    assert worker.process.wait(60) == 2
    said = f"{rig.config}: there is no such file; name another with DATASTALKER_CONFIG=FILE"
    assert said in worker.log.splitlines()


def test_what_a_stage_prints_is_no_line_of_the_log(rig: Rig) -> None:
    rig.write([{"print": {"format": "json"}}]).apply()
    rig.publish(rig.batches([frame(0, ta="02:00:00:00:00:01", seq=1, id="s-1")]))
    worker = rig.worker()

    def printed() -> list[str]:
        return [json.loads(line)["id"] for line in worker.log.splitlines() if line[:1] == "{"]

    assert wait_for(printed, f"a line of JSON\n{worker.log}") == ["s-1"]


def test_a_wrong_configuration_is_said_at_the_start(rig: Rig) -> None:
    rig.write(["dedup"])
    worker = rig.worker()

    assert worker.process.wait(60) == 2
    assert "did you mean 'dedupe'?" in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("how", ["together", "by the environment", "by the configuration"])
def test_several_segments_run_in_one_worker_or_in_several(rig: Rig, how: str) -> None:
    names = [f"{rig.name}-1", f"{rig.name}-2"]
    only = {"segments": [f"${{WORKER:-{names[0]}}}"]} if how == "by the configuration" else {}
    stages = ["dedupe", {"topic": f"{rig.name}.middle"}, "presence"]
    rig.write(stages, partitions=2, workers=only).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(20)]
    rig.publish(rig.batches(frames))
    if how == "together":
        rig.worker()
    elif how == "by the environment":
        for name in names:
            rig.worker(name)
    else:
        for name in names:
            rig.worker(instance=name)

    wait_for(lambda: len(rig.read(rig.events)) >= 1, "an event")
    wait_for(lambda: len(rig.rows()) >= 21, "all frames")

    assert Counter(row.type for row in rig.rows()) == {"frame": 20, "presence": 1}
    ran = [set(names).intersection(worker.get("/metrics")[1].split('"')) for worker in rig.workers]
    assert ran == ([set(names)] if how == "together" else [{name} for name in names])


def test_without_a_word_in_the_environment_the_configuration_is_config_yaml(rig: Rig) -> None:
    rig.write(["dedupe"]).apply()
    frames = [frame(n, ta="02:00:00:00:00:01", seq=n, id=f"s-{n}") for n in range(5)]
    batches = rig.batches(frames)
    rig.publish(batches)

    worker = rig.worker(named=False)

    wait_for(lambda: rig.offsets() == len(batches), f"all handled\n{worker.log}")


WHOSE = """
import uuid
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('whose')
class Whose(Stage):
    def __init__(self, stats):
        self.made = uuid.uuid4().hex

    def handle(self, message):
        message['made'] = self.made
        return message
"""


def test_each_partition_has_a_pipeline_of_its_own_that_goes_when_it_is_taken_away(
    rig: Rig,
) -> None:
    (rig.path / "whose.py").write_text(WHOSE)
    rig.write(["whose"], partitions=2, plugins=["whose.py"]).apply()
    first = rig.worker().wait_ready()

    def pass_on(turn: str) -> dict[int, str]:
        """Two frames through each partition; by which object each partition's went."""
        for number in (0, 1):
            encoder = BatchEncoder("porch", f"{turn}-{number}")
            for n in range(2):
                message = frame(n, ta="02:00:00:00:00:01", id=f"{turn}-{number}-{n}")
                rig.publish([(number, encoder.encode([message], sequence=n, sent_at=1, now=1))])
        found: dict[int, str] = {}

        def all_there() -> bool:
            rows = [row for row in rig.rows() if row["id"].startswith(turn)]
            for number in (0, 1):
                ours = {r["made"] for r in rows if r["id"].startswith(f"{turn}-{number}")}
                assert len(ours) <= 1, "one object for all of a partition"
                found.update(dict.fromkeys([number] * len(ours), *ours))
            return len(rows) == 4

        wait_for(all_there, f"{turn}\n{first.log}")
        return found

    def partitions(worker: Worker) -> int:
        said = worker.get("/metrics")[1].partition(
            f'datastalker_partitions{{segment="{rig.name}-1"}} '
        )
        return int(said[2].split()[0]) if said[2] else 0

    alone = pass_on("alone")
    assert alone[0] != alone[1]
    assert partitions(first) == 2

    second = rig.worker()
    wait_for(lambda: (partitions(first), partitions(second)) == (1, 1), "one each")
    shared = pass_on("shared")
    assert not {*alone.values()} & {*shared.values()}
    assert shared[0] != shared[1]
