"""Documents in a real Elasticsearch: each once, each with a verdict."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from datastalker.catalog import BUILTIN, load
from datastalker.errors import OutputError
from datastalker.message import FIELDS, Message
from datastalker.options import options_of
from datastalker.stage import REGISTRY, Stage
from datastalker.stats import Stats
from datastalker.testing import START, build, frame
from infra.local import Elasticsearch, Stack
from sinks import membership
from sinks.elasticsearch import Elasticsearch as Sink

Make = Callable[..., Any]


def call(method: str, url: str, body: object = None) -> Any:
    request = Request(url, json.dumps(body).encode() if body is not None else None, method=method)
    request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def count(url: str, index: str) -> int:
    try:
        call("POST", f"{url}/{index}-*/_refresh")
        return int(call("GET", f"{url}/{index}-*/_count")["count"])
    except HTTPError as error:
        if error.code == 503:  # the index was made a moment ago, and its shard is not there yet
            return 0
        raise


def balance(stats: Stats) -> None:
    """consumed = indexed + already_indexed + dead."""
    got = {name: stats.get(name) for name in stats.get_stats()}
    stored = stats.get("elasticsearch/indexed") + stats.get("elasticsearch/already_indexed")
    assert stats.get("sink/consumed") == stored + stats.get("sink/dead"), got


@pytest.fixture
def es_site(site: Make, elasticsearch: Elasticsearch) -> Make:
    """A site whose one sink is the shared Elasticsearch; its name is the index's beginning."""

    def make(url: str = "", partitions: int = 1, **options: Any) -> Any:
        options = {"replicas": 0, "hosts": [url or elasticsearch.url], **options}
        here = site([{"elasticsearch": options}], partitions)
        (step,) = (step for step in here.config.steps if step.name == "elasticsearch")
        step.options["index"] = here.name
        here.url = elasticsearch.url
        return here

    return make


class FaultyServer:
    """In front of a server: hands requests on, but for what `fault` answers itself."""

    def __init__(self, target: str) -> None:
        self.target, self.bulks, proxy = target, 0, self
        self.fault: Callable[[int], int] = lambda number: 0
        """By the number of the document: the status to give it, 0: ask the server."""
        self.down: Callable[[int], int] = lambda bulk: 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, text = proxy.serve(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.elasticsearch+json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.seen = 0
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if "_bulk" not in path:
            return self.ask(method, path, headers, body)
        self.bulks += 1
        if status := self.down(self.bulks):
            return status, b'{"error":{"type":"made_up","reason":"for the test"}}'
        lines = body.splitlines()
        passed, verdicts = [], []
        for at in range(0, len(lines), 2):
            self.seen += 1
            status = self.fault(self.seen)
            verdicts.append(status)
            if not status:
                passed += lines[at : at + 2]
        items = []
        if passed:
            status, text = self.ask(method, path, headers, b"\n".join(passed) + b"\n")
            assert status == 200, text
            items = json.loads(text)["items"]
        said = {"type": "es_rejected_execution_exception", "reason": "for the test"}
        merged = [
            {"create": {"status": status, "error": said}} if status else items.pop(0)
            for status in verdicts
        ]
        return 200, json.dumps({"items": merged}).encode()

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        kept = {k: v for k, v in headers.items() if k.lower() in ("content-type", "accept")}
        request = Request(self.target + path, body or None, kept, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def faulty(elasticsearch: Elasticsearch) -> Iterator[FaultyServer]:
    server = FaultyServer(elasticsearch.url)
    yield server
    server.close()


def test_documents_are_the_messages_and_reading_again_adds_none(es_site: Make) -> None:
    here = es_site()
    ids = here.publish(30)
    first = here.run("elasticsearch")
    assert first.stats.get("elasticsearch/indexed") == len(ids)
    balance(first.stats)
    found = call("GET", f"{here.url}/{here.name}-frame-2026.03.02/_doc/{ids[3]}")["_source"]
    wanted = {**here.frame(3), "@timestamp": "2026-03-02T17:00:00.030000Z"}
    assert found == wanted
    assert count(here.url, here.name) == len(ids)

    for number in range(5):  # as a worker that lost its state would
        here.batch([here.frame(number)])
    here.flush()
    second = here.run("elasticsearch")
    assert second.stats.get("elasticsearch/already_indexed") == 5
    balance(second.stats)
    assert count(here.url, here.name) == len(ids)


def test_setup_makes_templates_once_and_says_what_it_did(es_site: Make) -> None:
    here = es_site()
    here.path.write_text(
        here.path.read_text().replace("replicas: 0", f"replicas: 0\n    index: {here.name}")
    )

    def setup() -> str:
        import sys

        command = [sys.executable, "-m", "datastalker", "elasticsearch", "setup", "-c", here.path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert setup().count("made") == 5
    assert setup().count("unchanged") == 5
    made = call("GET", f"{here.url}/_index_template/{here.name}-frame")["index_templates"][0]
    mappings = made["index_template"]["template"]["mappings"]
    assert mappings["dynamic"] == "strict"
    assert mappings["properties"]["ta_oui"]["type"] == "keyword"  # the stage oui adds it


_VALUES: dict[str, Any] = {
    "integer": 7, "boolean": True, "text": "text", "address": "02:00:00:00:00:01", "number": 1.5,
    "kind": "BEACON", "strings": ["a", "b"], "integers": [1, 255], "map": {"site": "home"},
    "records": [{"sensor": "hall", "signal_dbm": -70}],
}  # fmt: skip


def test_every_field_of_the_contract_and_of_all_stages_is_accepted(
    elasticsearch: Elasticsearch,
) -> None:
    index = f"fields{START % 9973}"
    sink = Sink(Stats(), hosts=[elasticsearch.url], index=index, replicas=0, **_rest())
    added = []
    for name in BUILTIN:
        load(name)
        cls = REGISTRY[name]
        if issubclass(cls, Stage):
            options = {o.name: o.default for o in (options_of(cls) or {}).values()}
            options.update(cls.example)
            if name == "dedupe":
                options["mode"] = "merge"
            try:
                added += cls(Stats(), **options).adds()
            except Exception as error:
                raise AssertionError(name) from error
    sink.added = tuple(added)
    assert {field.name for field in added} >= {"heard_by", "ta_oui", "beacons_held_back"}
    messages = []
    for kind, fields in FIELDS.items():
        known = {**fields, **({f.name: f for f in added} if kind == "frame" else {})}
        message = Message({name: _VALUES[field.type] for name, field in known.items()})
        message.update(type=kind, timestamp=START, id=f"{kind}-1", tsf=2**64 - 1)
        message["mine"] = {"deep": [1, "two"], "none": None}
        messages.append(message)
    messages[1].pop("tsf")
    messages.append(Message(type="alert", timestamp=START, id="alert-2", level=3, key="k"))
    messages.append(Message(type="mine", timestamp=START, dropped={"queue": 2}, raw=b"\x00\xff"))
    assert sink.write(messages) == []
    sink.close()
    assert count(elasticsearch.url, index) == 6
    query = {"query": {"term": {"extra.mine.deep": "two"}}}
    hits = call("POST", f"{elasticsearch.url}/{index}-*/_search", query)["hits"]["hits"]
    assert sorted(hit["_id"] for hit in hits) == ["alert-1", "frame-1", "presence-1", "sensor-1"]


def _rest() -> dict[str, Any]:
    """The options' defaults that the runner would fill in."""
    given = {"hosts", "index", "replicas"}
    return {o.name: o.default for o in (options_of(Sink) or {}).values() if o.name not in given}


def test_what_a_server_refuses_goes_to_the_dead_letters_with_its_bytes(es_site: Make) -> None:
    here = es_site(mapping={"room": "integer"})
    frames = [here.frame(0), here.frame(1, room="kitchen"), here.frame(2, room=4)]
    original = here.batch(frames)
    here.flush()
    runner = here.run("elasticsearch")
    (letter,) = here.dead_letters()
    said = dict(letter.headers())
    assert letter.value() == original
    assert said["dead-letter-ids"].decode() == f"{here.name}-1"
    assert b"failed to parse field [room]" in said["dead-letter-reason"]
    assert (runner.stats.get("sink/dead"), count(here.url, here.name)) == (1, 2)
    balance(runner.stats)


def test_busy_answers_are_tried_again_and_counted_once(es_site: Make, faulty: FaultyServer) -> None:
    here = es_site(faulty.url)
    faulty.fault = lambda number: {0: 429, 1: 503}.get(number % 5, 0) if number < 700 else 0
    faulty.down = lambda bulk: {2: 503, 3: 429}.get(bulk, 0)
    ids = here.publish(20)
    runner = here.run("elasticsearch")
    assert runner.stats.get("elasticsearch/indexed") == len(ids) == count(here.url, here.name)
    assert runner.stats.get("sink/retries") >= 2
    balance(runner.stats)


def test_a_store_that_stays_busy_is_asked_less_and_less_often(
    es_site: Make, faulty: FaultyServer
) -> None:
    here = es_site(faulty.url)
    asked: list[float] = []

    def busy_at_first(bulk: int) -> int:
        asked.append(time.monotonic())
        return 429 if bulk <= 4 else 0

    faulty.down = busy_at_first
    ids = here.publish(2)
    runner = here.run("elasticsearch")
    pauses = [later - before for before, later in itertools.pairwise(asked)]
    assert len(pauses) == 4
    assert all(pause >= least for pause, least in zip(pauses, (0.5, 1, 2, 4), strict=True))
    assert runner.stats.get("elasticsearch/indexed") == len(ids)


def test_a_word_of_mapping_makes_a_field_that_is_searched_as_such(
    elasticsearch: Elasticsearch,
) -> None:
    index = f"words{START % 9973}"
    words = {
        "room": "str", "floor": "str_not_analyzed", "note": "str_analyzed", "count": "integer",
        "since": "date", "share": "double", "open": "boolean", "place": "geo",
        "free": {"type": "keyword", "ignore_above": 3},
    }  # fmt: skip
    pipeline = build(
        [{"elasticsearch": {"hosts": [elasticsearch.url], "index": index, "replicas": 0,
                            "mapping": words}}],
        [frame(1, id="w", room="Big hall", floor="1st", note="Door opens", count=7,
               since="2026-03-02T17:00:00Z", share=0.5, open=True, place="52.5,13.4", free="long")],
    )  # fmt: skip
    pipeline.run()
    assert count(elasticsearch.url, index) == 1
    made = call("GET", f"{elasticsearch.url}/{index}-frame-*/_mapping").popitem()[1]["mappings"]
    kinds = {name: made["properties"][name]["type"] for name in words}
    assert kinds == {
        "room": "keyword", "floor": "keyword", "note": "text", "count": "long", "since": "date",
        "share": "double", "open": "boolean", "place": "geo_point", "free": "keyword",
    }  # fmt: skip
    distance = {"distance": "1km", "place": {"lat": 52.5, "lon": 13.4}}
    for query, hits in [
        ({"term": {"room": "Big hall"}}, 1), ({"term": {"room": "hall"}}, 0),
        ({"match": {"note": "door"}}, 1), ({"range": {"count": {"gt": 6}}}, 1),
        ({"range": {"since": {"gt": "2026-03-02T16:59:00Z"}}}, 1), ({"term": {"open": True}}, 1),
        ({"geo_distance": distance}, 1), ({"term": {"free": "long"}}, 0),
    ]:  # fmt: skip
        found = call("POST", f"{elasticsearch.url}/{index}-*/_search", {"query": query})
        assert found["hits"]["total"]["value"] == hits, query


@pytest.mark.parametrize("how", ["away", "slow"])
def test_a_sink_whose_store_is_away_or_slow_for_long_stays_in_its_group_with_flat_memory(
    es_site: Make, faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    # Kafka throws out who asks for nothing in so long: five minutes, if nothing else is said
    patience = {"max.poll.interval.ms": 6_000, "session.timeout.ms": 6_000}
    monkeypatch.setattr(membership, "_SETTINGS", {**membership._SETTINGS, **patience})
    here = es_site(faulty.url)
    done = threading.Event()

    def trouble(bulk: int) -> int:
        if not done.is_set() and how == "slow":
            time.sleep(2)
        return 0 if done.is_set() or how == "slow" else 503

    faulty.down = trouble
    ids = here.publish(10, size=200)
    taken: list[set[Any]] = []
    runner = here.start("elasticsearch")
    here.until(lambda: faulty.bulks >= 1, "the first is asked for")
    runner.way.revoked = lambda places, lost: taken.append(places)  # type: ignore[method-assign]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids += here.publish(300, size=200)
    time.sleep(20)
    assert taken == []
    assert runner.group.places
    assert len(runner.fetched) <= 33
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 80_000  # KiB
    done.set()
    here.until(lambda: count(here.url, here.name) == len(ids), "it goes on", 120)
    here.until(lambda: here.committed("elasticsearch", here.frames) == 310, "it commits")
    assert taken == []
    runner.way.revoked = type(runner.way).revoked.__get__(runner.way)  # type: ignore[method-assign]
    here.stop(runner)
    balance(runner.stats)


def test_a_store_killed_and_started_again_loses_nothing_and_stops_no_other_sink(
    site: Make, own_stack: Callable[[], Stack], tmp_path: Path
) -> None:
    server = own_stack().elasticsearch.start()
    folder = str(tmp_path / "site-0" / "out")
    options = {"hosts": [server.url], "replicas": 0, "timeout_seconds": 5}
    here = site([{"elasticsearch": options}, {"csv": {"directory": folder}}])
    ids = here.publish(20)
    stored = here.start("elasticsearch")
    here.until(lambda: stored.stats.get("elasticsearch/indexed") == len(ids))
    server.kill()
    ids += here.publish(200)
    here.until(lambda: stored.stats.get("sink/retries") >= 2, "it notices")
    rows = here.run("csv")
    assert rows.stats.get("csv/rows") == len(ids)
    assert stored.group.places, "it is in its group still"
    server.restart()
    known = ("elasticsearch/indexed", "elasticsearch/already_indexed")
    here.until(lambda: sum(map(stored.stats.get, known)) == len(ids), "it goes on")
    here.stop(stored)
    balance(stored.stats)
    assert count(server.url, "datastalker") == len(ids)


def test_an_embedded_run_counts_what_is_refused_and_goes_on(
    elasticsearch: Elasticsearch, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"hosts": [elasticsearch.url], "index": "embedded", "replicas": 0}
    messages = [frame(n, id=f"e-{n}", channel="x" if n in (2, 3) else n) for n in range(10)]
    pipeline = build([{"elasticsearch": options}], messages)
    pipeline.run()
    assert pipeline.entries[0].stats.errors == 2
    assert caplog.text.count("failed to parse field [channel]") == 1
    assert count(elasticsearch.url, "embedded") == 8


def test_an_embedded_run_ends_with_a_sentence_where_no_server_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datastalker.patience.SECONDS", 1.0)
    monkeypatch.setattr("datastalker.patience.write.__defaults__", (1.0,))
    pipeline = build([{"elasticsearch": {"hosts": ["http://127.0.0.1:9"]}}], [frame(1, id="x")])
    with pytest.raises(OutputError, match=r"http://127.0.0.1:9 can't be reached, correct 'hosts'"):
        pipeline.run()


def test_all_that_a_simulated_house_gives_is_accepted(
    elasticsearch: Elasticsearch, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    import yaml

    from datastalker import config as configuration
    from datastalker.simulator.scene import Options
    from datastalker.simulator.write import write_scene

    start = datetime(2026, 3, 2, 17, tzinfo=UTC)
    write_scene(Options(seed=1, minutes=5, attack=True, start=start), tmp_path)
    stages = ["oui", "presence", {"dedupe": {"mode": "merge"}}, "beacon_filter", "moving_average"]
    options = {"hosts": [elasticsearch.url], "index": "simulated", "replicas": 0}
    pipeline = [{"pcap": {"path": str(tmp_path / "*.pcap")}}, *stages, {"elasticsearch": options}]
    text = yaml.safe_dump({"pipeline": pipeline})
    built = configuration.build(configuration.parse(text, "simulated.yaml"))
    built.run()
    sink = built.entries[-1].stats
    assert (sink.errors, count(elasticsearch.url, "simulated")) == (0, sink.received)
    assert sink.received > 1000


def test_the_next_batches_are_stored_while_one_waits_and_committed_after_it(
    es_site: Make, faulty: FaultyServer
) -> None:
    here = es_site(faulty.url)
    answers = threading.Event()

    def first_waits(bulk: int) -> int:
        if bulk == 1:
            answers.wait(60)
        return 0

    faulty.down = first_waits
    ids = here.publish(45, size=200)
    runner = here.start("elasticsearch")
    here.until(lambda: count(here.url, here.name) == 7_000, "all but 1,000 of two batches")
    assert here.committed("elasticsearch", here.frames) == -1001
    answers.set()
    here.until(lambda: here.committed("elasticsearch", here.frames) == 45)
    here.stop(runner)
    assert count(here.url, here.name) == len(ids)
    balance(runner.stats)


def test_it_ends_in_good_order_while_its_store_is_away(es_site: Make, faulty: FaultyServer) -> None:
    here = es_site(faulty.url)
    faulty.down = lambda bulk: 503
    ids = here.publish(45, size=200)
    runner = here.start("elasticsearch")
    here.until(lambda: runner.stats.get("sink/retries") >= 1, "it notices")

    here.stop(runner)

    assert here.committed("elasticsearch", here.frames) == -1001
    assert runner.stats.get("sink/consumed") == 0 < runner.stats.get("sink/handed_back")
    faulty.down = lambda bulk: 0
    again = here.start("elasticsearch")
    here.until(lambda: count(here.url, here.name) == len(ids))
    here.stop(again)
    balance(again.stats)


def test_what_a_sink_holds_for_a_store_that_is_away_goes_with_its_partition(
    es_site: Make, faulty: FaultyServer
) -> None:
    here = es_site(faulty.url, partitions=2)
    faulty.down = lambda bulk: 503
    ids = [*here.publish(45, size=200, partition=0), *here.publish(45, size=200, partition=1)]
    one = here.start("elasticsearch", "one")
    here.until(lambda: one.stats.get("sink/retries") >= 1, "it notices")
    two = here.start("elasticsearch", "two")
    here.until(lambda: one.group.places and two.group.places, "they share")
    faulty.down = lambda bulk: 0
    here.until(lambda: count(here.url, here.name) == len(ids))
    for runner in (one, two):
        here.stop(runner)
        balance(runner.stats)
    assert one.stats.get("sink/handed_back") > 0
    consumed = one.stats.get("sink/consumed") + two.stats.get("sink/consumed")
    assert consumed >= len(ids)
